import Crypto
import Foundation
import KVRunahead

/// Prompt files: changed ones, with and without a checksum that fits, and true ones before an engine that computes otherwise.
///
/// Whatever is in the file: it is refused, or the logits are those of a cold start.
struct PromptCacheTarget: FuzzTarget {
    static let name = "prompt-cache"
    private let model: String
    private let others: [String]
    private let file: [UInt8]
    private let mutation: JSONMutation
    private static let prompt: [Int32] = (0..<40).map { Int32($0 * 7 % 60) }
    private static let more: [Int32] = [5, 4, 3]

    init(_ context: TargetContext) throws {
        let models = try context.corpus.paths(ending: ".gguf", limit: 200_000)
        guard let model = models.first(where: { $0.contains("/llama/") }) ?? models.first else { throw Fault("no small model") }
        self.model = model
        others = models
        let path = context.folder + "/prompt"
        let engine = try Engine(Self.configuration(model))
        try engine.withRanksBlocking { ranks in
            _ = try ranks.prefill(Self.prompt)
            try ranks.savePrompt(to: path)
        }
        file = try Corpus.read(path)
        mutation = JSONMutation(learning: [JSONDocument(Self.header(file))].compactMap(\.self))
    }

    private static func configuration(_ model: String) -> Configuration {
        var configuration = Configuration(model: model)
        configuration.contextLength = 64
        configuration.threadsPerRank = 1
        configuration.fitsThreads = false
        configuration.planFolder = nil
        configuration.partition = .even
        configuration.waitLimit = 30
        return configuration
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        var configuration = Self.configuration(model)
        let path = folder + "/prompt"
        var bytes = file
        // Rows that are not the engine's own, under a checksum that says they are, may give anything but a crash.
        var isTrue = true
        if random.oneIn(3) {
            try vary(&configuration, &random, in: folder)
        } else {
            isTrue = !change(&bytes, &random)
        }
        try Corpus.write(bytes, to: path)
        let engine = try Engine(configuration)
        let tokens = Self.prompt + Self.more
        let (restored, warm) = try engine.withRanksBlocking { ranks in
            let count = try ranks.restorePrompt(from: path)
            return (count, try Self.logits(ranks, tokens, reuses: true))
        }
        guard restored > 0 else { throw Fault("the file was not used, and nothing said why") }
        guard isTrue else { return "restored" }
        let cold = try Engine(configuration).withRanksBlocking { try Self.logits($0, tokens, reuses: false) }
        guard cold.elementsEqual(warm, by: { $0.bitPattern == $1.bitPattern }) else {
            throw Fault("the logits behind \(restored) restored tokens are not those of a cold start")
        }
        return "the cold bits"
    }

    private static func logits(_ ranks: Ranks, _ tokens: [Int32], reuses: Bool) throws(EngineError) -> [Float] {
        _ = try ranks.prefill(tokens, reuses: reuses)
        return Array(ranks.logits)
    }

    /// The true file, and an engine that differs in something.
    private func vary(_ configuration: inout Configuration, _ random: inout RandomSource, in folder: String) throws {
        switch random.below(8) {
        case 0: configuration.weightType = random.pick(["q8_0", "q4_0", "f16", "f32", "bf16"])
        case 1: configuration.cacheElement = .f32
        case 2: configuration.activations = .f32
        case 3: configuration.contextLength = random.pick([43, 44, 50, 128, 512])
        case 4: configuration.ranks = 1 + random.below(3)
        case 5:
            configuration.ranks = 2
            configuration.link = random.oneIn(2) ? .ring : .shared
        case 6: configuration.model = .file(random.pick(others))
        default:
            // The same header over other weights.
            var weights = try Corpus.read(model)
            guard let document = GGUFDocument(weights), !document.data.isEmpty else { return }
            let at = weights.count - 1 - random.below(document.data.count)
            weights[at] ^= 1 << UInt8(random.below(6))
            let path = folder + "/model.gguf"
            try Corpus.write(weights, to: path)
            configuration.model = .file(path)
        }
    }

    /// The header's bytes: behind magic, version and its length.
    private static func header(_ file: [UInt8]) -> [UInt8] {
        guard file.count > 16 else { return [] }
        let length = file[12..<16].reversed().reduce(0) { $0 << 8 | Int($1) }
        return Array(file[16..<min(file.count, 16 + length)])
    }

    /// - Returns: whether the checksum was made to fit.
    private func change(_ bytes: inout [UInt8], _ random: inout RandomSource) -> Bool {
        let old = Self.header(bytes)
        if random.oneIn(2), var document = JSONDocument(old) {
            for _ in 0...random.below(2) { mutation.apply(to: &document, &random) }
            let new = document.serialised()
            let length = random.oneIn(8) ? UInt32(truncatingIfNeeded: random.pick(ExtremeValues.integers)) : UInt32(new.count)
            bytes = bytes[..<12] + GGUFDocument.bytes(length) + new + bytes[(16 + old.count)...]
        } else if random.oneIn(3) {
            // Token ids.
            let at = 16 + old.count + 4 * random.below(Self.prompt.count)
            bytes.replaceSubrange(
                at..<at + 4, with: GGUFDocument.bytes(Int32(truncatingIfNeeded: random.pick(ExtremeValues.integers))))
        } else {
            ByteMutation.apply(to: &bytes, &random)
        }
        guard random.oneIn(2), bytes.count > 32 else { return false }
        bytes = bytes.dropLast(32) + SHA256.hash(data: bytes.dropLast(32))
        return true
    }
}
