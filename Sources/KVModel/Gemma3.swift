package import KVGGUF

/// Gemma 3: norms before and after each block, of queries and keys head by head; five layers with a window and a rotary base of their own,
/// then one without.
package struct Gemma3: TransformerArchitecture {
    package static let names = ["gemma3"]
    package static let summary = "Gemma 3 270M to 27B (text)"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.setGemma()
        reader.setGemmaScale(ofLayers: 62)
        reader.normPlaces = .both
        reader.headNorms = .heads
        reader.logits.softcap = try reader.keys.float("final_logit_softcapping", orZero: 0)
        let slides = try reader.slide { $0 % 6 != 5 }
        // Scaling is for the layers that see all.
        try reader.addPlainRotary(base: 10_000)
        reader.rotary = { slides[$0] ? 1 : 0 }
        transformer = try reader.transformer()
    }
}
