package import KVGGUF

/// What a transformer computes. An architecture is written once, against `Operations` and `Attention`, and never learns who computes
/// it: one rank, N ranks, decode, or a device.
package protocol Architecture: Sendable {
    /// The values of `general.architecture` that this type reads.
    static var names: [String] { get }
    /// The models, in a line.
    static var summary: String { get }

    /// Reads the geometry and declares every weight.
    /// - Throws: `ModelError` naming the key or tensor at fault.
    init(_ file: GGUFFile, weights: Weights) throws(ModelError)

    var geometry: Geometry { get }

    /// Runs the operations' tokens through all layers; called by every worker of a team at once.
    func forward(on operations: any Operations, attention: any Attention) throws(Stopped)
}

/// The known architectures: one line each.
package enum Architectures {
    package static let all: [any Architecture.Type] = [
        Llama.self,
        Falcon.self,
        Qwen2.self,
        Qwen2MoE.self,
        Qwen3.self,
        Gemma.self,
        Gemma2.self,
        Gemma3.self,
        Phi3.self,
        GPTNeoX.self,
        OLMo2.self,
        StarCoder2.self,
        StableLM.self,
        Granite.self,
        SmolLM3.self,
        CommandR.self,
    ]

    /// - Throws: `ModelError` naming the architecture when it is none of `all`, or what of the file it does not compute.
    package static func load(_ file: GGUFFile, weights: Weights) throws(ModelError) -> any Architecture {
        let name: String
        do { name = try file.metadata.string("general.architecture") } catch {
            throw ModelError(.badMetadata, "\(error)")
        }
        guard let type = all.first(where: { $0.names.contains(name) }) else {
            let known = all.flatMap { $0.names }.joined(separator: ", ")
            throw ModelError(
                .unknownArchitecture, "\(file.path): general.architecture is \"\(name)\"; this build knows \(known)")
        }
        let architecture = try type.init(file, weights: weights)
        try weights.refuseUndeclared(by: name)
        return architecture
    }
}
