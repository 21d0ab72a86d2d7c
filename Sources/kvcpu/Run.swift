import ArgumentParser
import Foundation
import KVGGUF
import KVRunahead
import KVText
import Synchronization

/// What standard output has.
enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json
}

enum StatsFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json, none
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answers a prompt: text on standard output, timings on standard error (default).")

    @OptionGroup var model: ModelOptions
    @OptionGroup var prompt: PromptOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var cache: PromptCacheOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup var answer: AnswerOptions
    @Option(
        name: [.customShort("n"), .customLong("n-predict"), .customLong("predict")],
        help: "Tokens to generate at most; -1: until the model stops")
    var predict = -1
    @Flag(help: "Write the prompt as a user's message in the model's chat template")
    var chat = false
    @OptionGroup var template: TemplateOptions
    @Option(name: [.customLong("sys", withSingleDash: true), .customLong("system")], help: "System message, with --chat")
    var system: String?
    @Flag(help: "Go on after end-of-turn tokens")
    var ignoreEos = false
    @Option(help: "The closing block on standard error: text, json (with hashes of logits and KV-cache) or none")
    var stats = StatsFormat.text
    @Option(help: "Writes the block of --stats json to this file")
    var statsFile: String?
    @Option(
        help: """
            Standard output: text, the answer as it comes; or json, at the end one object with text, finish_reason and what --stats json has
            """)
    var outputFormat = OutputFormat.text
    @Flag(help: "Compute the prompt once more by one rank and compare every bit of KV-cache and logits")
    var verify = false
    @Option(help: "Write the prefill's timeline as Chrome trace JSON")
    var timeline: String?
    @Flag(help: "No progress bar")
    var noProgress = false
    @Flag(name: [.short, .long], help: "More on standard error, with a chart of the timeline")
    var verbose = false

    @Flag(help: "At a terminal, too, the answer's control characters are written as they are")
    var raw = false

    func validate() throws {
        if predict < -1 { throw ValidationError("--n-predict is \(predict); it must be -1 or more") }
        guard !chat else { return }
        let idle = template.given + (system == nil ? [] : ["--system"])
        guard idle.isEmpty else {
            throw ValidationError("\(idle.joined(separator: ", ")): give --chat too, else no template is used")
        }
    }

    func run() async throws {
        try Terminal.checkOutput()
        try cache.check()
        let text = try answer.prompt(prompt)
        var options = GenerationOptions()
        options.sampling = try sampling.options()
        try answer.apply(to: &options)
        options.maximumTokens = predict < 0 ? nil : predict
        options.stopsAtEnd = !ignoreEos
        options.verifies = verify
        // Before the work, so that a wrong path is known before it.
        let trace = try timeline.map { path throws(OutputError) in try OutputFile(path) }
        let statistics = try statsFile.map { path throws(OutputError) in try OutputFile(path) }
        var configuration = try engine.configuration(.file(try model.path()))
        cache.apply(to: &configuration)
        let engine = try await Session.open(configuration, progress: !noProgress, verbose: verbose, log: engine.log)
        try await cache.restore(engine)
        self.engine.computing.lockMemory()
        let tokens = try tokens(text, engine)
        let hashes = Mutex<PrefillHashes?>(nil)
        if stats == .json || statistics != nil || outputFormat == .json {
            options.inspectPrefill = { (ranks) throws(EngineError) in
                let computed = try PrefillHashes(ranks)
                hashes.withLock { $0 = computed }
            }
        }
        let outcome = try await generate(engine, tokens, options)
        if let summary = outcome.summary {
            for notice in summary.notices where !engine.information.notices.contains(notice) { Terminal.note(notice) }
            if let trace {
                try trace.write(summary.timeline.chromeTrace)
                try trace.commit()
            }
            if let verified = summary.verification {
                Terminal.note("verified: \(verified.positions) positions × \(verified.layers) layers, logits equal")
            }
            let report = StatsReport(engine: engine, summary: summary, seed: options.sampling.seed)
            try write(report, hashes.withLock { $0 }, outcome, to: statistics)
        } else if outcome.interrupted != nil {
            if outputFormat == .json { try Terminal.raw(StatsReport.interrupted(outcome.text) + "\n") }
            Terminal.note(
                "interrupted after \(outcome.generated) tokens, \(duration(outcome.elapsed))"
                    + (outcome.firstToken.map { ", TTFT \(duration($0))" } ?? " in the prompt phase"))
        }
        try await cache.save(engine)
        if let signal = outcome.interrupted { throw Failure(code: 128 + signal, message: "") }
    }

    private func tokens(_ text: String, _ engine: Engine) throws -> [Int32] {
        guard chat else { return try engine.tokenize(text, parseSpecial: true, addEnd: false) }
        return try ChatTokens(engine, template).encode(
            (system.map { [ChatMessage(role: "system", content: $0)] } ?? []) + [ChatMessage(role: "user", content: text)])
    }

    struct Outcome {
        var summary: GenerationEvent.Summary?
        var text = ""
        /// The signal that ended it early.
        var interrupted: Int32?
        var generated = 0
        var firstToken: Double?
        var elapsed = 0.0
    }

    private func generate(_ engine: Engine, _ tokens: [Int32], _ options: GenerationOptions) async throws -> Outcome {
        let bar = ProgressBar("prefill", enabled: !noProgress)
        let start = Date()
        let reader = Task { () throws -> Outcome in
            var outcome = Outcome()
            do {
                for try await event in engine.generate(tokens, options: options) {
                    switch event {
                    case .prefill(let done):
                        if done < 1 { bar.show(done) } else { bar.clear() }
                    case .token(let token):
                        if outcome.firstToken == nil { outcome.firstToken = Date().timeIntervalSince(start) }
                        outcome.generated += 1
                        if outputFormat == .json {
                            outcome.text += token.text
                        } else {
                            try Terminal.output(token.text, isRaw: raw)
                        }
                    case .finished(let summary): outcome.summary = summary
                    }
                }
            } catch let error as EngineError where error.code == .cancelled {}
            outcome.elapsed = Date().timeIntervalSince(start)
            return outcome
        }
        let interruption = Interruption { reader.cancel() }
        defer { bar.clear() }
        var outcome = try await reader.value
        outcome.interrupted = outcome.summary == nil ? interruption.signal : nil
        if outcome.generated > 0, outputFormat == .text { try Terminal.output("\n") }
        return outcome
    }

    /// The closing block, to where it was asked for.
    private func write(_ report: StatsReport, _ hashes: PrefillHashes?, _ outcome: Outcome, to file: OutputFile?) throws {
        if let file {
            try file.write(report.json(hashes) + "\n")
            try file.commit()
        }
        if outputFormat == .json { try Terminal.raw(report.json(hashes, text: outcome.text) + "\n") }
        switch stats {
        case .none: break
        case .json: Terminal.line(report.json(hashes))
        case .text:
            Terminal.write("\n" + report.text())
            if verbose { Terminal.write(TimelineChart(report.summary.timeline).text(width: Terminal.width)) }
        }
    }
}

/// Writes conversations as token ids in the chat template that was asked for, else the model's.
struct ChatTokens {
    private let tokenizer: Tokenizer
    private let template: ChatTemplate
    private let options: TemplateOptions

    /// - Throws: `EngineError` when the model has no template, `Failure` when the one asked for cannot be read.
    init(_ engine: Engine, _ options: TemplateOptions) throws {
        tokenizer = try engine.tokenizer()
        self.options = options
        if let asked = try options.template() {
            template = asked
        } else {
            do { template = try ChatTemplate(tokenizer.vocabulary) } catch { throw EngineError(.model, "\(error)") }
            if let notice = template.notice { Terminal.note(notice) }
        }
    }

    /// Control tokens in messages stay text.
    func encode(_ messages: [ChatMessage]) throws -> [Int32] {
        do {
            var input = try TemplateInput(messages)
            input.addGenerationPrompt(true)
            input.setTokens(of: tokenizer.vocabulary)
            try options.apply(to: &input)
            return try tokenizer.encode(conversation: try template.render(input))
        } catch let error as Failure { throw error } catch { throw EngineError(.request, "\(error)") }
    }
}
