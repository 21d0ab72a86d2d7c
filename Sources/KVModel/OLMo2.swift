package import KVGGUF

/// OLMo 2 and 3: norms behind each block only, of queries and keys over the whole row. OLMo 3 has windows in three of four layers, which
/// turn by plain rotary embedding whatever the scaling of the others.
package struct OLMo2: TransformerArchitecture {
    package static let names = ["olmo2", "olmo3"]
    package static let summary = "OLMo 2, OLMo 3"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.isTiedWithoutOutput = false
        reader.normPlaces = .after
        reader.headNorms = .rows
        let slides = try reader.slide { $0 % 4 != 3 }
        if slides.contains(true) {
            try reader.addPlainRotary(base: reader.geometry.rotary.base)
            reader.rotary = { slides[$0] ? 1 : 0 }
        }
        transformer = try reader.transformer()
    }
}
