/// What a chunk of a prompt costs: linear work per token, and attention per query-key pair (KVR-M).
///
/// A chunk of n tokens behind P earlier ones takes n · (perToken + perPair · (P + triangle · n)) seconds; partitions follow from the ratio
/// of the two factors alone.
package struct CostModel: Sendable, Equatable {
    /// Seconds per token, without attention.
    package var perToken: Double
    /// Seconds per pair of a query and a key.
    package var perPair: Double
    /// The computed fraction of the square of a chunk's own pairs: 1/2 where the upper triangle is left out, 1 where it is not.
    package var triangle = 0.5

    package init(perToken: Double, perPair: Double, triangle: Double = 0.5) {
        self.perToken = perToken
        self.perPair = perPair
        self.triangle = triangle
    }

    package func duration(_ chunk: Range<Int>) -> Double {
        let count = Double(chunk.count)
        return count * (perToken + perPair * (Double(chunk.lowerBound) + triangle * count))
    }

    /// The busiest rank's time.
    package func duration(_ sizes: [Int]) -> Double {
        var start = 0
        var longest = 0.0
        for size in sizes {
            longest = max(longest, duration(start..<start + size))
            start += size
        }
        return longest
    }

    // MARK: Balance

    /// Chunk sizes, as fractions of a token, that take all ranks equally long. Cost: some 60 × ranks operations.
    package func balanced(_ tokens: Double, ranks: Int) -> [Double] {
        guard tokens > 0, ranks > 0 else { return [Double](repeating: 0, count: max(0, ranks)) }
        // The time that is enough for all tokens: at most what one rank alone takes.
        var low = 0.0
        var high = tokens * (perToken + perPair * triangle * tokens)
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if sizes(within: middle, ranks).reduce(0, +) < tokens { low = middle } else { high = middle }
        }
        let sizes = sizes(within: high, ranks)
        let total = sizes.reduce(0, +)
        return total > 0 ? sizes.map { $0 * tokens / total } : [Double](repeating: tokens / Double(ranks), count: ranks)
    }

    /// The tokens that each rank computes within `time`, one rank's behind the other's: the positive root of the chunk's cost.
    private func sizes(within time: Double, _ ranks: Int) -> [Double] {
        var prefix = 0.0
        return (0..<ranks).map { _ in
            let linear = perToken + perPair * prefix
            let square = perPair * triangle
            // Divided the other way round, so that a vanishing square term does no harm.
            let size = 2 * time / (linear + (linear * linear + 4 * square * time).squareRoot())
            prefix += size
            return size
        }
    }

    /// Whole chunks that cover the prompt, none longer than the one before; the even ones where these are expected to be faster.
    package func sizes(of tokens: Int, ranks: Int) -> [Int] {
        let even = Partition.even(tokens, ranks: ranks)
        guard tokens > 0, ranks > 1, perToken > 0, perPair > 0 else { return even }
        let balanced = balanced(Double(tokens), ranks: ranks)
        // Costs of a damaged table may give anything.
        guard balanced.allSatisfy({ $0 >= 0 && $0 <= Double(tokens) }) else { return even }
        var sizes = balanced.map { Int($0) }
        // What rounding down has left goes to the first ranks, one each: sizes stay in order.
        let rest = tokens - sizes.reduce(0, +)
        guard (0..<ranks).contains(rest) else { return even }
        for rank in 0..<rest { sizes[rank] += 1 }
        return duration(sizes) > duration(even) ? even : sizes
    }
}
