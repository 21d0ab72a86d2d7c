package import KVGGUF

/// Qwen 1.5 and 2 with experts: the experts' weights are those of a softmax over all, and one expert, weighed by a gate of its own, is shared.
package struct Qwen2MoE: TransformerArchitecture {
    package static let names = ["qwen2moe"]
    package static let summary = "Qwen 1.5 MoE, Qwen 2 57B-A14B"
    package let transformer: Transformer

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        var reader = try TransformerReader(file, weights, pairing: .halves)
        reader.isTiedWithoutOutput = false
        reader.renormalises = false
        transformer = try reader.transformer()
    }
}
