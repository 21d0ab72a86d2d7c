/// Writes command lines of a program that lists its commands and options as Swift's ArgumentParser does (`--experimental-dump-help`).
struct CommandLineGrammar {
    private struct Command {
        let name: String
        let options: [Option]
    }

    private struct Option {
        /// As written: "-m", "--model"; empty of a positional one.
        let names: [String]
        let takesValue: Bool
        let isRequired: Bool
        let values: [String]
        let fallback: String?
    }

    private let commands: [Command]
    /// llama.cpp's flags, which the program reads, refuses or says to be of no use.
    private let foreign: [String]
    var names: [String] { commands.map(\.name) }

    /// Commands that measure for minutes are started with other values only now and then.
    private static let long: Set<String> = ["paper", "plan", "bench"]

    /// - Parameter foreign: a list of llama.cpp's flags: in each line a program and a flag's names.
    init(_ document: JSONDocument, foreign: [UInt8]) throws {
        guard let root = document["command"], case .array(let list)? = root["subcommands"] else {
            throw Fault("the list of commands has none")
        }
        commands = list.compactMap { command in
            guard case .string(let name)? = command["commandName"], case .array(let arguments)? = command["arguments"] else {
                return nil
            }
            return Command(name: String(decoding: name, as: UTF8.self), options: arguments.compactMap(Self.option))
        }
        self.foreign = String(decoding: foreign, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
            .flatMap { $0.split(separator: " ").filter { $0.hasPrefix("-") }.map(String.init) }
            .filter { !["-h", "--help", "--usage", "--version"].contains($0) }
        guard commands.count > 3, commands.contains(where: { $0.options.count > 20 }) else {
            throw Fault("the list of commands is short")
        }
    }

    private static func text(_ value: JSONDocument?) -> String? {
        guard case .string(let bytes)? = value else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func option(_ argument: JSONDocument) -> Option? {
        var names: [String] = []
        if case .array(let list)? = argument["names"] {
            for one in list {
                guard let name = text(one["name"]) else { continue }
                names.append((text(one["kind"]) == "long" ? "--" : "-") + name)
            }
        }
        guard !names.contains("--help"), !names.contains("--version") else { return nil }
        var values: [String] = []
        if case .array(let list)? = argument["allValues"] ?? argument["allValueStrings"] { values = list.compactMap(text) }
        let isRequired = if case .bool(false)? = argument["isOptional"] { true } else { false }
        return Option(
            names: names, takesValue: text(argument["kind"]) != "flag", isRequired: isRequired, values: values,
            fallback: text(argument["defaultValue"]))
    }

    // MARK: Writing

    func arguments(_ random: inout RandomSource) -> [String] {
        var command = random.pick(commands)
        if Self.long.contains(command.name), random.oneIn(2) { command = random.pick(commands) }
        var words: [String] = command.name == "run" && random.oneIn(2) ? [] : [command.name]
        var given: Set<String> = []
        for _ in 0...random.below(3) {
            guard !command.options.isEmpty else { break }
            let option = random.pick(command.options)
            add(option, value(option, &random), to: &words, &given, &random)
        }
        if !foreign.isEmpty, random.oneIn(4) {
            for _ in 0...random.below(2) {
                words.append(random.pick(foreign))
                if !random.oneIn(3) { words.append(random.oneIn(3) ? "\(1 + random.below(4))" : free(&random)) }
            }
        }
        if random.oneIn(16) { words.append(free(&random)) }
        if random.oneIn(24) { words.append("--" + random.pick(["nothing", "model=", "", "ranks=2", "temp", "n-predic"])) }
        // What it takes to come to the work at all.
        guard !random.oneIn(10) else { return words }
        for option in command.options where option.takesValue && given.isDisjoint(with: option.names) {
            if let usual = Self.usual(option.names, command.name) { words += [option.names[0], usual] }
        }
        return words
    }

    private func add(
        _ option: Option, _ value: String, to words: inout [String], _ given: inout Set<String>, _ random: inout RandomSource
    ) {
        given.formUnion(option.names)
        guard let name = option.names.isEmpty ? nil : random.pick(option.names) else {
            words.append(value)
            return
        }
        if !option.takesValue {
            words.append(random.oneIn(16) ? name + "=1" : name)
        } else if random.oneIn(3), name.hasPrefix("--") {
            words.append(name + "=" + value)
        } else {
            words += random.oneIn(24) ? [name] : [name, value]
        }
    }

    /// Small work on the files that lie in the folder.
    private static func usual(_ names: [String], _ command: String) -> String? {
        for name in names {
            switch name {
            case "--model": return "model.gguf"
            case "--prompt" where command != "template": return "abc"
            case "--ctx-size": return "64"
            case "--threads-per-rank": return "1"
            case "--predict", "--n-predict": return "4"
            case "--n-prompt": return "8"
            case "--n-gen": return "2"
            case "--repetitions": return "1"
            case "--lengths": return "16,32"
            case "--budget": return "1s"
            case "--plans": return "plans"
            case "--messages": return "messages.json"
            case "--output" where command == "dump": return "dump.safetensors"
            case "--output" where command == "paper": return "folder"
            default: continue
            }
        }
        return nil
    }

    private func value(_ option: Option, _ random: inout RandomSource) -> String {
        if !option.values.isEmpty, random.oneIn(2) { return random.pick(option.values) }
        if let fallback = option.fallback, random.oneIn(6) { return fallback }
        // Ranks and threads that the machine could really be asked for are kept few.
        let counts = option.names.contains { $0.hasSuffix("ranks") || $0.contains("threads") || $0 == "-t" || $0 == "-tb" }
        let text = free(&random)
        if counts, let count = Int(text), (5...1024).contains(count) { return "\(1 + count % 4)" }
        return text
    }

    private static let lists = [
        "0", "1,2", "1,,2", ",", "1e308,1e308", "nan,1", "-1,2", "0.5,0.5", "0,0", "8,-8", "99999999999999999999,1", "0-1", "1-0",
        "0-99999999999",
        "0|1", "0|0", "|", "cuda", "cuda:0", "cuda:-1", "cuda:99999999999999999999", "cpu,cpu", "bandwidth=1e-300", "bandwidth=0",
        "bandwidth=nan,latency=inf", "latency=-1s", "latency=1e300s", "bandwidth=10GB/s,latency=5us,jitter=1us,bursts=20%",
        "bursts=200%",
        "llama-7b", "llama-7b,layers=1,width=64,heads=2,ffn=64,vocab=64", "llama-7b,layers=99999999999", "llama-7b,width=0",
        "x,layers=1",
        "llama-7b,layers=1,width=64,heads=0", "llama-7b,layers=1,width=64,heads=2,ffn=64,vocab=9223372036854775807",
        "llama-7b,layers=-1",
        "1s", "0s", "1e300s", "-1s", "nans", "1h", "99999999999999999999s", "1ms", "128,128", "16,16,16", "0..10", "1-4", "64-64:1",
        "1,2,3", "999999", "-5", "1,2,2147483648", "{\"a\": 1}", "{", "[1]", "{\"a\": 1e999}", "chatml", "llama3", "{{ messages }}",
        "{% for %}",
        "{{ '%.-5s' % 'a' }}", "q8_0", "q4_k", "scalar", "avx2", "avx512", "neon", "- item", "--", "-", "-x", "@file", "%s%n",
    ]
    /// Only below the folder at hand.
    private static let paths = [
        "model.gguf", "text.txt", "folder", "folder/", "missing", "missing/x", "messages.json", "template.jinja", "new.json",
        "./a b", "é.txt",
        "model.gguf/x", "plans", "-", "none", "",
    ]

    private func free(_ random: inout RandomSource) -> String {
        switch random.below(10) {
        case 0, 1, 2: return "\(random.pick(ExtremeValues.integers))"
        case 3: return "\(random.pick(ExtremeValues.floats))"
        case 4: return random.pick(ExtremeValues.numbers)
        case 5, 6: return random.pick(Self.lists)
        case 7, 8: return random.pick(Self.paths)
        default:
            // No argument can hold a zero byte.
            let text = ExtremeValues.text(&random).filter { $0 != 0 && $0 != UInt8(ascii: "/") }
            return String(decoding: text, as: UTF8.self)
        }
    }
}
