import ArgumentParser

/// The command line as kvcpu's parser reads it: llama.cpp's flags translated, every value bound to its option, so that it may begin with a dash.
struct CommandArguments {
    /// As for the parser.
    private(set) var parsed: [String] = []
    /// What has no effect, for standard error.
    private(set) var notices: [String] = []

    private var command: any ParsableCommand.Type = Run.self
    private var name = "kvcpu"
    private var own = OwnOptions(Run.self)
    private var positionals: [String] = []
    private var given: [String: Int] = [:]
    private var isConversation: Bool?
    private var isSingleTurn = false

    /// What ends the reading of options wherever it stands.
    private static let informs: Set<String> = ["-h", "--help", "--help-hidden", "--version", "--experimental-dump-help"]
    /// What says less or more on standard error; commands that have no such option are as asked.
    private static let manners: Set<String> = ["--stats", "--no-progress", "--verbose", "--log-format", "--log-level"]

    /// - Parameter arguments: without the program's name.
    /// - Throws: `Failure` (usage) naming the argument.
    init(_ arguments: [String]) throws(Failure) { try read(arguments) }

    private mutating func read(_ arguments: [String]) throws(Failure) {
        var rest = arguments[...]
        if let first = rest.first, !first.hasPrefix("-") {
            guard let chosen = Kvcpu.configuration.subcommands.first(where: { $0._commandName == first }) else {
                if first == "help" {
                    parsed = arguments
                    return
                }
                let commands = Kvcpu.configuration.subcommands.map { $0._commandName }.joined(separator: ", ")
                throw .usage("\"\(first)\" is no command; they are \(commands). A prompt is given as -p TEXT or -f FILE")
            }
            choose(chosen)
            rest = rest.dropFirst()
        } else {
            choose(Run.self)
        }
        while let argument = rest.popFirst() {
            if argument == "--" {
                positionals += rest
                break
            }
            if argument == "--usage" || Self.informs.contains(argument) || argument.hasPrefix("--generate-completion-script") {
                let asked = argument == "--usage" ? "--help" : argument
                // Of the program where nothing stands before it, else of the command.
                parsed = rest.count == arguments.count - 1 ? [asked] + rest : [command._commandName, asked]
                return
            }
            if argument == "-" || !argument.hasPrefix("-") || isText(argument) {
                positionals.append(argument)
            } else {
                try take(argument, &rest)
            }
        }
        try finish()
    }

    private mutating func choose(_ command: any ParsableCommand.Type) {
        self.command = command
        name = "kvcpu \(command._commandName)"
        own = OwnOptions(command)
    }

    private var program: LlamaFlag.Program { command == Bench.self ? .bench : .cli }

    /// Whether an argument with a dash is a text all the same, where the command takes one: a number or words.
    private func isText(_ argument: String) -> Bool {
        guard own.hasPositionals, own.takesValue(argument) == nil else { return false }
        return Double(argument) != nil || argument.contains { $0.isWhitespace }
    }

    // MARK: One option

