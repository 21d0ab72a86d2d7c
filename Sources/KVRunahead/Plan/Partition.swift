/// How a prompt is cut into one chunk per rank.
public enum Partition: Sendable, Equatable {
    /// Chunks of equal size, the first ones a token longer where needed (KVR-E).
    case even
    /// Tokens of each rank's chunk; they must sum to the prompt.
    case tokens([Int])
    /// Shares of each rank; normalised to their sum.
    case ratios([Double])
    /// Chunks that take all ranks equally long by a cost model, which is fitted to some timed chunks before the first prompt (KVR-M).
    case modelled

    /// Parses `even`, `modelled`, `400,300,200` or `0.4,0.33,0.27`.
    /// - Throws: `EngineError` (request) naming the value.
    public init(parsing text: String) throws(EngineError) {
        if let named = ["even": Partition.even, "modelled": .modelled][text] {
            self = named
            return
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        if let tokens = Self.all(parts, { Int($0) }) {
            guard tokens.allSatisfy({ $0 >= 0 }) else {
                throw EngineError(.request, "partition \"\(text)\": a chunk cannot have fewer than 0 tokens")
            }
            self = .tokens(tokens)
        } else if let ratios = Self.all(parts, { Double($0) }) {
            guard ratios.allSatisfy({ $0.isFinite && $0 >= 0 }), ratios.reduce(0, +) > 0 else {
                throw EngineError(.request, "partition \"\(text)\": ratios must be 0 or more and sum to more than 0")
            }
            self = .ratios(ratios)
        } else {
            throw EngineError(
                .request,
                "partition \"\(text)\" is neither even nor modelled nor token counts (400,300,200) nor ratios (0.4,0.33,0.27)")
        }
    }

    private static func all<T>(_ parts: [String], _ parse: (String) -> T?) -> [T]? {
        let values = parts.compactMap(parse)
        return values.count == parts.count && !values.isEmpty ? values : nil
    }

    /// The chunks of a prompt in order, one per rank; chunks may be empty.
    /// - Parameter model: what `modelled` goes by; nil where it could not be fitted, then the chunks are even.
    /// - Throws: `EngineError` (request) when the partition is for another number of ranks or tokens.
    package func chunks(of tokens: Int, ranks: Int, model: CostModel? = nil) throws(EngineError) -> [Range<Int>] {
        switch self {
        case .modelled:
            guard let model else { return try Partition.even.chunks(of: tokens, ranks: ranks) }
            return Self.ranges(model.sizes(of: tokens, ranks: ranks))
        case .even:
            return Self.ranges((0..<ranks).map { tokens / ranks + ($0 < tokens % ranks ? 1 : 0) })
        case .tokens(let sizes):
            try check(sizes.count, ranks)
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
            let total = ratios.reduce(0, +)
            // Cumulated and rounded, so that the chunks cover the prompt whatever the rounding.
            var cuts = [0]
            var sum = 0.0
            for ratio in ratios {
                sum += ratio
                cuts.append(max(cuts[cuts.count - 1], min(tokens, Int((sum / total * Double(tokens)).rounded()))))
            }
            cuts[ratios.count] = tokens
            return (0..<ratios.count).map { cuts[$0]..<cuts[$0 + 1] }
        }
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
