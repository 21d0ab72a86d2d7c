/// GGUF files, whole or split: container, metadata, tensor descriptions, data.
struct GGUFTarget: FuzzTarget {
    static let name = "gguf"
    private let files: [[UInt8]]
    private let documents: [GGUFDocument]
    private let mutation: GGUFMutation

    init(_ context: TargetContext) throws {
        files = try context.corpus.contents(ending: ".gguf", limit: 2 << 20)
        documents = files.compactMap { GGUFDocument($0) }
        guard !documents.isEmpty else { throw Fault("the corpus has no valid GGUF file") }
        mutation = GGUFMutation(learning: documents)
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        var document = random.pick(documents)
        if random.oneIn(10) { return try split(&document, &random, in: folder) }
        let bytewise = random.oneIn(4)
        if !bytewise || random.oneIn(2) { for _ in 0...random.below(3) { mutation.apply(to: &document, &random) } }
        var bytes = document.serialised()
        if bytewise { for _ in 0...random.below(3) { ByteMutation.apply(to: &bytes, &random, others: files) } }
        let path = folder + "/model.gguf"
        try Corpus.write(bytes, to: path)
        let type = random.oneIn(4) ? random.pick(["q8_0", "q4_0", "q6_k", "f16", "f32"]) : nil
        return try ModelRun.check(path, ranks: 2, type: type)
    }

    /// Two or three shards, one thing wrong with them, or nothing.
    private func split(_ document: inout GGUFDocument, _ random: inout RandomSource, in folder: String) throws -> String {
        let count = 2 + random.below(2)
        let names = (1...count).map { "model-0000\($0)-of-0000\(count).gguf" }
        let all = document.tensors
        for index in 0..<count {
            var shard = document
            shard.tensors = Array(all[all.count * index / count..<all.count * (index + 1) / count])
            if index > 0 { shard.pairs = Array(shard.pairs.prefix(1)) }
            func set(_ key: String, _ type: UInt32, _ value: Int64) {
                shard.pairs.append(.init(key: Array(key.utf8), type: type, value: GGUFDocument.scalar(type, value)))
            }
            let odd = random.oneIn(6)
            set("split.no", 2, odd ? random.pick(ExtremeValues.integers) : Int64(index))
            set("split.count", 2, random.oneIn(12) ? random.pick(ExtremeValues.integers) : Int64(count))
            set("split.tensors.count", 5, random.oneIn(12) ? random.pick(ExtremeValues.integers) : Int64(all.count))
            if random.oneIn(4) { mutation.apply(to: &shard, &random) }
            if random.oneIn(12) { continue }
            try Corpus.write(shard.serialised(), to: folder + "/" + (random.oneIn(16) ? random.pick(names) : names[index]))
        }
        return try ModelRun.check(folder + "/" + names[0], ranks: 2, type: nil)
    }
}
