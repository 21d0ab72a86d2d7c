/// What kvcpu does with one flag of llama.cpp, under all of its names.
struct LlamaFlag: Sendable {
    /// The program of llama.cpp whose flag it is.
    enum Program: String, Sendable, CaseIterable {
        case cli = "llama-cli"
        case bench = "llama-bench"
    }

    /// How many words follow the name.
    enum Values: Sendable {
        case none
        case one
        case two
        /// The next word where it is one of these, else none.
        case optional([String])
    }

    enum Meaning: Sendable {
        /// The same as this option of kvcpu, with the value as given.
        case option(String)
        /// Stands for these arguments.
        case arguments([String])
        /// The value decides: the arguments for it, or nil where it asks for nothing.
        case value(@Sendable (_ name: String, _ value: String) throws(Failure) -> [String])
        /// What kvcpu does in any case: nothing is said.
        case fulfilled
        /// Accepted, and said on standard error.
        case ignored
        /// Accepted for these values, which ask for nothing; any other is refused.
        case only([String])
        /// Exit 2, with what to do instead.
        case refused
    }

    let names: [String]
    let values: Values
    let meaning: Meaning
    /// For the user: why it has no effect or is refused, or what it is here.
    let note: String

    init(_ names: String, _ values: Values = .one, _ meaning: Meaning, _ note: String = "") {
        self.names = names.split(separator: " ").map(String.init)
        self.values = values
        self.meaning = meaning
        self.note = note
    }

    /// All flags of a program that kvcpu knows.
    static func all(of program: Program) -> [LlamaFlag] {
        switch program {
        case .cli: commonFlags + modelFlags + samplingFlags + conversationFlags + draftFlags
        case .bench: benchFlags + commonFlags + modelFlags
        }
    }

    /// The flag of this name; names with underscores are those with dashes, as in llama.cpp.
    static func find(_ name: String, of program: Program) -> LlamaFlag? {
        let dashed = name.hasPrefix("--") ? String(name.map { $0 == "_" ? "-" : $0 }) : name
        return all(of: program).first { $0.names.contains(dashed) }
    }

    /// Whether a value is one of these, numbers by their value.
    static func isAmong(_ value: String, _ values: [String]) -> Bool {
        values.contains { $0 == value || (Double($0) != nil && Double($0) == Double(value)) }
    }
}

extension LlamaFlag {
    private var what: String {
        switch meaning {
        case .option(let option):
            names.contains(option) ? note.isEmpty ? "as in llama.cpp" : note : "`\(option)`" + (note.isEmpty ? "" : ": \(note)")
        case .arguments(let arguments): "`\(arguments.joined(separator: " "))`" + (note.isEmpty ? "" : ": \(note)")
        case .value: note
        case .fulfilled: "in any case so" + (note.isEmpty ? "" : ": \(note)")
        case .ignored: "no effect, which is said: \(note)"
        case .only(let values): "only \(values.map { "`\($0)`" }.joined(separator: ", ")); else refused: \(note)"
        case .refused: "refused: \(note)"
        }
    }

    /// The table of all flags, as it stands in Sources/kvcpu/Documentation/llama-flags.md.
    static var document: String {
        var text = """
            # llama.cpp's flags in kvcpu

            What each flag of `llama-cli` and `llama-bench` does in `kvcpu` (run, chat and the other commands that have what it sets) and in \
            `kvcpu bench`. *Refused* ends with exit code 2 before anything is loaded; *no effect* is accepted with a line on standard error. \
            Written by `kvcpu formats --flags`.

            """
        for program in Program.allCases {
            text += "\n## \(program.rawValue)\n\n| flag | in kvcpu |\n|---|---|\n"
            var seen: Set<String> = []
            for flag in all(of: program) {
                let names = flag.names.filter { seen.insert($0).inserted }
                guard !names.isEmpty else { continue }
                text += "| \(names.map { "`\($0)`" }.joined(separator: ", ")) | \(flag.what.replacing("|", with: "\\|")) |\n"
            }
        }
        return text
    }
}
