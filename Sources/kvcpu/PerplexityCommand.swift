import ArgumentParser
import Foundation
import KVGGUF
import KVRunahead
import KVText

struct PerplexityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "perplexity",
        abstract: "Measures how well the model predicts a text, in the windows of llama-perplexity.",
        discussion: """
            The text is cut into windows of --ctx-size tokens (512 unless given); the second half of each is scored. Running estimates and \
            the final one go to standard output.
            """)

    @OptionGroup var model: ModelOptions
    @OptionGroup var prompt: PromptOptions
    @OptionGroup var engine: EngineOptions
    @Option(parsing: .unconditional, help: "Windows at most; -1: all")
    var chunks = -1

    func validate() throws {
        if chunks == 0 || chunks < -1 { throw ValidationError("--chunks is \(chunks); it must be 1 or more, or -1 for all") }
    }

    func run() async throws {
        let text = try prompt.text(limit: 1 << 30)
        var configuration = try engine.configuration(.file(try model.path()))
        if configuration.contextLength == 0 { configuration.contextLength = 512 }
        configuration.locatesNonFinite = true
        let perplexity = try Perplexity(context: configuration.contextLength)
        let engine = try await Session.open(configuration, progress: true, verbose: false)
        let vocabulary = try engine.tokenizer().vocabulary
        let tokens = try engine.tokenize(text)
        // Where a text begins with BOS, so does every window.
        let beginning = vocabulary.bosID.flatMap { tokens.first == $0 && vocabulary.addsBOS != false ? $0 : nil }
        let windows = try perplexity.windows(of: tokens, beginning: beginning, limit: chunks < 0 ? nil : chunks)
        Terminal.note("perplexity: \(tokens.count) tokens, \(windows.count) windows of \(perplexity.context)")
        let result = try await engine.withRanks { ranks, isCancelled in
            var result = perplexity
            try ranks.perplexity(windows, into: &result) { done, soFar in
                if isCancelled() { throw EngineError(.cancelled, "cancelled after \(done) windows") }
                try Terminal.report("[\(done)]\(String(format: "%.4f", soFar.value)),")
            }
            return result
        }
        try Terminal.report(
            "\nFinal estimate: PPL = \(String(format: "%.4f", result.value)) +/- \(String(format: "%.5f", result.error))\n")
    }
}
