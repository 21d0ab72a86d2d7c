package import KVGGUF

/// A model file with its declared weights and architecture; not yet packed (see `Weights.pack`).
package final class Model: Sendable {
    package let file: GGUFFile
    package let weights: Weights
    package let architecture: any Architecture

    package var geometry: Geometry { architecture.geometry }
    /// The architecture's, as the file has it.
    package var name: String { (try? file.metadata.string("general.architecture")) ?? type(of: architecture).names[0] }

    /// - Throws: `ModelError` naming the key or tensor at fault.
    package init(_ file: GGUFFile, kernels: Kernels, activations: ActivationType) throws(ModelError) {
        self.file = file
        weights = Weights(file, kernels: kernels, activations: activations)
        architecture = try Architectures.load(file, weights: weights)
    }
}
