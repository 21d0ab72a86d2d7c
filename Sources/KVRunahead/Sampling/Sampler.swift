#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// How the next token is chosen; names and defaults as llama.cpp's.
public struct SamplingOptions: Sendable, Equatable {
    /// 0 = greedy.
    public var temperature = 0.8
    /// Only the k likeliest; 0 = all.
    public var topK = 40
    /// Only the likeliest that together reach this probability; 1 = all.
    public var topP = 0.95
    /// Only those at least this fraction as likely as the likeliest; 0 = all.
    public var minP = 0.05
    /// Logits of recent tokens are divided (when above 0, else multiplied) by this; 1 = none.
    public var repeatPenalty = 1.0
    /// Subtracted from the logits of recent tokens, and for each time that they came; 0 = none.
    public var presencePenalty = 0.0
    public var frequencyPenalty = 0.0
    /// How many tokens count as recent.
    public var repeatLast = 64
    /// The same seed gives the same tokens; nil: another one for each answer, which its summary tells.
    public var seed: UInt64?

    public init() {}

    public static var greedy: SamplingOptions {
        var options = SamplingOptions()
        options.temperature = 0
        return options
    }

    /// Recent tokens change logits.
    var penalises: Bool { repeatPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 }

    /// - Throws: `EngineError` (request) naming the option and its value.
    public func validate() throws(EngineError) {
        func require(_ holds: Bool, _ name: String, _ value: Any, _ rule: String) throws(EngineError) {
            if !holds { throw EngineError(.request, "\(name) is \(value); it must be \(rule)") }
        }
        try require(temperature.isFinite && temperature >= 0, "temperature", temperature, "0 or more")
        try require(topK >= 0, "top-k", topK, "0 or more")
        try require(topP > 0 && topP <= 1, "top-p", topP, "above 0 and at most 1")
        try require(minP >= 0 && minP < 1, "min-p", minP, "0 or more and below 1")
        // Beyond these float32 has no finite logits left.
        try require((1e-6...1e6).contains(repeatPenalty), "repeat-penalty", repeatPenalty, "0.000001 to 1000000")
        try require((-1e6...1e6).contains(presencePenalty), "presence-penalty", presencePenalty, "-1000000 to 1000000")
        try require((-1e6...1e6).contains(frequencyPenalty), "frequency-penalty", frequencyPenalty, "-1000000 to 1000000")
        try require(repeatLast >= 0, "repeat-last-n", repeatLast, "0 or more")
    }
}

/// Chooses tokens: penalties, top-k, top-p, min-p, temperature, draw; greedy takes the likeliest after the penalty.
package struct Sampler {
    private let options: SamplingOptions
    private var random: SplitMix64
    private var recent: [Int32]
    private var candidates: [Candidate] = []

    struct Candidate {
        var id: Int32
        var logit: Float
        var probability: Double = 0
    }

    /// - Parameter history: the prompt's tokens, which count as recent.
    package init(_ options: SamplingOptions, history: [Int32] = []) {
        self.options = options
        random = SplitMix64(seed: options.seed ?? .random(in: 0 ... .max))
        recent = Array(history.suffix(options.repeatLast))
    }

    /// - Parameter logits: [vocabulary]. Ties go to the lowest id.
    package mutating func next(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        let id: Int32
        if options.temperature == 0, !options.penalises {
            id = Self.likeliest(logits)
        } else {
            id = sample(logits)
        }
        if options.repeatLast > 0 {
            if recent.count == options.repeatLast { recent.removeFirst() }
            recent.append(id)
        }
        return id
    }

    private static func likeliest(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        var best = 0
        for index in logits.indices where logits[index] > logits[best] { best = index }
        return Int32(best)
    }

    private mutating func sample(_ logits: UnsafeBufferPointer<Float>) -> Int32 {
        candidates.removeAll(keepingCapacity: true)
        for index in logits.indices { candidates.append(Candidate(id: Int32(index), logit: logits[index])) }
        if options.penalises { penalise() }
        if options.temperature == 0 {
            return candidates.max { ($0.logit, $1.id) < ($1.logit, $0.id) }?.id ?? 0
        }
        keepTopK()
        setProbabilities(temperature: 1)
        keepTopP()
        keepMinP()
        setProbabilities(temperature: options.temperature)
        return draw()
    }

    private mutating func penalise() {
        for (id, count) in recent.reduce(into: [Int32: Int](), { $0[$1, default: 0] += 1 }) where Int(id) < candidates.count {
            let logit = candidates[Int(id)].logit
            candidates[Int(id)].logit =
                (logit > 0 ? logit / Float(options.repeatPenalty) : logit * Float(options.repeatPenalty))
                - (Float(count) * Float(options.frequencyPenalty) + Float(options.presencePenalty))
        }
    }

    /// Likeliest first; only the first k.
    private mutating func keepTopK() {
        let order: (Candidate, Candidate) -> Bool = { ($0.logit, $1.id) > ($1.logit, $0.id) }
        if options.topK > 0, options.topK < candidates.count / 8 {
            // A threshold first, so that only few are sorted.
            var kept: [Candidate] = []
            kept.reserveCapacity(options.topK + 1)
            for candidate in candidates {
                if kept.count == options.topK, let last = kept.last, !order(candidate, last) { continue }
                var place = kept.count
                while place > 0, order(candidate, kept[place - 1]) { place -= 1 }
                kept.insert(candidate, at: place)
                if kept.count > options.topK { kept.removeLast() }
            }
            candidates = kept
        } else {
            candidates.sort(by: order)
            if options.topK > 0 { candidates.removeLast(max(0, candidates.count - options.topK)) }
        }
    }

    private mutating func setProbabilities(temperature: Double) {
        guard let first = candidates.first else { return }
        var sum = 0.0
        for index in candidates.indices {
            let probability = exp(Double(candidates[index].logit - first.logit) / temperature)
            candidates[index].probability = probability
            sum += probability
        }
        for index in candidates.indices { candidates[index].probability /= sum }
    }

    private mutating func keepTopP() {
        guard options.topP < 1 else { return }
        var sum = 0.0
        for index in candidates.indices {
            sum += candidates[index].probability
            if sum >= options.topP {
                candidates.removeLast(candidates.count - index - 1)
                return
            }
        }
    }

    private mutating func keepMinP() {
        guard options.minP > 0, let first = candidates.first else { return }
        let least = first.probability * options.minP
        candidates.removeAll { $0.probability < least }
    }

    private mutating func draw() -> Int32 {
        var left = random.unit()
        for candidate in candidates {
            left -= candidate.probability
            if left < 0 { return candidate.id }
        }
        return candidates.last?.id ?? 0
    }
}

/// Steele, Lea and Flood's SplitMix64: small, seedable, the same on every machine.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in 0 ..< 1.
    mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
