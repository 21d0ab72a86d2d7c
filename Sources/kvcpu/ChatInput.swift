import CEdit
import Foundation

/// What the user types, a message at a time: with editing and history at a terminal, else as it comes.
final class ChatInput {
    private let edits = Terminal.inputIsTerminal && Terminal.errorIsTerminal
    private let lines = InputLines()
    private var history: ChatHistory?

    /// - Parameter keepsHistory: from one chat to the next, in a file that this user alone can read.
    init(keepsHistory: Bool) {
        guard edits else { return }
        using_history()
        stifle_history(Int32(ChatHistory.lines))
        guard keepsHistory else { return }
        let history = ChatHistory()
        for line in history.kept { add_history(line) }
        self.history = history
    }

    /// The next message or command; nil at the input's end.
    /// - Throws: `Failure` where standard input cannot be read.
    func next() throws(Failure) -> String? {
        guard let text = try Self.message(line) else { return nil }
        if edits, !text.isEmpty, !text.contains("\n") {
            add_history(text)
            history?.add(text)
        }
        return text
    }

    /// Puts lines together: one that ends in `\` goes on in the next; `"""` begins and ends a message of several lines.
    static func message(_ line: (_ isFirst: Bool) throws(Failure) -> String?) throws(Failure) -> String? {
        guard var text = try line(true) else { return nil }
        if text.hasPrefix("\"\"\"") {
            text.removeFirst(3)
            while !text.hasSuffix("\"\"\"") {
                guard let more = try line(false) else { return text }
                text += (text.isEmpty ? "" : "\n") + more
            }
            text.removeLast(3)
            return text.hasSuffix("\n") ? String(text.dropLast()) : text
        }
        while text.hasSuffix("\\") {
            text.removeLast()
            guard let more = try line(false) else { return text }
            text += "\n" + more
        }
        return text
    }

    private func line(_ isFirst: Bool) throws(Failure) -> String? {
        let prompt = isFirst ? "> " : ". "
        while true {
            if edits {
                guard let line = cedit_line(prompt) else { return nil }
                defer { free(line) }
                if let text = String(validatingCString: line) { return text }
                Terminal.error("the line is not UTF-8: it is not taken")
            } else {
                Terminal.write(prompt)
                switch try lines.next() {
                case .text(let text): return text
                case .refused(let reason): Terminal.error(reason)
                case .end: return nil
                }
            }
        }
    }
}
