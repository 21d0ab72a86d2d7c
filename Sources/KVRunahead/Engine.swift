public import CoreMetrics
import Dispatch
import KVFabric
package import KVGGUF
import KVModel
package import KVText
public import Logging
import Synchronization

/// A loaded model with its virtual ranks: prefill by KV-Runahead, decode by all threads, as events.
///
/// One request runs at a time, on the engine's own queue, never on Swift's cooperative pool; further ones wait their turn.
/// Cancelling the task that reads a generation's events ends its prefill within one layer of the slowest rank; the engine stays usable.
public final class Engine: Sendable {
    /// What was decided at opening.
    public struct Information: Sendable {
        /// The file's path, or "synthetic " with the description that makes the same model again.
        public let modelPath: String
        public let architecture: String
        public let kernels: String
        public let contextLength: Int
        public let ranks: Int
        public let threadsPerRank: Int
        /// CPUs of each rank's workers.
        public let cpus: [[Int]]
        public let link: Configuration.Link
        public let memory: MemoryPlan
        /// What the user should know: fitted threads, missing libnuma, ….
        public let notices: [String]
    }

    /// Part of what a stored plan is for: kernels, and with them timings, change from one version to the next.
    public static let version = "0.1.0"
    public let information: Information
    public let configuration: Configuration
    package let file: GGUFFile
    private let ranks: Ranks
    private let queue = DispatchQueue(label: "kvcpu.engine")
    private let telemetry: Telemetry
    private let requests = Atomic<Int>(0)
    private let cachedTokenizer = Mutex<Tokenizer?>(nil)

