/// Why a model cannot be loaded or run: names the file and the key, tensor or value at fault.
package struct ModelError: Error, CustomStringConvertible, Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case unknownArchitecture, unsupportedTensorType, missingTensor, badShape, badMetadata, unsupported, memory
    }
    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A run was ended before its end: the reason lies with whoever raised the interrupt (see `RunState` in KVRunahead).
package struct Stopped: Error, Sendable, Equatable {
    package init() {}
}
