package import KVGGUF

/// Granite 3 and 4: Llama's layers, or mixtures of experts, with scales of embeddings, scores, residuals and logits.
package struct Granite: TransformerArchitecture {
    package static let names = ["granite", "granitemoe"]
    package static let summary = "Granite 3 dense and mixtures of experts, Granite 4 without state-space layers"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .adjacent)
        reader.embeddingScale = try reader.keys.float("embedding_scale", orZero: 1)
        reader.residualScale = try reader.keys.float("residual_scale", orZero: 1)
        // Logits are divided by it.
        reader.logits.scale = 1 / (try reader.keys.float("logit_scale", orZero: 1))
        if try !reader.keys.bool("rope.scaling.finetuned", default: true) { reader.rotary = { _ in nil } }
        // Granite 4's dense models are hybrids by their class: they keep the sizes of state-space layers that they do not have, and their
        // feed-forward is the one shared beside no experts.
        _ = try reader.keys.count("ssm.state_size")
        if try reader.keys.count("expert_count") == 0 {
            let shared = try reader.keys.count("expert_shared_feed_forward_length")
            if shared > 0 { reader.geometry.feedForward = shared }
        }
        transformer = try reader.transformer()
    }
}
