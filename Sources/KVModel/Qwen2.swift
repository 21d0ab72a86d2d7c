package import KVGGUF

/// Qwen 2 and 2.5: Llama's layers with biases of query, key and value, and rotary halves.
package struct Qwen2: TransformerArchitecture {
    package static let names = ["qwen2"]
    package static let summary = "Qwen 2, Qwen 2.5, QwQ and what is distilled into them"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        transformer = try reader.transformer()
    }
}