    /// Opens a model: reads the file, checks the memory plan, starts the ranks, repacks the weights.
    /// - Parameters:
    ///   - logger: gets requests at level info, failures as errors, what users should know as notices, inner things at debug.
    ///   - metrics: nil: those of `MetricsSystem`.
    ///   - progress: told of the loaded fraction, on the engine's queue.
    /// - Throws: `EngineError`.
    public static func open(
        _ configuration: Configuration, logger: Logger = Logger(label: "kvcpu"), metrics: (any MetricsFactory)? = nil,
        progress: @escaping @Sendable (Double) -> Void = { _ in }
    ) async throws -> Engine {
        do {
            try ProcessLimits.requireProc()
            try ProcessLimits.require(threads: 2, for: "an engine")
            try ProcessLimits.require(descriptors: 2)
        } catch { throw EngineError(.system, "\(error)") }
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "kvcpu.open").async {
                continuation.resume(
                    with: Result { try Engine(configuration, logger: logger, metrics: metrics, progress: progress) })
            }
        }
    }

    /// The blocking form of `open`.
    package init(
        _ configuration: Configuration, logger: Logger = Logger(label: "kvcpu"), metrics: (any MetricsFactory)? = nil,
        progress: (Double) -> Void = { _ in }
    ) throws(EngineError) {
        let start = MonotonicClock.now
        do {
            let opening = try Opening(configuration)
            try opening.memory.check()
            for notice in opening.notices { logger.notice("\(notice)") }
            let planner = Planner(opening, link: opening.link)
            for notice in planner.notices { logger.notice("\(notice)") }
            opening.log(to: logger)
            ranks = try Ranks(
                model: opening.model, configuration: opening.configuration, placement: opening.placement,
                contextLength: opening.contextLength, planner: planner,
                devices: opening.devices.cuda == nil ? nil : opening.devices, progress: progress)
            for notice in ranks.notices { logger.notice("\(notice)") }
            information = opening.information(link: ranks.link, notices: planner.notices + ranks.notices)
            file = opening.file
            logger.info(
                "opened", metadata: opening.metadata(ranks.link, seconds: Double(MonotonicClock.now - start) * 1e-9))
        } catch {
            var metadata = error.metadata
            metadata["model"] = "\(configuration.model)"
            logger.error("opening failed", metadata: metadata)
            throw error
        }
        self.configuration = configuration
        telemetry = Telemetry(
            logger: logger, meters: Meters(ranks: information.ranks, factory: metrics ?? MetricsSystem.factory))
    }

    deinit { ranks.shutdown() }

    // MARK: Text

    /// - Throws: `EngineError`: model when its tokenizer is one that this build does not know, request when it is synthetic.
    package func tokenizer() throws(EngineError) -> Tokenizer {
        guard file.hasData else {
            throw EngineError(.request, "\(file.path): a synthetic model has no tokenizer, it runs only in measurements")
        }
        do {
            return try cachedTokenizer.withLock { cached in
                if let cached { return cached }
                let tokenizer = try Tokenizer(try Vocabulary(file))
                cached = tokenizer
                return tokenizer
            }
        } catch { throw EngineError(.model, "\(configuration.model): \(error)") }
    }

    /// Token ids of a text: special tokens in it are text unless asked; BOS and EOS as the model wants them.
    /// - Parameter addEnd: false for a prompt that is to be answered: no EOS behind it, whatever the model wants.
    /// - Throws: `EngineError`.
    public func tokenize(
        _ text: String, parseSpecial: Bool = false, addSpecial: Bool = true, addEnd: Bool = true
    ) throws(EngineError) -> [Int32] {
        let tokenizer = try tokenizer()
        do {
            return try tokenizer.encode(text, addSpecial: addSpecial, parseSpecial: parseSpecial, addEnd: addEnd)
        } catch { throw EngineError(.request, "\(error)") }
    }

    /// Text of token ids, without control tokens.
    /// - Throws: `EngineError`.
    public func detokenize(_ ids: [Int32]) throws(EngineError) -> String {
        try tokenizer().decode(ids, special: false)
    }

    // MARK: Generation

    /// Prefills the prompt and generates, as events. Ending the iteration, or cancelling its task, ends the run.
    /// - Parameter prompt: token ids, at least one, at most the context.
    public func generate(
        _ prompt: [Int32], options: GenerationOptions = GenerationOptions()
    ) -> AsyncThrowingStream<GenerationEvent, any Error> {
        let number = requests.add(1, ordering: .relaxed).newValue
        let request = Telemetry.Request(
            id: options.id ?? "\(number)", promptTokens: prompt.count, start: MonotonicClock.now)
        let cancelled = Cancellation()
        return AsyncThrowingStream { continuation in
            continuation.onTermination = { reason in
                if case .cancelled = reason { cancelled.raise() }
            }
            queue.async { [self, request] in
                var request = request
                telemetry.began(request)
                do throws(EngineError) {
                    let generation = Generation(
                        ranks: ranks, tokenizer: try tokenizer(), options: options, isCancelled: { cancelled.isRaised },
                        yield: { event in
                            request.note(event)
                            continuation.yield(event)
                        })
                    try generation.run(prompt, since: request.start)
                    telemetry.ended(request, nil)
                    continuation.finish()
                } catch {
                    telemetry.ended(request, error)
                    continuation.finish(throwing: error)
                }
            }
        }
    }

    /// Sets the gauge of pages that lie on another node than their readers, for whoever has counted them.
    package func record(pagesOffNode pages: Int) { telemetry.meters.set(pagesOffNode: pages) }

    /// Computes a prompt, leaving its KV-cache and last logits with the engine; for measurements.
    /// - Parameters:
    ///   - strategy: the configuration's unless given.
    ///   - partition: the configuration's unless given; strategies that gather only know even chunks.
    /// - Returns: seconds of the prompt phase.
    /// - Throws: `EngineError`, also when the task is cancelled.
    public func prefill(
        _ prompt: [Int32], strategy: Configuration.Strategy? = nil, partition: Partition? = nil
    ) async throws -> Double {
        try await withRanks { [telemetry] ranks, isCancelled in
            let run = try ranks.prefill(prompt, strategy: strategy, partition: partition) { _ in
                if isCancelled() { ranks.cancel() }
            }
            telemetry.computed(run, strategy ?? ranks.configuration.strategy)
            return run.duration
        }
    }

    /// Takes up a prompt that `savePrompt` wrote, for prompts that begin alike.
    /// - Returns: how many tokens it has; 0 where there is no file.
    /// - Throws: `EngineError` (request) for a file that is damaged or of another model, engine version or cache type: it is not used.
    public func restorePrompt(from path: String) async throws -> Int {
        try await withRanks { ranks, _ in try ranks.restorePrompt(from: path) }
    }

    /// Writes keys and values of the last prompt and its answer to a file, replaced in one step.
    /// - Throws: `EngineError` (system) naming the file.
    public func savePrompt(to path: String) async throws {
        try await withRanks { ranks, _ in try ranks.savePrompt(to: path) }
    }

    /// Runs blocking work on the engine's queue; the task's cancellation is seen through the second argument.
    package func withRanks<T: Sendable>(
        _ body: @escaping @Sendable (Ranks, @Sendable () -> Bool) throws -> T
    ) async throws -> T {
        let cancelled = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                queue.async { [self] in
                    continuation.resume(with: Result { try body(ranks) { cancelled.isRaised } })
                }
            }
        } onCancel: {
            cancelled.raise()
        }
    }

    /// The blocking form of `withRanks`, for programs of one thread.
    package func withRanksBlocking<T>(_ body: (Ranks) throws -> T) rethrows -> T {
        try queue.sync { try body(ranks) }
    }
}

/// One request's wish to end.
private final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)
    func raise() { flag.store(true, ordering: .relaxed) }
    var isRaised: Bool { flag.load(ordering: .relaxed) }
}
