import ArgumentParser
import Foundation
import KVGGUF
import KVModel
import KVRunahead

struct Dump: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Writes a prompt's logits and KV-cache as safetensors, for comparison with other implementations.",
        discussion: """
            input_ids I64 [T], logits F32 [T, vocabulary], key and value F32 [layer, kv_head, T, head_dim] (keys after rotation, in \
            Hugging Face's element order), and with --greedy N greedy_ids I64 [N].
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var prompt: PromptOptions
    @OptionGroup var engine: EngineOptions
    @Option(help: "Token ids instead of text: 1,2,3")
    var tokens: String?
    @Option(help: "Greedy tokens to append, not stopping at end tokens")
    var greedy = 0
    @Option(name: [.short, .long], help: "The safetensors file")
    var output: String

    func validate() throws {
        guard (0...Int(Int32.max)).contains(greedy) else {
            throw ValidationError("--greedy is \(greedy); it must be 0 to \(Int32.max)")
        }
        if tokens != nil, prompt.prompt != nil || prompt.file != nil { throw ValidationError("give --tokens or a text, not both") }
    }

    func run() async throws {
        var configuration = try self.engine.configuration(try model.source())
        let given = try tokens.map(Self.ids)
        // Before the work, so that a wrong path is known before it.
        let file = try OutputFile(output)
        // As many positions as it takes: some models' rotary factors depend on how many there are.
        if let given, configuration.contextLength == 0 {
            configuration.contextLength = max(1, given.count)
            if greedy > 0 {
                let trained = try Opening(configuration).model.geometry.contextLength
                configuration.contextLength = max(1, given.count + min(greedy, max(0, trained - given.count)))
            }
        }
        let engine = try await Session.open(configuration, progress: true, verbose: false, log: self.engine.log)
        let ids = if let given { given } else { try engine.tokenize(try prompt.text(), parseSpecial: true) }
        let needed = ids.count + max(0, greedy - 1)
        let context = engine.information.contextLength
        guard needed <= context else {
            throw Failure.usage(
                "\(ids.count) tokens and --greedy \(greedy) need \(needed) positions; the context has \(context) (-c)")
        }
        try await engine.withRanks { [greedy] ranks, _ in
            try Self.write(ranks, ids, greedy: greedy, to: file)
        }
    }

    private static func ids(_ tokens: String) throws -> [Int32] {
        let ids = tokens.split(separator: ",", omittingEmptySubsequences: false).map { Int32($0.filter { $0 != " " }) }
        guard !ids.contains(nil) else { throw Failure.usage("--tokens is \"\(tokens)\"; it must be token ids apart by commas") }
        return ids.compactMap { $0 }
    }

    private static func write(_ ranks: Ranks, _ ids: [Int32], greedy: Int, to file: OutputFile) throws {
        let geometry = ranks.model.geometry
        let count = ids.count
        let logits = UnsafeMutableBufferPointer<Float>.allocate(capacity: max(1, count * geometry.vocabulary))
        defer { logits.deallocate() }
        _ = try ranks.prefill(ids, allLogits: logits.baseAddress)
        // Written all the same: it is what one looks at to find out why.
        if !UnsafeBufferPointer(logits).isFinite { Terminal.note("some logits are not finite (NaN or infinite)") }
        let cacheShape = [geometry.layers, geometry.keyValueHeads, count, geometry.headDimension]
        var tensors: [(name: String, dtype: String, shape: [Int])] = [
            ("input_ids", "I64", [count]), ("logits", "F32", [count, geometry.vocabulary]), ("key", "F32", cacheShape),
            ("value", "F32", cacheShape),
        ]
        if greedy > 0 { tensors.append(("greedy_ids", "I64", [greedy])) }
        do {
            let writer = try SafetensorsWriter(file, tensors: tensors)
            try ids.map { Int64($0) }.withUnsafeBytes { try writer.append($0, to: "input_ids") }
            try writer.append(UnsafeRawBufferPointer(logits), to: "logits")
            for name in ["key", "value"] {
                for layer in 0..<geometry.layers {
                    for head in 0..<geometry.keyValueHeads {
                        var rows = try ranks.cache.floats(layer: layer, value: name == "value", head: head, positions: count)
                        if name == "key" { halve(&rows, geometry) }
                        try rows.withUnsafeBytes { try writer.append($0, to: name) }
                    }
                }
            }
            if greedy > 0 {
                try continuation(ranks, last: Array(logits.suffix(geometry.vocabulary)), greedy).withUnsafeBytes {
                    try writer.append($0, to: "greedy_ids")
                }
            }
            try writer.finish()
        } catch let error as SafetensorsError { throw Failure.run("\(error)") }
    }

    private static func continuation(_ ranks: Ranks, last: [Float], _ count: Int) throws -> [Int64] {
        var sampler = Sampler(.greedy)
        var ids = [last.withUnsafeBufferPointer { sampler.next($0) }]
        while ids.count < count {
            try ranks.decode(ids[ids.count - 1])
            ids.append(sampler.next(ranks.logits))
        }
        return ids.map { Int64($0) }
    }

    /// Adjacent pairs to Hugging Face's halves, within each row's rotated elements.
    private static func halve(_ rows: inout [Float], _ geometry: Geometry) {
        guard geometry.interleavesKeys else { return }
        let pairs = geometry.rotary.pairs
        for start in stride(from: 0, to: rows.count, by: geometry.headDimension) {
            let row = rows[start..<start + 2 * pairs]
            for pair in 0..<pairs {
                rows[start + pair] = row[start + 2 * pair]
                rows[start + pairs + pair] = row[start + 2 * pair + 1]
            }
        }
    }
}
