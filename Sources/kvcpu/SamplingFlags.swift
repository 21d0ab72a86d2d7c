import ArgumentParser
import KVRunahead

/// How tokens are chosen; names and defaults as llama.cpp's.
struct SamplingFlags: ParsableArguments {
    @Option(name: [.customLong("temp"), .customLong("temperature")], parsing: .unconditional, help: "Temperature; 0: greedy")
    var temperature = 0.8
    @Option(parsing: .unconditional, help: "Only the k likeliest; 0: all")
    var topK = 40
    @Option(parsing: .unconditional, help: "Only the likeliest that reach this probability together; 1: all")
    var topP = 0.95
    @Option(parsing: .unconditional, help: "Only those at least this fraction as likely as the likeliest; 0: all")
    var minP = 0.05
    @Option(parsing: .unconditional, help: "Penalty on tokens of the recent past; 1: none")
    var repeatPenalty = 1.0
    @Option(parsing: .unconditional, help: "Taken off the logits of tokens of the recent past; 0: none")
    var presencePenalty = 0.0
    @Option(parsing: .unconditional, help: "Taken off for each time that they came; 0: none")
    var frequencyPenalty = 0.0
    @Option(
        name: [.customLong("repeat-last-n")], parsing: .unconditional, help: "How many tokens are the recent past; -1: all, 0: none"
    )
    var repeatLast = 64
    @Option(
        help:
            "Those to use of penalties;top_k;top_p;min_p;temperature, in this order; default: all. Others of llama.cpp's do nothing"
    )
    var samplers: String?
    @Option(name: [.short, .long], parsing: .unconditional, help: "Seed of the draws; -1: a random one")
    var seed = -1

    /// llama.cpp's samplers in its order; the ones that are off in kvcpu, as they are by default in llama.cpp, too.
    private static let order = [
        ["penalties"], ["dry"], ["top_n_sigma", "top-n-sigma"], ["top_k", "top-k"],
        ["typ_p", "typical", "typical_p", "typ-p", "typical-p"],
        ["top_p", "top-p", "nucleus"], ["min_p", "min-p"], ["xtc"], ["temperature", "temp"],
    ]

    func validate() throws {
        if seed < -1 { throw ValidationError("--seed is \(seed); it must be -1 or more") }
        if repeatLast < -1 { throw ValidationError("--repeat-last-n is \(repeatLast); it must be -1 or more") }
        _ = try chosen()
    }

    func options() throws(EngineError) -> SamplingOptions {
        var options = SamplingOptions()
        options.temperature = temperature
        options.topK = topK
        options.topP = topP
        options.minP = minP
        options.repeatPenalty = repeatPenalty
        options.presencePenalty = presencePenalty
        options.frequencyPenalty = frequencyPenalty
        options.repeatLast = repeatLast < 0 ? .max : repeatLast
        options.seed = seed < 0 ? UInt64.random(in: 0 ... .max) : UInt64(seed)
        try options.validate()
        if let chosen = try? chosen() {
            if !chosen.contains("penalties") {
                (options.repeatPenalty, options.presencePenalty, options.frequencyPenalty) = (1, 0, 0)
            }
            if !chosen.contains("top_k") { options.topK = 0 }
            if !chosen.contains("top_p") { options.topP = 1 }
            if !chosen.contains("min_p") { options.minP = 0 }
            if !chosen.contains("temperature") { options.temperature = 1 }
        }
        return options
    }

    /// The samplers asked for, by llama.cpp's first names; nil: all.
    private func chosen() throws(ValidationError) -> Set<String>? {
        guard let samplers else { return nil }
        var names: Set<String> = []
        var last = -1
        for name in samplers.split(separator: ";") {
            guard let place = Self.order.firstIndex(where: { $0.contains(String(name)) }) else {
                throw ValidationError(
                    "--samplers has \"\(name)\"; it must be of \(Self.order.map { $0[0] }.joined(separator: ";"))")
            }
            guard place > last else {
                throw ValidationError(
                    "--samplers is \"\(samplers)\": \(name) comes too late; the order is \(Self.order.map { $0[0] }.joined(separator: ";"))"
                )
            }
            last = place
            names.insert(Self.order[place][0])
        }
        return names
    }
}

/// What ends an answer, and how texts of the command line are read; names as llama.cpp's.
struct AnswerOptions: ParsableArguments {
    @Option(
        name: [.customShort("r"), .customLong("reverse-prompt")], parsing: .unconditionalSingleValue,
        help: "Ends the answer before this text, which is not shown; can be given several times")
    var reversePrompts: [String] = []
    @Flag(
        name: [.short, .long], inversion: .prefixedNo,
        help: "Escapes \\n, \\t, \\xHH and so on are read in -p and -r, with -e in files too; default: in -p and -r")
    var escape: Bool?

    func validate() throws {
        if reversePrompts.contains("") { throw ValidationError("--reverse-prompt is empty") }
    }

    /// A text of the command line.
    /// - Throws: `Failure` naming the option.
    func read(_ text: String, of name: String) throws(Failure) -> String {
        guard escape ?? true else { return text }
        guard let text = Escapes.process(text) else {
            throw .usage("\(name): its escapes make no UTF-8; --no-escape leaves them alone")
        }
        return text
    }

    /// The prompt.
    func prompt(_ options: PromptOptions) throws(Failure) -> String {
        let text = try options.text()
        return options.prompt != nil || escape == true ? try read(text, of: options.prompt != nil ? "-p" : "-f") : text
    }

    func apply(to options: inout GenerationOptions) throws(Failure) {
        options.stopTexts = try reversePrompts.map { text throws(Failure) in try read(text, of: "-r") }
    }
}
