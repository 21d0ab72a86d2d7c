package import KVGGUF

/// Qwen 3, with experts or without: queries and keys are normalised head by head.
package struct Qwen3: TransformerArchitecture {
    package static let names = ["qwen3", "qwen3moe"]
    package static let summary = "Qwen 3, dense and mixtures of experts (30B-A3B, 235B-A22B)"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.headNorms = .heads
        transformer = try reader.transformer()
    }
}
