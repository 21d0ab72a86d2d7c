import KVFabric
import KVModel
import KVText

/// What a generation yields, in this order: prefill progress, tokens, and at the end its summary.
public enum GenerationEvent: Sendable {
    /// Fraction of the prompt phase that is done, 0 ... 1.
    case prefill(Double)
    case token(Token)
    case finished(Summary)

    public struct Token: Sendable {
        public let id: Int32
        /// Complete characters only: empty while a character's bytes are still coming, or while what came may begin a text that ends the
        /// answer.
        public let text: String
    }

    public enum StopReason: String, Sendable {
        /// The model ended its turn, or one of the texts came that end an answer.
        case stop
        /// The asked number of tokens was reached.
        case length
        /// The context is full.
        case context
    }

    public struct Summary: Sendable {
        public let promptTokens: Int
        /// Of these, how many an earlier prompt began with and were not computed again.
        public let reusedTokens: Int
        public let generatedTokens: Int
        /// Seconds from the request to the first token (TTFT), and of it the prompt phase.
        public let timeToFirstToken: Double
        public let prefillDuration: Double
        /// Seconds per further token (TPOT); nil when there was none.
        public let timePerOutputToken: Double?
        public let stopReason: StopReason
        /// What the sampler drew by: with the same options it gives the same tokens again.
        public let seed: UInt64
        /// Tokens of each rank's chunk.
        public let partition: [Int]
        public let timeline: Timeline
        /// What each rank computed and exchanged, layer by layer.
        public let accounting: Accounting
        /// Payload bytes handed from rank to rank (counted also when only a descriptor was).
        public let bytesHandedOver: UInt64
        /// What was found equal, where the options asked for it.
        public let verification: Verification?
        /// What the user should know of the prompt's partition: ignored plan tables, timings without result.
        public let notices: [String]
    }
}

/// What to generate.
public struct GenerationOptions: Sendable {
    public var sampling = SamplingOptions()
    /// At most this many tokens; nil = until the model stops or the context is full.
    public var maximumTokens: Int?
    /// False: end-of-turn tokens do not end the generation.
    public var stopsAtEnd = true
    /// The answer ends before any of these texts, none of which is shown, not even in part.
    public var stopTexts: [String] = []
    /// False: the whole prompt is computed, even what an earlier one began with.
    public var reusesPrompts = true
    /// The prompt is computed once more, by one rank, and every bit compared; what differs is an error. Counts as no part of the time to
    /// the first token.
    public var verifies = false
    /// What log events call the request; nil: its number.
    public var id: String?
    /// Called on the engine's queue when the prompt is computed and nothing decoded yet.
    package var inspectPrefill: (@Sendable (Ranks) throws(EngineError) -> Void)?
    public init() {}

    /// - Throws: `EngineError` (request) naming the option and its value.
    public func validate() throws(EngineError) {
        try sampling.validate()
        if let maximumTokens, maximumTokens < 0 {
            throw EngineError(.request, "the number of tokens is \(maximumTokens); it must be 0 or more")
        }
    }
}

/// The way of the data on one screen: tokens → ranks' chunks → last token's logits → sampler → text.
struct Generation {
    let ranks: Ranks
    let tokenizer: Tokenizer
    let options: GenerationOptions
    let isCancelled: @Sendable () -> Bool
    let yield: (GenerationEvent) -> Void

    /// - Throws: `EngineError`.
    func run(_ prompt: [Int32], since start: UInt64) throws(EngineError) {
        try options.validate()
        let prefill = try ranks.prefill(prompt, reuses: options.reusesPrompts) { done in
            if isCancelled() { ranks.cancel() }
            yield(.prefill(done))
        }
        yield(.prefill(1))
        try options.inspectPrefill?(ranks)
        let computed = MonotonicClock.now
        let verification = options.verifies ? try ranks.verify(prompt) { if isCancelled() { ranks.cancel() } } : nil
        let pause = MonotonicClock.now - computed
        var sampling = options.sampling
        let seed = sampling.seed ?? .random(in: 0 ... .max)
        sampling.seed = seed
        var sampler = Sampler(sampling, history: prompt)
        var text = StreamDecoder(tokenizer)
        var stops = StopStrings(options.stopTexts)
        var generated = 0
        var firstToken: UInt64?
        var reason = GenerationEvent.StopReason.length
        while generated < options.maximumTokens ?? .max {
            if isCancelled() { throw EngineError(.cancelled, "cancelled after \(generated) tokens") }
            let id = sampler.next(ranks.logits)
            if firstToken == nil { firstToken = MonotonicClock.now }
            if options.stopsAtEnd, tokenizer.vocabulary.stopIDs.contains(id) {
                reason = .stop
                break
            }
            generated += 1
            yield(.token(.init(id: id, text: stops.append(text.append(id)))))
            if stops.isFound {
                reason = .stop
                break
            }
            if generated == options.maximumTokens { break }
            if ranks.length == ranks.contextLength {
                reason = .context
                break
            }
            try ranks.decode(id)
        }
        let rest = stops.finish(text.finish())
        if !rest.isEmpty { yield(.token(.init(id: -1, text: rest))) }
        let first = firstToken ?? MonotonicClock.now
        let decoded = Double(MonotonicClock.now - first) * 1e-9
        yield(
            .finished(
                .init(
                    promptTokens: prompt.count, reusedTokens: prefill.reused, generatedTokens: generated,
                    timeToFirstToken: Double(first - start - pause) * 1e-9, prefillDuration: prefill.duration,
                    timePerOutputToken: generated > 1 ? decoded / Double(generated - 1) : nil, stopReason: reason, seed: seed,
                    partition: prefill.chunks.map(\.count), timeline: prefill.timeline, accounting: prefill.accounting,
                    bytesHandedOver: prefill.bytesHandedOver, verification: verification,
                    notices: ranks.planner.notices)))
    }
}
