import ArgumentParser
import KVGGUF
import KVRunahead

/// What is kept of prompts, so that those that begin alike are not computed anew; names as llama.cpp's.
struct PromptCacheOptions: ParsableArguments {
    @Option(
        name: [.customLong("cache-ram"), .customLong("cram", withSingleDash: true)], parsing: .unconditional,
        help:
            "Memory for keys and values of earlier prompts, in MiB; -1: all that is left, 0: none (default: 1024, or what is left)")
    var cacheMemory: Int?
    @Option(help: "File that keeps the prompt's keys and values from one run to the next")
    var promptCache: String?
    @Flag(help: "The file is read and not written")
    var promptCacheRo = false

    func validate() throws {
        if let cacheMemory, cacheMemory < -1 { throw ValidationError("--cache-ram is \(cacheMemory); it must be -1, 0 or more") }
        if promptCacheRo, promptCache == nil { throw ValidationError("--prompt-cache-ro needs --prompt-cache FILE") }
    }

    func apply(to configuration: inout Configuration) {
        guard let cacheMemory else { return }
        let (bytes, overflow) = cacheMemory.multipliedReportingOverflow(by: 1 << 20)
        configuration.promptMemory = cacheMemory < 0 || overflow ? .max : bytes
    }

    /// Finds a file that cannot be written before the work.
    /// - Throws: `OutputError`.
    func check() throws(OutputError) {
        if let promptCache, !promptCacheRo { try OutputFile.check(promptCache) }
    }

    /// Takes up the file's prompt; where it cannot be used, says why and begins cold.
    func restore(_ engine: Engine) async throws {
        guard let promptCache else { return }
        do {
            let tokens = try await engine.restorePrompt(from: promptCache)
            if tokens > 0 { Terminal.note("prompt cache \(promptCache): \(tokens) tokens") }
        } catch let error as EngineError where error.code == .request { Terminal.note("\(error); starting cold") }
    }

    /// - Throws: `EngineError` naming the file that cannot be written.
    func save(_ engine: Engine) async throws {
        if let promptCache, !promptCacheRo { try await engine.savePrompt(to: promptCache) }
    }

    /// The same, for a thread that may wait.
    /// - Throws: `EngineError`.
    func saveBlocking(_ engine: Engine) throws {
        if let promptCache, !promptCacheRo { try engine.withRanksBlocking { try $0.savePrompt(to: promptCache) } }
    }
}
