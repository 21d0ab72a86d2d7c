package import KVGGUF

/// StarCoder 2: LayerNorm, biases everywhere, GELU in its tanh form without a gate.
package struct StarCoder2: TransformerArchitecture {
    package static let names = ["starcoder2"]
    package static let summary = "StarCoder 2 3B, 7B, 15B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, norm: .layer, pairing: .halves)
        reader.feedForward = .plain(.geluTanh)
        try reader.slide { _ in true }
        transformer = try reader.transformer()
    }
}
