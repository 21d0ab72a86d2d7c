package import KVGGUF

/// Falcon 7B, 11B and 40B: LayerNorm, attention and feed-forward side by side on the same input, GELU, one matrix for query, key and value;
/// multi-query (7B) or grouped-query attention. Attention has a norm of its own in 40B.
package struct Falcon: TransformerArchitecture {
    package static let names = ["falcon"]
    package static let summary = "Falcon 7B, 11B, 40B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, norm: .layer, pairing: .halves)
        try reader.keys.refuse(
            "tensor_data_layout", otherThan: "jploski", because: "only rows in the order query, key, value are supported (jploski)")
        reader.arrangement = .parallel
        reader.sharesNorm = true
        reader.feedForward = .plain(.gelu)
        reader.biases = false
        transformer = try reader.transformer()
    }
}
