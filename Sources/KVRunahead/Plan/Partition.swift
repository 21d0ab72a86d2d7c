/// How a prompt is cut into one chunk per rank.
public enum Partition: Sendable, Equatable {
    /// Chunks of equal size, the first ones a token longer where needed (KVR-E).
    case even
    /// Tokens of each rank's chunk; they must sum to the prompt.
    case tokens([Int])
    /// Shares of each rank; normalised to their sum.
    case ratios([Double])
    /// The stored table where it covers the prompt's length, else the stored costs, else modelled where measuring them pays.
    case auto
    /// The fastest measured chunks, from the stored table of exactly this length (KVR-S); `kvcpu plan` fills it.
    case searched
    /// Ratios interpolated between the lengths of the stored table; beyond them by the cost model (KVR-P).
    case predicted
    /// Chunks of the least simulated time by a cost model, which is fitted to some timed chunks before the first prompt (KVR-M).
    case modelled

    private static let named: [(String, Partition)] = [
        ("auto", .auto), ("even", .even), ("searched", .searched), ("predicted", .predicted), ("modelled", .modelled),
    ]

    /// Parses a name, `400,300,200` or `0.4,0.33,0.27`.
    /// - Throws: `EngineError` (request) naming the value.
    public init(parsing text: String) throws(EngineError) {
        if let named = Self.named.first(where: { $0.0 == text }) {
            self = named.1
            return
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        if let tokens = Self.all(parts, { Int($0) }) {
            guard tokens.allSatisfy({ $0 >= 0 }) else {
                throw EngineError(.request, "partition \"\(text)\": a chunk cannot have fewer than 0 tokens")
            }
            self = .tokens(tokens)
        } else if let ratios = Self.all(parts, { Double($0) }) {
            guard ratios.allSatisfy({ $0.isFinite && $0 >= 0 }), ratios.reduce(0, +) > 0, ratios.reduce(0, +).isFinite else {
                throw EngineError(
                    .request, "partition \"\(text)\": ratios must be 0 or more and sum to a finite number of more than 0")
            }
            self = .ratios(ratios)
        } else {
            throw EngineError(
                .request,
                "partition \"\(text)\" is none of \(Self.named.map(\.0).joined(separator: ", ")), nor token counts (400,300,200), nor "
                    + "ratios (0.4,0.33,0.27)")
        }
    }

    /// Not given in numbers, nor even: a planner decides.
    package var isPlanned: Bool {
        switch self {
        case .auto, .searched, .predicted, .modelled: true
        case .even, .tokens, .ratios: false
        }
    }

    /// Given as tokens, which must be the prompt's.
    var isCounted: Bool {
        if case .tokens = self { true } else { false }
    }

    private static func all<T>(_ parts: [String], _ parse: (String) -> T?) -> [T]? {
        let values = parts.compactMap(parse)
        return values.count == parts.count && !values.isEmpty ? values : nil
    }

    /// The chunks of a prompt in order, one per rank; chunks may be empty.
    /// - Parameter planned: the sizes that a planner found for a partition that is not given in numbers; nil: even ones.
    /// - Throws: `EngineError` (request) when the partition is for another number of ranks or tokens.
    package func chunks(of tokens: Int, ranks: Int, planned: [Int]? = nil) throws(EngineError) -> [Range<Int>] {
        switch self {
        case .auto, .searched, .predicted, .modelled:
            return try Partition.tokens(planned ?? Self.even(tokens, ranks: ranks)).chunks(of: tokens, ranks: ranks)
        case .even:
            return Self.ranges(Self.even(tokens, ranks: ranks))
        case .tokens(let sizes):
            try check(sizes.count, ranks)
            if let size = sizes.first(where: { $0 < 0 }) {
                throw EngineError(.request, "the partition has a chunk of \(size) tokens")
            }
            var sum = 0
            for size in sizes {
                let (total, overflow) = sum.addingReportingOverflow(size)
                sum = overflow ? .max : total
            }
            guard sum == tokens else {
                throw EngineError(
                    .request,
                    "partition \(sizes.map(String.init).joined(separator: ",")) sums to \(sum) tokens, the prompt has \(tokens)")
            }
            return Self.ranges(sizes)
        case .ratios(let ratios):
            try check(ratios.count, ranks)
            guard Self.areShares(ratios), let largest = ratios.max() else {
                throw EngineError(.request, "the partition's ratios \(ratios) must be 0 or more, finite, and one above 0")
            }
            // Of the largest, so that no sum is infinite.
            let ratios = ratios.map { $0 / largest }
            let total = ratios.reduce(0, +)
            // Cumulated and rounded, so that the chunks cover the prompt whatever the rounding.
            var cuts = [0]
            var sum = 0.0
            for ratio in ratios {
                sum += ratio
                let cut = Int(exactly: (sum / total * Double(tokens)).rounded()) ?? tokens
                cuts.append(max(cuts[cuts.count - 1], min(tokens, cut)))
            }
            cuts[ratios.count] = tokens
            return (0..<ratios.count).map { cuts[$0]..<cuts[$0 + 1] }
        }
    }

    private static func areShares(_ ratios: [Double]) -> Bool {
        ratios.allSatisfy { $0.isFinite && $0 >= 0 } && ratios.contains { $0 > 0 }
    }

    /// Sizes that differ by a token at most, the longer ones first.
    package static func even(_ tokens: Int, ranks: Int) -> [Int] {
        (0..<ranks).map { tokens / ranks + ($0 < tokens % ranks ? 1 : 0) }
    }

    private func check(_ count: Int, _ ranks: Int) throws(EngineError) {
        guard count == ranks else {
            throw EngineError(.request, "the partition has \(count) chunks, there are \(ranks) ranks")
        }
    }

    private static func ranges(_ sizes: [Int]) -> [Range<Int>] {
        var start = 0
        return sizes.map { size in
            defer { start += size }
            return start..<start + size
        }
    }
}
