package import KVGGUF

/// Gemma 2: norms before and after each block, every other layer with a window (the first with one), scores and logits capped softly.
package struct Gemma2: TransformerArchitecture {
    package static let names = ["gemma2"]
    package static let summary = "Gemma 2 2B, 9B, 27B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.setGemma()
        reader.setGemmaScale(ofLayers: 46)
        reader.normPlaces = .both
        reader.geometry.attentionSoftcap = try reader.keys.floatOrZero("attn_logit_softcapping", default: 50)
        reader.logits.softcap = try reader.keys.floatOrZero("final_logit_softcapping", default: 30)
        try reader.slide { $0 % 2 == 0 }
        transformer = try reader.transformer()
    }
}
