import ArgumentParser
import Foundation
import KVRunahead
import KVText
import Synchronization

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Talks with a model in the terminal.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var cache: PromptCacheOptions
    @OptionGroup var sampling: SamplingFlags
    @OptionGroup var answers: AnswerOptions
    @OptionGroup var template: TemplateOptions
    @Option(name: [.customLong("sys", withSingleDash: true), .customLong("system")], help: "System message")
    var system: String?
    @Option(
        name: [.customShort("n"), .customLong("n-predict"), .customLong("predict")],
        help: "Tokens of an answer at most; -1: until the model stops")
    var predict = -1
    @Flag(help: "No progress bar")
    var noProgress = false
    @Flag(name: [.short, .long], help: "More on standard error")
    var verbose = false
    @Flag(help: "Messages are not kept for the arrow keys of later chats")
    var noHistory = false
    @Flag(help: "At a terminal, too, the answers' control characters are written as they are")
    var raw = false

    func validate() throws {
        if predict < -1 { throw ValidationError("--n-predict is \(predict); it must be -1 or more") }
    }

    func run() async throws {
        try Terminal.checkOutput()
        try cache.check()
        var options = GenerationOptions()
        options.sampling = try sampling.options()
        try answers.apply(to: &options)
        options.maximumTokens = predict < 0 ? nil : predict
        var configuration = try engine.configuration(.file(try model.path()))
        cache.apply(to: &configuration)
        let engine = try await Session.open(configuration, progress: !noProgress, verbose: verbose, log: engine.log)
        try await cache.restore(engine)
        let template = try ChatTokens(engine, template)
        let signals = ChatSignals { [cache] in
            do { try cache.saveBlocking(engine) } catch { Terminal.error("\(error)") }
        }
        defer { withExtendedLifetime(signals) {} }
        // Every way out but that one comes by here.
        let end: Result<Int32?, any Error>
        do { end = .success(try await talk(engine, template, options, signals)) } catch { end = .failure(error) }
        signals.leaving()
        try await cache.save(engine)
        if let signal = try end.get() { throw Failure(code: 128 + signal, message: "") }
    }

    /// - Returns: the signal that the chat is left for; nil: the user's wish, or the input's end.
    private func talk(
        _ engine: Engine, _ template: ChatTokens, _ options: GenerationOptions, _ signals: ChatSignals
    ) async throws -> Int32? {
        let input = ChatInput(keepsHistory: !noHistory)
        var conversation = Conversation(system: system)
        var stats: String?
        Terminal.line("/help lists the commands, /exit (or Ctrl-D) leaves, Ctrl-C stops an answer")
        while let line = try input.next() {
            signals.began()
            var step = Conversation.Step.nothing
            do { step = try conversation.take(line) } catch { Terminal.error(error.message) }
            switch step {
            case .nothing: break
            case .leave: return nil
            case .say(let text): Terminal.line(text)
            case .stats: Terminal.line(stats ?? "there is no answer yet")
            case .answer:
                do {
                    // Without a seed of the user's, every answer has another one: /regen asks for a different answer.
                    var options = options
                    options.sampling = try sampling.options()
                    let turn = try await answer(engine, try template.encode(conversation.messages), options, signals)
                    conversation.add(answer: turn.text)
                    if let summary = turn.summary { stats = StatsReport(engine: engine, summary: summary).text() }
                    if verbose, let stats { Terminal.write("\n" + stats) }
                } catch let error as OutputClosed {
                    throw error.failure
                } catch {
                    // The conversation goes on without this turn.
                    conversation.fail()
                    let isFull = (error as? EngineError)?.code == .context
                    let text = (error as? Failure)?.message ?? "\(error)"
                    Terminal.error(text + (isFull ? "; /clear starts anew" : "; the conversation is as before, /regen asks again"))
                }
            }
            if let signal = signals.ended() { return signal }
        }
        Terminal.line("")
        return nil
    }

    /// Nobody reads the answers any more: there is nothing to go on for.
    private struct OutputClosed: Error {
        let failure: Failure
    }

    private struct Turn {
        var text = ""
        var summary: GenerationEvent.Summary?
    }

    /// Streams one answer; Ctrl-C ends it early.
    private func answer(
        _ engine: Engine, _ tokens: [Int32], _ options: GenerationOptions, _ signals: ChatSignals
    ) async throws -> Turn {
        let bar = ProgressBar("prefill", enabled: !noProgress)
        defer { bar.clear() }
        @Sendable func write(_ text: String) throws {
            do { try Terminal.output(text, isRaw: raw) } catch { throw OutputClosed(failure: error) }
        }
        let reader = Task { () throws -> Turn in
            var turn = Turn()
            do {
                for try await event in engine.generate(tokens, options: options) {
                    switch event {
                    case .prefill(let done): if done < 1 { bar.show(done) } else { bar.clear() }
                    case .token(let token):
                        turn.text += token.text
                        try write(token.text)
                    case .finished(let summary): turn.summary = summary
                    }
                }
            } catch let error as EngineError where error.code == .cancelled {
            } catch {
                // What is told of it begins a line of its own.
                if !turn.text.isEmpty { try write("\n") }
                throw error
            }
            return turn
        }
        signals.set { reader.cancel() }
        let turn = try await reader.value
        try write("\n")
        return turn
    }
}
