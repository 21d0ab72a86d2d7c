package import KVGGUF

/// Gemma: embeddings times √width, GeGLU. Its files hold the norms' weights with 1 added.
package struct Gemma: TransformerArchitecture {
    package static let names = ["gemma"]
    package static let summary = "Gemma 2B, 7B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.setGemma()
        transformer = try reader.transformer()
    }
}

extension TransformerReader {
    /// What all Gemmas have.
    mutating func setGemma() {
        feedForward = .gated(.geluTanh)
        embeddingScale = Float(geometry.embedding).squareRoot()
    }

    /// The queries' scale of the 27B models, which no key tells, is that of width / heads.
    mutating func setGemmaScale(ofLayers layers: Int) {
        guard geometry.layers == layers, !keys.has("attention.scale") else { return }
        geometry.attentionScale = 1 / (Float(geometry.embedding) / Float(geometry.heads)).squareRoot()
    }
}
