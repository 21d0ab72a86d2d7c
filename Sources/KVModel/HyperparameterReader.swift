import KVGGUF

/// Reads an architecture's keys (`llama.block_count`, …) with range checks that name the key.
struct HyperparameterReader {
    let file: GGUFFile
    let prefix: String

    init(_ file: GGUFFile, prefix: String) throws(ModelError) {
        self.file = file
        self.prefix = prefix
    }

    /// An integer in 1 ... limit.
    func integer(_ key: String, default fallback: Int? = nil, limit: Int = 1 << 24) throws(ModelError) -> Int {
        let value: Int
        do {
            if let fallback {
                value = try file.metadata.integer("\(prefix).\(key)", default: fallback)
            } else {
                value = try file.metadata.integer("\(prefix).\(key)")
            }
        } catch { throw ModelError(.badMetadata, "\(error)") }
        guard (1...limit).contains(value) else {
            throw ModelError(.badMetadata, "\(file.path): \(prefix).\(key) is \(value); it must be 1 to \(limit)")
        }
        return value
    }

    func float(_ key: String, default fallback: Double? = nil) throws(ModelError) -> Float {
        let value: Double
        do {
            if let fallback {
                value = try file.metadata.float("\(prefix).\(key)", default: fallback)
            } else {
                value = try file.metadata.float("\(prefix).\(key)")
            }
        } catch { throw ModelError(.badMetadata, "\(error)") }
        guard value.isFinite, value > 0 else {
            throw ModelError(.badMetadata, "\(file.path): \(prefix).\(key) is \(value); it must be above 0")
        }
        return Float(value)
    }

    /// A feature that we cannot compute is an error, not something to skip silently.
    func refuse(_ key: String, otherThan allowed: Int, because reason: String) throws(ModelError) {
        let value: Int
        do { value = try file.metadata.integer("\(prefix).\(key)", default: allowed) } catch {
            throw ModelError(.badMetadata, "\(error)")
        }
        if value != allowed { throw ModelError(.unsupported, "\(file.path): \(prefix).\(key) is \(value): \(reason)") }
    }

    func refuse(_ key: String, otherThan allowed: String, because reason: String) throws(ModelError) {
        let value: String
        do { value = try file.metadata.string("\(prefix).\(key)", default: allowed) } catch {
            throw ModelError(.badMetadata, "\(error)")
        }
        if value != allowed { throw ModelError(.unsupported, "\(file.path): \(prefix).\(key) is \"\(value)\": \(reason)") }
    }

    /// - Parameter pairing: of the file's query and key rows.
    func geometry(pairing: Rotary.Pairing) throws(ModelError) -> Geometry {
        let embedding = try integer("embedding_length")
        let heads = try integer("attention.head_count", limit: 1 << 16)
        let keyValueHeads = try integer("attention.head_count_kv", default: heads, limit: 1 << 16)
        let headDimension = try integer("attention.key_length", default: max(1, embedding / heads), limit: 256)
        let valueDimension = try integer("attention.value_length", default: headDimension, limit: 256)
        guard heads % keyValueHeads == 0 else {
            throw ModelError(
                .badShape, "\(file.path): \(heads) heads cannot share \(keyValueHeads) key/value heads evenly")
        }
        guard valueDimension == headDimension else {
            throw ModelError(
                .unsupported,
                "\(file.path): \(prefix).attention.value_length \(valueDimension) differs from key_length \(headDimension)")
        }
        return Geometry(
            layers: try integer("block_count", limit: 4096), embedding: embedding, heads: heads,
            keyValueHeads: keyValueHeads, headDimension: headDimension,
            feedForward: try integer("feed_forward_length"), vocabulary: try vocabulary(),
            contextLength: try integer("context_length", limit: 1 << 30),
            rotary: try rotary(headDimension: headDimension, pairing))
    }

    /// Rows of the embedding table: the truth about the vocabulary's size, whatever `vocab_size` says.
    private func vocabulary() throws(ModelError) -> Int {
        guard let tensor = file.tensor("token_embd.weight"), tensor.dimensions.count == 2 else {
            throw ModelError(.missingTensor, "\(file.path): tensor token_embd.weight is missing or not a matrix")
        }
        return tensor.dimensions[1]
    }

    private func rotary(headDimension: Int, _ pairing: Rotary.Pairing) throws(ModelError) -> Rotary {
        let dimension = try integer("rope.dimension_count", default: headDimension, limit: headDimension)
        guard dimension % 2 == 0 else {
            throw ModelError(.badMetadata, "\(file.path): \(prefix).rope.dimension_count is \(dimension); it must be even")
        }
        var factors: [Float] = []
        if let tensor = file.tensor("rope_freqs.weight") {
            factors = try Weights.floats(of: tensor, in: file)
            guard factors.count == dimension / 2, factors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
                throw ModelError(
                    .badShape, "\(file.path): tensor rope_freqs.weight must hold \(dimension / 2) factors above 0")
            }
        }
        return Rotary(
            dimension: dimension, base: Double(try float("rope.freq_base", default: 10_000)),
            scaling: try scaling(), pairing: pairing, factors: factors)
    }

    private func scaling() throws(ModelError) -> Rotary.Scaling {
        let old = Double(try float("rope.scale_linear", default: 1))
        let factor = Double(try float("rope.scaling.factor", default: old))
        let type: String
        do {
            type = try file.metadata.string("\(prefix).rope.scaling.type", default: factor == 1 ? "none" : "linear")
        } catch { throw ModelError(.badMetadata, "\(error)") }
        switch type {
        case "none": return .none
        case "linear": return factor == 1 ? .none : .linear(factor: factor)
        case "yarn":
            let context = try integer("context_length", limit: 1 << 30)
            return .yarn(
                factor: factor, original: try integer("rope.scaling.original_context_length", default: context, limit: 1 << 30),
                betaFast: Double(try float("rope.scaling.yarn_beta_fast", default: 32)),
                betaSlow: Double(try float("rope.scaling.yarn_beta_slow", default: 1)),
                attention: Double(try float("rope.scaling.attn_factor", default: 1)))
        default:
            throw ModelError(
                .unsupported, "\(file.path): \(prefix).rope.scaling.type is \"\(type)\"; this build knows none, linear, yarn")
        }
    }
}
