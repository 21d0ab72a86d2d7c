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
    /// - Parameter type: what float matrices are quantised to; nil: they stay as they are.
    package init(
        _ file: GGUFFile, kernels: Kernels, activations: ActivationType, type: TensorType? = nil
    ) throws(ModelError) {
        self.file = file
        weights = Weights(file, kernels: kernels, activations: activations, type: type)
        architecture = try Architectures.load(file, weights: weights)
        if let type, !weights.quantises, !weights.all(are: type) {
            throw ModelError(
                .unsupported,
                "\(file.path): no matrix can become \(type): only F32, F16 and BF16 ones are quantised, and there are none")
        }
    }
}
