/// Why a vocabulary, a text or a chat template was refused.
package struct TokenizerError: Error, CustomStringConvertible, Sendable {
    /// The kind of refusal, for callers that act on it.
    package enum Reason: Sendable, Equatable {
        /// A metadata key the vocabulary cannot do without is absent.
        case missing
        /// A metadata value has the wrong type, length or range.
        case malformed
        /// The tokenizer model (`tokenizer.ggml.model`) is one this library does not speak.
        case unsupportedModel
        /// No rule is known under the name in `tokenizer.ggml.pre`.
        case unknownPreTokenizer
        /// The model's chat template is not of a known form.
        case unsupportedTemplate
        /// The text is too long to index (2 GiB and more).
        case textTooLong
        /// The regular-expression engine refused a pattern or gave up on a text.
        case pattern
    }

    package let reason: Reason
    /// The file the value came from; empty where it was handed over in memory.
    package var file: String
    /// The metadata key, or the part of the input.
    package let field: String
    /// The value found there, shortened where it is long.
    package let value: String
    /// What would have been right.
    package let expected: String

    package init(_ reason: Reason, file: String = "", field: String, value: String, expected: String) {
        self.reason = reason
        self.file = file
        self.field = field
        self.value = value.unicodeScalars.count <= 160 ? value : String(value.unicodeScalars.prefix(157)) + "..."
        self.expected = expected
    }

    package var description: String {
        let place = file.isEmpty ? field : "\(file): \(field)"
        return "\(place): \(value.isEmpty ? "absent" : "\u{201C}\(value)\u{201D}"): \(expected)"
    }
}
