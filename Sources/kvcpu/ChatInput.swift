import CEdit
import Foundation

/// What the user types, a message at a time: with editing and history at a terminal, else as it comes.
struct ChatInput {
    private let edits = Terminal.inputIsTerminal && Terminal.errorIsTerminal
    /// Where earlier messages are kept for the arrow keys; nil: nowhere.
    private let history: String?

    /// - Parameter keepsHistory: from one chat to the next, in a file that this user alone can read.
    init(keepsHistory: Bool) {
        let environment = ProcessInfo.processInfo.environment
        let folder = (environment["XDG_STATE_HOME"] ?? NSHomeDirectory() + "/.local/state") + "/kvcpu"
        history = edits && keepsHistory ? folder + "/chat_history" : nil
        guard edits else { return }
        using_history()
        stifle_history(1000)
        if let history {
            try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            read_history(history)
        }
    }

    /// The next message or command; nil at the input's end.
    func next() -> String? {
        signal(SIGINT, SIG_DFL)
        guard let text = Self.message(line) else { return nil }
        if edits, !text.isEmpty, !text.contains("\n") {
            add_history(text)
            if let history, write_history(history) == 0 { chmod(history, 0o600) }
        }
        return text
    }

    /// Puts lines together: one that ends in `\` goes on in the next; `"""` begins and ends a message of several lines.
    static func message(_ line: (_ isFirst: Bool) -> String?) -> String? {
        guard var text = line(true) else { return nil }
        if text.hasPrefix("\"\"\"") {
            text.removeFirst(3)
            while !text.hasSuffix("\"\"\"") {
                guard let more = line(false) else { return text }
                text += (text.isEmpty ? "" : "\n") + more
            }
            text.removeLast(3)
            return text.hasSuffix("\n") ? String(text.dropLast()) : text
        }
        while text.hasSuffix("\\") {
            text.removeLast()
            guard let more = line(false) else { return text }
            text += "\n" + more
        }
        return text
    }

    private func line(_ isFirst: Bool) -> String? {
        let prompt = isFirst ? "> " : ". "
        guard edits else {
            Terminal.write(prompt)
            return readLine()
        }
        guard let line = cedit_line(prompt) else { return nil }
        defer { free(line) }
        return String(cString: line)
    }
}
