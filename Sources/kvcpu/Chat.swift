import ArgumentParser
import Foundation
import KVRunahead
import KVText

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Talks with a model in the terminal.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var engine: EngineOptions
    @OptionGroup var cache: PromptCacheOptions
    @OptionGroup var sampling: SamplingFlags
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

    func run() async throws {
        var options = GenerationOptions()
        options.sampling = try sampling.options()
        options.maximumTokens = predict < 0 ? nil : predict
        var configuration = try engine.configuration(.file(try model.path()))
        cache.apply(to: &configuration)
        let engine = try await Session.open(configuration, progress: !noProgress, verbose: verbose, log: engine.log)
        try await cache.restore(engine)
        let template = try ChatTokens(engine, template)
        let input = ChatInput(keepsHistory: !noHistory)
        var conversation = Conversation(system: system)
        var stats: String?
        Terminal.line("/help lists the commands, /exit (or Ctrl-D) leaves, Ctrl-C stops an answer")
        while let line = input.next() {
            do {
                switch try conversation.take(line) {
                case .nothing: continue
                case .leave: return try await cache.save(engine)
                case .say(let text): Terminal.line(text)
                case .stats: Terminal.line(stats ?? "there is no answer yet")
                case .answer:
                    // Without a seed of the user's, every answer has another one: /regen asks for a different answer.
                    options.sampling = try sampling.options()
                    let turn = try await answer(engine, try template.encode(conversation.messages), options)
                    conversation.add(answer: turn.text)
                    if let summary = turn.summary { stats = StatsReport(engine: engine, summary: summary).text() }
                    if verbose, let stats { Terminal.write("\n" + stats) }
                }
            } catch let failure as Failure where !failure.message.isEmpty {
                Terminal.error(failure.message)
            } catch let error as EngineError where error.code == .context {
                // The conversation goes on without this turn.
                conversation.withdraw()
                Terminal.error("\(error); /clear starts anew")
            }
        }
        Terminal.line("")
        try await cache.save(engine)
    }

    private struct Turn {
        var text = ""
        var summary: GenerationEvent.Summary?
    }

    /// Streams one answer; Ctrl-C ends it early.
    private func answer(_ engine: Engine, _ tokens: [Int32], _ options: GenerationOptions) async throws -> Turn {
        let bar = ProgressBar("prefill", enabled: !noProgress)
        let reader = Task { () throws -> Turn in
            var turn = Turn()
            do {
                for try await event in engine.generate(tokens, options: options) {
                    switch event {
                    case .prefill(let done): if done < 1 { bar.show(done) } else { bar.clear() }
                    case .token(let token):
                        turn.text += token.text
                        try Terminal.output(token.text)
                    case .finished(let summary): turn.summary = summary
                    }
                }
            } catch let error as EngineError where error.code == .cancelled {}
            return turn
        }
        let interruption = Interruption { reader.cancel() }
        defer {
            bar.clear()
            interruption.rearm()
        }
        let turn = try await reader.value
        try Terminal.output("\n")
        return turn
    }
}
