package import KVGGUF

/// Granite 3 and 4: Llama's layers, or mixtures of experts, with scales of embeddings, scores, residuals and logits.
package struct Granite: TransformerArchitecture {
    package static let names = ["granite", "granitemoe"]
    package static let summary = "Granite 3 dense and mixtures of experts"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .adjacent)
        reader.embeddingScale = try reader.keys.float("embedding_scale", orZero: 1)
        reader.residualScale = try reader.keys.float("residual_scale", orZero: 1)
        // Logits are divided by it.
        reader.logits.scale = 1 / (try reader.keys.float("logit_scale", orZero: 1))
        if try !reader.keys.bool("rope.scaling.finetuned", default: true) { reader.rotary = { _ in nil } }
        transformer = try reader.transformer()
    }
}
