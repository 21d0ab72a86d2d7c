import Crypto
import KVGGUF
package import KVModel

/// Everything that a prompt's keys and values depend on, beside its tokens: rows of another origin may be other bits.
///
/// Instruction set, ranks, threads, strategy and partition are no part of it: all of them give the same bits. Neither is the tokenizer, as
/// token ids are what is kept, nor the file's path.
package struct PromptOrigin: Codable, Equatable, Sendable {
    /// Digest of every tensor's name, shape, type and bytes.
    package var weights: String
    /// Digest of the file's keys that say what is computed with them.
    package var hyperparameters: String
    /// What float matrices were quantised to when they were loaded; "file" where they stay.
    package var type: String
    /// Digest of all rotary frequencies, which may depend on the context's size, with the name of the factors that it chose.
    package var rotary: String
    package var activations: String
    package var cache: String
    /// "cpu", or the devices that computed.
    package var device: String
    package var engine: String
    package var layers: Int
    /// Of one position's keys (or values) in one layer.
    package var rowBytes: Int

    /// - Parameters:
    ///   - copy: a packed copy of the weights; nil: where none is, all their bytes are read now.
    ///   - context: the engine's, in positions.
    ///   - devices: names of those that compute.
    package init(_ model: Model, packed copy: WeightCopy?, _ cache: KVCache, context: Int, devices: [String] = ["cpu"]) {
        weights = model.weights.digest(in: copy)
        hyperparameters = model.hyperparameterDigest
        type = model.weights.type?.name.lowercased() ?? "file"
        rotary = Self.rotary(cache.geometry.rotaries, context)
        activations = model.weights.activations.rawValue
        self.cache = cache.type.rawValue
        device = devices.joined(separator: ", ")
        engine = Engine.version
        layers = cache.geometry.layers
        rowBytes = cache.rowBytes
    }

    private static func rotary(_ rotaries: [Rotary], _ context: Int) -> String {
        var hash = SHA256()
        for rotary in rotaries { rotary.parameters(context).withUnsafeBytes { hash.update(bufferPointer: $0) } }
        let digest = hash.finalize().prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
        let chosen = rotaries.compactMap { $0.isLong(context) }.first
        return (chosen.map { $0 ? "for long contexts, " : "for short contexts, " } ?? "") + String(digest, radix: 16)
    }

    /// The first part that differs, in words; nil where both are the same.
    package func difference(from other: PromptOrigin) -> String? {
        let parts: [(what: String, theirs: String, ours: String)] = [
            ("engine version", other.engine, engine), ("hyperparameters", other.hyperparameters, hyperparameters),
            ("weight type (--type)", other.type, type), ("weights", other.weights, weights),
            ("rotary factors (-c)", other.rotary, rotary), ("activations", other.activations, activations),
            ("cache type", other.cache, cache), ("device", other.device, device),
            ("layers", "\(other.layers)", "\(layers)"), ("row size", "\(other.rowBytes)", "\(rowBytes)"),
        ]
        guard let part = parts.first(where: { $0.theirs != $0.ours }) else { return nil }
        // Digests by their beginning.
        func short(_ text: String) -> String { text.utf8.count > 48 ? "\(text.prefix(16))…" : text }
        return "of \(part.what) \(short(part.theirs)), not \(short(part.ours))"
    }
}
