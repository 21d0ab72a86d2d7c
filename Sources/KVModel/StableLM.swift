package import KVGGUF

/// StableLM: LayerNorm, SwiGLU, rotary embedding of a part of each head; the 12B model's blocks stand side by side, and its queries and keys
/// are normalised, each head with weights of its own.
package struct StableLM: TransformerArchitecture {
    package static let names = ["stablelm"]
    package static let summary = "StableLM 3B, StableLM 2 1.6B, 12B, Stable Code"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, norm: .layer, pairing: .halves)
        reader.isTiedWithoutOutput = false
        // The key says yes in files that have the second norm, too: not the key, the tensors tell.
        _ = try reader.keys.bool("use_parallel_residual", default: true)
        if !weights.has("blk.0.ffn_norm.weight") {
            reader.arrangement = .parallel
            reader.sharesNorm = true
        }
        reader.headNorms = .headsWherePresent
        transformer = try reader.transformer()
    }
}
