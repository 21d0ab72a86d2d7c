package import KVGGUF

/// SmolLM 3: Llama's layers, every fourth without rotary embedding.
package struct SmolLM3: TransformerArchitecture {
    package static let names = ["smollm3"]
    package static let summary = "SmolLM 3 3B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .adjacent)
        reader.rotary = { $0 % 4 == 3 ? nil : 0 }
        transformer = try reader.transformer()
    }
}
