import Foundation

/// Folders as Hugging Face keeps models: config.json, the safetensors' headers, the index, and the tokenizer's three files.
struct FolderTarget: FuzzTarget {
    static let name = "folder"

    private struct Model {
        var config: JSONDocument
        var header: JSONDocument
        var data: [UInt8]
    }

    private let models: [Model]
    private let configurations: JSONMutation
    private let headers: JSONMutation
    private let tokenizers: TokenizerGrammar

    init(_ context: TargetContext) throws {
        var models: [Model] = []
        for path in try context.corpus.paths(ending: "/config.json") {
            let weights = (path as NSString).deletingLastPathComponent + "/model.safetensors"
            guard let bytes = try? Corpus.read(weights), bytes.count > 8, let config = JSONDocument(try Corpus.read(path)) else {
                continue
            }
            let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - 8, let header = JSONDocument(Array(bytes[8..<8 + length])) else { continue }
            models.append(Model(config: config, header: header, data: Array(bytes[(8 + length)...])))
        }
        guard !models.isEmpty else { throw Fault("the corpus has no folder with config.json and model.safetensors") }
        self.models = models
        configurations = JSONMutation(learning: models.map(\.config))
        headers = JSONMutation(learning: models.map(\.header))
        tokenizers = TokenizerGrammar()
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        var model = random.pick(models)
        let place = random.below(10)
        if place < 6 { for _ in 0...random.below(3) { configurations.apply(to: &model.config, &random) } }
        if place == 6 || place == 7 { for _ in 0...random.below(2) { headers.apply(to: &model.header, &random) } }
        var config = model.config.serialised()
        if place == 8 || random.oneIn(16) { ByteMutation.apply(to: &config, &random) }
        try Corpus.write(config, to: folder + "/config.json")
        if random.oneIn(3) {
            try shards(model, &random, in: folder)
        } else {
            try Corpus.write(Self.file(model.header, model.data, &random, mutates: place == 9), to: folder + "/model.safetensors")
        }
        if random.oneIn(3) { try tokenizer(&random, in: folder) }
        return try ModelRun.check(folder, ranks: 2, type: random.oneIn(4) ? random.pick(["q8_0", "f16", "q4_0"]) : nil)
    }

    private static func file(_ header: JSONDocument, _ data: [UInt8], _ random: inout RandomSource, mutates: Bool) -> [UInt8] {
        let text = header.serialised()
        var length = UInt64(text.count)
        if mutates, random.oneIn(3) { length = UInt64(bitPattern: random.pick(ExtremeValues.integers)) }
        var bytes = GGUFDocument.bytes(length) + text + data
        if mutates { ByteMutation.apply(to: &bytes, &random) }
        return bytes
    }

    /// Every tensor in one of two files, both of which have all data; the index says which one.
    private func shards(_ model: Model, _ random: inout RandomSource, in folder: String) throws {
        guard case .object(let members) = model.header else { return }
        let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
        var map: [JSONDocument.Member] = []
        var parts: [[JSONDocument.Member]] = [[], []]
        for member in members where !member.key.elementsEqual("__metadata__".utf8) {
            let part = random.below(2)
            parts[part].append(member)
            map.append(.init(key: member.key, value: .text(names[part])))
        }
        var index = JSONDocument.object([
            "metadata": .object(["total_size": .integer(model.data.count)]), "weight_map": .object(map),
        ])
        if random.oneIn(2) { headers.apply(to: &index, &random) }
        for part in 0..<2 where !random.oneIn(20) {
            try Corpus.write(Self.file(.object(parts[part]), model.data, &random, mutates: false), to: folder + "/" + names[part])
        }
        try Corpus.write(index.serialised(), to: folder + "/model.safetensors.index.json")
    }

    private func tokenizer(_ random: inout RandomSource, in folder: String) throws {
        try Corpus.write(tokenizers.tokenizer(&random).serialised(), to: folder + "/tokenizer.json")
        var settings = tokenizers.settings(&random)
        if random.oneIn(2) { configurations.apply(to: &settings, &random) }
        try Corpus.write(settings.serialised(), to: folder + "/tokenizer_config.json")
        var generation = JSONDocument.object(["eos_token_id": random.oneIn(2) ? .array([.integer(1), .integer(2)]) : .integer(2)])
        if random.oneIn(2) { configurations.apply(to: &generation, &random) }
        try Corpus.write(generation.serialised(), to: folder + "/generation_config.json")
    }
}
