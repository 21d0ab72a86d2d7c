package import KVGGUF

/// Llama and what has its shape, and mixtures of experts of that shape: RMSNorm, rotary pairs, grouped-query attention, SwiGLU.
package struct Llama: TransformerArchitecture {
    package static let names = ["llama"]
    package static let summary = "Llama 1 to 3, Mistral (sliding windows too), Mixtral, TinyLlama, SmolLM and what has their shape"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .adjacent)
        // Mistral's windows are those of all layers.
        try reader.slide { _ in true }
        transformer = try reader.transformer()
    }
}
