import ArgumentParser
import Foundation
import KVRunahead
import KVText

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Talks with a model in the terminal.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var engine: EngineOptions
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

    static let help = "/clear forgets the conversation, /exit (or Ctrl-D) leaves, Ctrl-C stops an answer"

    func run() async throws {
        var options = GenerationOptions()
        options.sampling = try sampling.options()
        options.maximumTokens = predict < 0 ? nil : predict
        let engine = try await Session.open(
            try engine.configuration(.file(try model.path())), progress: !noProgress, verbose: verbose,
            log: engine.log)
        let template = try ChatTokens(engine, template)
        let opening = system.map { [ChatMessage(role: "system", content: $0)] } ?? []
        var messages = opening
        Terminal.line(Self.help)
        while true {
            Terminal.write("> ")
            guard let line = readLine() else { break }
            switch line.trimmingCharacters(in: .whitespaces) {
            case "": continue
            case "/exit", "/quit": return
            case "/help": Terminal.line(Self.help)
            case "/clear": messages = opening
            case let command where command.hasPrefix("/"): Terminal.line("unknown command \(command); \(Self.help)")
            default:
                messages.append(ChatMessage(role: "user", content: line))
                do {
                    let answer = try await answer(engine, try template.encode(messages), options)
                    messages.append(ChatMessage(role: "assistant", content: answer))
                } catch let error as EngineError where error.code == .context {
                    // The conversation goes on without this turn.
                    messages.removeLast()
                    Terminal.error("\(error); /clear starts anew")
                }
            }
        }
        Terminal.line("")
    }

    /// Streams one answer; Ctrl-C ends it early.
    private func answer(_ engine: Engine, _ tokens: [Int32], _ options: GenerationOptions) async throws -> String {
        let bar = ProgressBar("prefill", enabled: !noProgress)
        let reader = Task { () throws -> String in
            var answer = ""
            do {
                for try await event in engine.generate(tokens, options: options) {
                    switch event {
                    case .prefill(let done): if done < 1 { bar.show(done) } else { bar.clear() }
                    case .token(let token):
                        answer += token.text
                        try Terminal.output(token.text)
                    case .finished(let summary):
                        if verbose { Terminal.write("\n" + StatsReport(engine: engine, summary: summary).text()) }
                    }
                }
            } catch let error as EngineError where error.code == .cancelled {}
            return answer
        }
        let interruption = Interruption { reader.cancel() }
        defer {
            bar.clear()
            interruption.rearm()
        }
        let answer = try await reader.value
        try Terminal.output("\n")
        return answer
    }
}
