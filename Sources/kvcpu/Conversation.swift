import Foundation
import KVGGUF
import KVText

/// A chat's messages, and what the user's lines do to them.
struct Conversation {
    private var turns: [ChatMessage] = []
    private var system: String?
    /// Files for the next message.
    private var attached = ""
    /// The last message, where its answer failed.
    private var unanswered: ChatMessage?
    /// The answer that a new one is to replace.
    private var replaced: ChatMessage?

    /// What is to be done after a line.
    enum Step: Equatable {
        case nothing
        /// The last message is the user's.
        case answer
        case say(String)
        case stats
        case leave
    }

    static let help = """
        /clear            forgets the conversation
        /regen            answers the last message again
        /undo             takes the last message and its answer back
        /read FILE        puts a text file before the next message
        /system TEXT      sets the system message; without a text there is none
        /history          shows the conversation
        /save FILE        writes the conversation as JSON; /load FILE takes one up
        /stats            the last answer's timings
        /exit             leaves, as Ctrl-D does; Ctrl-C stops an answer
        A line that ends in \\ goes on in the next; \"\"\" begins and ends a message of several lines; // is a message's /
        """

    init(system: String?) { self.system = system }

    var messages: [ChatMessage] { (system.map { [ChatMessage(role: "system", content: $0)] } ?? []) + turns }

    /// - Throws: `Failure` naming the file that cannot be read or written; the conversation is as before.
    mutating func take(_ line: String) throws(Failure) -> Step {
        let text = line.trimmingCharacters(in: .whitespaces)
        if text.isEmpty { return .nothing }
        guard text.hasPrefix("/"), !text.hasPrefix("//") else {
            turns.append(ChatMessage(role: "user", content: attached + (text.hasPrefix("//") ? String(text.dropFirst()) : line)))
            attached = ""
            unanswered = nil
            return .answer
        }
        let words = text.split(separator: " ", maxSplits: 1)
        return try command(String(words[0]), words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : "")
    }

    private mutating func command(_ name: String, _ argument: String) throws(Failure) -> Step {
        switch name {
        case "/exit", "/quit", "/bye": return .leave
        case "/help", "/?": return .say(Self.help)
        case "/stats": return .stats
        case "/clear":
            turns = []
            attached = ""
            unanswered = nil
            return .say("forgotten")
        case "/system":
            system = argument.isEmpty ? nil : argument
            return .say(argument.isEmpty ? "no system message" : "system: \(argument)")
        case "/regen":
            if let unanswered {
                turns.append(unanswered)
                self.unanswered = nil
            } else if turns.last?.role == "assistant" {
                replaced = turns.removeLast()
            }
            return turns.isEmpty ? .say("there is no message yet") : .answer
        case "/undo":
            guard !turns.isEmpty else { return .say("there is no message yet") }
            withdraw()
            return .say("\(turns.count) messages are left")
        case "/history": return .say(messages.map { "\($0.role): \($0.content)" }.joined(separator: "\n"))
        case "/read":
            let content = try Self.read(argument)
            attached += content + (content.hasSuffix("\n") ? "" : "\n")
            return .say("\(argument): \(content.utf8.count) bytes go with the next message")
        case "/save":
            try save(argument)
            return .say("\(argument): \(messages.count) messages")
        case "/load":
            try load(argument)
            return .say("\(argument): \(messages.count) messages")
        default: return .say("unknown command \(name); /help lists them")
        }
    }

    mutating func add(answer: String) {
        replaced = nil
        turns.append(ChatMessage(role: "assistant", content: answer))
    }

    /// There is no answer: the conversation is as it was before the message, which /regen sends again, or has the answer that a new one was to
    /// replace.
    mutating func fail() {
        if let replaced {
            turns.append(replaced)
            self.replaced = nil
        } else {
            unanswered = turns.popLast()
        }
    }

    /// Takes the last message, and what answered it, back.
    mutating func withdraw() {
        if turns.last?.role == "assistant" { turns.removeLast() }
        if !turns.isEmpty { turns.removeLast() }
    }

    // MARK: Files

    private struct File: Codable {
        struct Message: Codable {
            let role, content: String
        }
        let messages: [Message]
    }

    private func save(_ path: String) throws(Failure) {
        guard !path.isEmpty else { throw .usage("/save needs a file") }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .withoutEscapingSlashes]
        let text: String
        do {
            let file = File(messages: messages.map { .init(role: $0.role, content: $0.content) })
            text = String(decoding: try encoder.encode(file), as: UTF8.self)
        } catch { throw .run("\(path): \(error)") }
        do { try OutputFile.write(text, to: path, isPrivate: true) } catch { throw .run("\(error)") }
    }

    private mutating func load(_ path: String) throws(Failure) {
        let text = try Self.read(path)
        let file: File
        do { file = try JSONDecoder().decode(File.self, from: Data(text.utf8)) } catch {
            throw .run("\(path): not a conversation as /save writes it")
        }
        var messages = file.messages.map { ChatMessage(role: $0.role, content: $0.content) }
        system = messages.first?.role == "system" ? messages.removeFirst().content : nil
        turns = messages
        unanswered = nil
    }

    private static func read(_ path: String) throws(Failure) -> String {
        guard !path.isEmpty else { throw .usage("a file is missing") }
        // Nobody can stop it while it waits.
        let bytes = try Input.read(path, patience: 5)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .run("\(path): not UTF-8") }
        return text
    }
}
