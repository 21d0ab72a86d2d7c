package import KVGGUF

/// What a transformer computes. An architecture is written once, against `Operations` and `Attention`, and never learns who computes
/// it: one rank, N ranks, decode, or a device.
package protocol Architecture: Sendable {
    /// The values of `general.architecture` that this type reads.
    static var names: [String] { get }

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
    ]

    /// - Throws: `ModelError` naming the architecture when it is none of `all`.
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
        return try type.init(file, weights: weights)
    }
}

/// The sizes that buffers, cache and plans are made from.
package struct Geometry: Sendable, Equatable {
    package var layers: Int
    package var embedding: Int
    package var heads: Int
    package var keyValueHeads: Int
    package var headDimension: Int
    package var feedForward: Int
    package var vocabulary: Int
    /// Tokens the model was trained for.
    package var contextLength: Int
    package var rotary: Rotary

    /// Query heads that share one key/value head.
    package var group: Int { heads / keyValueHeads }
    package var queryWidth: Int { heads * headDimension }
    /// Elements of one position's keys (or values) in one layer.
    package var keyValueWidth: Int { keyValueHeads * headDimension }
}
