import KVGGUF

extension HyperparameterReader {
    /// - Parameters:
    ///   - pairing: of the file's query and key rows.
    ///   - interleaved: these rows are Hugging Face's with the halves of each head interleaved.
    func geometry(_ weights: Weights, pairing: Rotary.Pairing, interleaved: Bool) throws(ModelError) -> Geometry {
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
            rotaries: [try rotary(weights, headDimension: headDimension, pairing)], interleavesKeys: interleaved,
            attentionScale: try float("attention.scale", orZero: 1 / Float(headDimension).squareRoot()))
    }

    /// Rows of the embedding table: the truth about the vocabulary's size, whatever `vocab_size` says.
    private func vocabulary() throws(ModelError) -> Int {
        guard let tensor = file.tensor("token_embd.weight"), tensor.dimensions.count == 2 else {
            throw ModelError(.missingTensor, "\(file.path): tensor token_embd.weight is missing or not a matrix")
        }
        return tensor.dimensions[1]
    }

    private func rotary(_ weights: Weights, headDimension: Int, _ pairing: Rotary.Pairing) throws(ModelError) -> Rotary {
        let dimension = try integer("rope.dimension_count", default: headDimension, limit: headDimension)
        guard dimension % 2 == 0 else {
            throw ModelError(.badMetadata, "\(file.path): \(prefix).rope.dimension_count is \(dimension); it must be even")
        }
        func factors(_ name: String) throws(ModelError) -> [Float] {
            guard weights.has(name) else { return [] }
            let factors = try weights.floats(name, count: dimension / 2)
            guard factors.allSatisfy({ $0.isNormal && $0 > 0 }) else {
                throw ModelError(.badShape, "\(file.path): tensor \(name) must hold \(dimension / 2) factors above 0")
            }
            return factors
        }
        var rotary = Rotary(
            dimension: dimension, base: Double(try float("rope.freq_base", default: 10_000)),
            scaling: try scaling(), pairing: pairing, factors: try factors("rope_freqs.weight"))
        rotary.magnitude = try magnitude(rotary.scaling)
        let short = try factors("rope_factors_short.weight")
        let long = try factors("rope_factors_long.weight")
        guard short.isEmpty == long.isEmpty, short.isEmpty || rotary.factors.isEmpty else {
            throw ModelError(
                .unsupported,
                "\(file.path): rope_factors_short.weight needs rope_factors_long.weight, and neither goes with rope_freqs.weight")
        }
        if !short.isEmpty {
            rotary.factors = short
            rotary.longFactors = long
            rotary.original = try originalContext()
        }
        return rotary
    }

    private func originalContext() throws(ModelError) -> Int {
        let context = try integer("context_length", limit: 1 << 30)
        return try integer("rope.scaling.original_context_length", default: context, limit: 1 << 30)
    }

    private func scaling() throws(ModelError) -> Rotary.Scaling {
        let old = Double(try float("rope.scale_linear", default: 1))
        let factor = Double(try float("rope.scaling.factor", orZero: Float(old)))
        let type = try string("rope.scaling.type", default: factor == 1 ? "none" : "linear")
        switch type {
        // LongRoPE's factors are tensors.
        case "none", "longrope": return .none
        case "linear": return factor == 1 ? .none : .linear(factor: factor)
        case "yarn":
            return .yarn(
                factor: factor, original: try originalContext(),
                betaFast: Double(try float("rope.scaling.yarn_beta_fast", default: 32)),
                betaSlow: Double(try float("rope.scaling.yarn_beta_slow", default: 1)))
        default:
            throw ModelError(
                .unsupported,
                "\(file.path): \(prefix).rope.scaling.type is \"\(type)\"; this build knows none, linear, yarn, longrope")
        }
    }

    /// `attn_factor` comes on top of what the scaling brings; `yarn_attn_factor` is both.
    private func magnitude(_ scaling: Rotary.Scaling) throws(ModelError) -> Double {
        let onTop = Double(try float("rope.scaling.attn_factor", orZero: 1))
        guard case .yarn(let factor, _, _, _) = scaling else { return onTop }
        let own = Rotary.yarnMagnitude(factor)
        return onTop * Double(try float("rope.scaling.yarn_attn_factor", orZero: Float(own))) / own
    }
}