    private mutating func take(_ argument: String, _ rest: inout ArraySlice<String>) throws(Failure) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let name = String(parts[0])
        let attached = parts.count > 1 ? String(parts[1]) : nil
        given[name, default: 0] += 1
        if let takesValue = own.takesValue(name) {
            if takesValue {
                add(name, try value(of: name, attached, &rest))
            } else if let attached {
                throw .usage("\(name) takes no value; \"\(attached)\" was given")
            } else {
                parsed.append(name)
            }
            return
        }
        guard let flag = LlamaFlag.find(name, of: program) else { throw unknown(argument, name) }
        try take(flag, name, attached, &rest)
    }

    private mutating func add(_ name: String, _ value: String) { parsed.append("\(name)=\(value)") }

    private func value(of name: String, _ attached: String?, _ rest: inout ArraySlice<String>) throws(Failure) -> String {
        guard let value = attached ?? rest.popFirst() else { throw .usage("\(name) needs a value") }
        return value
    }

    private mutating func take(
        _ flag: LlamaFlag, _ name: String, _ attached: String?, _ rest: inout ArraySlice<String>
    ) throws(Failure) {
        var value = ""
        switch flag.values {
        case .none: if let attached { throw .usage("\(name) takes no value; \"\(attached)\" was given") }
        case .one:
            if case .refused = flag.meaning {
                value = attached ?? rest.popFirst() ?? ""
            } else {
                value = try self.value(of: name, attached, &rest)
            }
        case .two:
            value = try self.value(of: name, attached, &rest)
            value += " " + (try self.value(of: name, nil, &rest))
        case .optional(let known):
            if let attached {
                value = attached
            } else if let next = rest.first, known.contains(next) {
                value = next
                rest = rest.dropFirst()
            }
        }
        let said = value.isEmpty ? name : "\(name) \(value)"
        switch flag.meaning {
        case .fulfilled: break
        case .ignored: notices.append("\(said) has no effect: \(flag.note)")
        case .only(let values):
            guard LlamaFlag.isAmong(value, values) else { throw .usage("\(said): \(flag.note)") }
        case .refused: throw .usage("\(said): \(flag.note)")
        case .option(let option): try put(option, value, for: name)
        case .arguments(let arguments): try put(arguments, for: name)
        case .value(let translate): try put(try translate(name, value), for: name)
        }
    }

    private mutating func put(_ option: String, _ value: String, for name: String) throws(Failure) {
        guard own.takesValue(option) == true else {
            if Self.manners.contains(option) { return }
            throw .usage("\(name) sets nothing in \(self.name)")
        }
        add(option, value)
    }

    private mutating func put(_ arguments: [String], for name: String) throws(Failure) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--conversation", "--no-conversation":
                let wanted = argument == "--conversation"
                guard isConversation ?? wanted == wanted else { throw .usage("-cnv and -no-cnv exclude each other: give one") }
                isConversation = wanted
            case "--single-turn": isSingleTurn = true
            default:
                if let next = rest.first, !next.hasPrefix("--") {
                    rest = rest.dropFirst()
                    try put(argument, next, for: name)
                } else if own.takesValue(argument) == false {
                    parsed.append(argument)
                } else if !Self.manners.contains(argument) {
                    throw .usage("\(name) sets nothing in \(self.name)")
                }
            }
        }
    }

    // MARK: The whole

    private mutating func finish() throws(Failure) {
        if command == Bench.self {
            for name in ["-m", "--model"] where given[name, default: 0] > 1 {
                throw .usage("\(name) is given \(given[name, default: 0]) times: kvcpu bench measures one model a run")
            }
        }
        guard own.hasPositionals || positionals.isEmpty else {
            throw .usage(
                "\"\(positionals[0])\" belongs to no option"
                    + (command == Run.self ? "; a prompt is given as -p TEXT or -f FILE" : "; \(name) --help lists them"))
        }
        if command == Run.self { try converse() }
        parsed.insert(command._commandName, at: 0)
        if !positionals.isEmpty { parsed += ["--"] + positionals }
    }

    /// llama-cli's conversation mode: `kvcpu chat`, or one message's answer.
    private mutating func converse() throws(Failure) {
        let chats = parsed.contains("--chat")
        if isConversation == false {
            if chats || isSingleTurn { throw .usage("-no-cnv and \(chats ? "--chat" : "-st") exclude each other: give one") }
        } else if isSingleTurn {
            if !chats { parsed.append("--chat") }
        } else if isConversation == true {
            choose(Chat.self)
            parsed.removeAll { $0 == "--chat" }
            for argument in parsed {
                let name = String(argument.split(separator: "=", maxSplits: 1)[0])
                guard own.takesValue(name) != nil else { throw .usage("-cnv is kvcpu chat, which has no \(name)") }
            }
        }
    }

    private func unknown(_ argument: String, _ name: String) -> Failure {
        let known = own.names + LlamaFlag.all(of: program).flatMap(\.names)
        var text = "unknown option \(name)"
        if let near = Spelling.nearest(to: name, among: known) {
            text += "; is \(near) meant?"
        } else {
            text += "; \(self.name) --help lists them"
        }
        if own.hasPositionals { text += "; a text that begins with a dash goes behind --" }
        return .usage(text)
    }
}

/// Likeness of words, for hints.
enum Spelling {
    /// The one word that a single slip of the keys makes of another (a letter too many, too few, wrong, or two exchanged); nil where there is
    /// none, or where short words would be alike by chance.
    static func nearest(to word: String, among words: [String]) -> String? {
        guard word.count >= 6 else { return nil }
        let near = Set(words.filter { isOneSlip(Array(word), Array($0)) })
        return near.count == 1 ? near.first : nil
    }

    static func isOneSlip(_ a: [Character], _ b: [Character]) -> Bool {
        guard a != b, abs(a.count - b.count) <= 1 else { return false }
        let start = zip(a, b).prefix { $0 == $1 }.count
        let (left, right) = (a[start...], b[start...])
        if left.count > right.count { return left.dropFirst().elementsEqual(right) }
        if left.count < right.count { return right.dropFirst().elementsEqual(left) }
        if left.dropFirst().elementsEqual(right.dropFirst()) { return true }
        guard left.count >= 2 else { return false }
        return left.first == right.dropFirst().first && right.first == left.dropFirst().first
            && left.dropFirst(2).elementsEqual(right.dropFirst(2))
    }
}
