/// Why a chat template could not be read or rendered.
package struct TemplateError: Error, CustomStringConvertible, Sendable, Equatable {
    package enum Reason: Sendable, Equatable {
        /// The text is not a template.
        case syntax
        /// The template itself refused (`raise_exception`); the message is its own.
        case raised
        /// An operation on values that do not have it, an undefined name, an unknown filter.
        case evaluation
        /// More steps, nesting or output than a template may have.
        case steps, depth, size
        /// What the caller handed over (messages, variables) cannot be read.
        case input
    }

    package let reason: Reason
    package let message: String
    /// The line of the template, from 1; 0 where none is known.
    package var line: Int

    package init(_ reason: Reason, _ message: String, line: Int = 0) {
        self.reason = reason
        self.message = message
        self.line = line
    }

    package var description: String {
        let text =
            switch reason {
            case .raised: "the chat template refuses: \(message)"
            case .syntax: "the chat template cannot be read: \(message)"
            case .input: message
            default: "the chat template fails: \(message)"
            }
        return line > 0 ? "\(text) (line \(line))" : text
    }
}

/// What a rendering may use, so that a hostile template ends soon: all counted, none timed, so that a run repeats.
package struct TemplateBudget: Sendable {
    /// Expressions evaluated, statements run and, in units of some bytes, text touched.
    package var steps: Int
    /// Statements, expressions and macro calls within one another.
    package var depth = 96
    /// Bytes of text and elements of lists made on the way, and of output.
    package var size: Int

    /// - Parameter input: bytes of the messages; longer conversations may take more.
    package init(input: Int) {
        steps = 200_000 + 4 * input
        size = (4 << 20) + 64 * input
    }
}
