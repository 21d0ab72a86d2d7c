package import KVGGUF

/// Command R and R+, Command A and R7B (cohere2): LayerNorm without bias, both blocks side by side on one norm, logits multiplied; R+ normalises
/// queries and keys, each head with weights of its own. Cohere2 has windows in three of four layers, and turns in those alone.
package struct CommandR: TransformerArchitecture {
    package static let names = ["command-r", "cohere2"]
    package static let summary = "Command R, R+, R7B, Command A, Aya"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        // Rotary pairs are adjacent in Hugging Face's files too.
        var reader = try TransformerReader(file, weights, norm: .layer, pairing: .adjacent, interleaved: false)
        reader.arrangement = .parallel
        reader.sharesNorm = true
        reader.headNorms = .headsWherePresent
        reader.logits.scale = try reader.keys.float("logit_scale", orZero: 1)
        if reader.keys.prefix == "cohere2" {
            let slides = try reader.slide { $0 % 4 != 3 }
            reader.rotary = { slides[$0] ? 0 : nil }
        }
        transformer = try reader.transformer()
    }
}
