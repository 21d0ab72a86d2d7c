/// Why a model's file or folder cannot be read: names the file and the key, field or tensor at fault.
package struct GGUFError: Error, CustomStringConvertible, Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case notFound, notAFile, empty, unreadable, badMagic, unsupportedVersion, truncated, malformed, missingShard
        case missingKey, wrongType, unknownTensorType, noData, unsupported, changed
    }
    package let kind: Kind
    package let file: String
    package let reason: String

    package var description: String { "\(file): \(reason)" }
}
