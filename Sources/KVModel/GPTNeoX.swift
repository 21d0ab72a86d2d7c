package import KVGGUF

/// GPT-NeoX: LayerNorm and biases, one matrix for query, key and value, rotary embedding of a part of each head, GELU; attention and
/// feed-forward side by side, each with its norm, or one after the other.
package struct GPTNeoX: TransformerArchitecture {
    package static let names = ["gptneox"]
    package static let summary = "GPT-NeoX 20B, Pythia, RedPajama-INCITE, Dolly 2"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, norm: .layer, pairing: .halves)
        reader.isTiedWithoutOutput = false
        if try reader.keys.bool("use_parallel_residual", default: true) { reader.arrangement = .parallel }
        // Folders alone tell.
        let nonlinearity = try reader.keys.string("hidden_act", default: "gelu")
        reader.feedForward = .plain(nonlinearity == "gelu_fast" ? .geluTanh : .gelu)
        transformer = try reader.transformer()
    }
}
