import Foundation
import KVText

/// A chat's messages, and what the user's lines do to them.
struct Conversation {
    private var turns: [ChatMessage] = []
    private var system: String?
    /// Files for the next message.
    private var attached = ""

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
            return .say("forgotten")
        case "/system":
            system = argument.isEmpty ? nil : argument
            return .say(argument.isEmpty ? "no system message" : "system: \(argument)")
        case "/regen":
            if turns.last?.role == "assistant" { turns.removeLast() }
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

    mutating func add(answer: String) { turns.append(ChatMessage(role: "assistant", content: answer)) }

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
        do {
            let file = File(messages: messages.map { .init(role: $0.role, content: $0.content) })
            try encoder.encode(file).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch { throw .run("\(path): \((error as NSError).localizedDescription)") }
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
    }

    private static func read(_ path: String) throws(Failure) -> String {
        guard !path.isEmpty else { throw .usage("a file is missing") }
        do {
            guard let text = String(validating: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self) else {
                throw Failure.run("\(path): not UTF-8")
            }
            return text
        } catch let failure as Failure { throw failure } catch {
            throw .run("\(path): \((error as NSError).localizedDescription)")
        }
    }
}
