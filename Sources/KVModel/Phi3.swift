package import KVGGUF

/// Phi 3, 3.5 and 4: one matrix for query, key and value, one for gate and up, LongRoPE's factors.
package struct Phi3: TransformerArchitecture {
    package static let names = ["phi3"]
    package static let summary = "Phi 3, Phi 3.5, Phi 4 (LongRoPE: the context chooses the factors)"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        try reader.slide { _ in true }
        transformer = try reader.transformer()
    }
}
