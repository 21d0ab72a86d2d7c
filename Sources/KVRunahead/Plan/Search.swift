import KVFabric

/// Hierarchical grid search over the cuts of a prompt (KVR-S): measured times, coarse to fine.
///
/// Begins at the even cut and at the candidates it is given, shifts cuts by a stride while that helps, halves the stride, down to one tile. A
/// candidate whose first time is hopeless is not repeated; the others are timed in turns with the best so far, and medians decide.
package struct Search {
    package var tokens: Int
    package var ranks: Int
    package var tile = Pipeline.tile
    /// Seconds of measuring, from now on; what is known already costs nothing.
    package var budget = 60.0
    /// Timings of a candidate that could be the best.
    package var repeats = 3
    /// A first time that is this much above the best's is hopeless.
    package var hopeless = 0.05
    /// All timings so far, by cut: of earlier searches too.
    package private(set) var samples: [[Int]: [Double]] = [:]
    /// Told of each timing, and of the fraction of the budget that is spent.
    package var measured: (PlanTable.Sample, Double) -> Void = { _, _ in }
    private var spent = 0.0

    package init(tokens: Int, ranks: Int, known: [PlanTable.Sample] = []) {
        self.tokens = tokens
        self.ranks = ranks
        for sample in known where sample.sizes.count == ranks && sample.sizes.reduce(0, +) == tokens {
            samples[sample.sizes, default: []] += sample.seconds
        }
    }

    package struct Outcome: Sendable, Equatable {
        package var sizes: [Int]
        package var seconds: Double
        /// No cut within a tile was better; false: the budget ended first.
        package var isSettled: Bool
    }

    /// - Parameters:
    ///   - starts: cuts to begin with, beside the even one.
    ///   - measure: seconds of one prefill with these sizes.
    /// - Throws: what `measure` throws; `samples` then holds what was measured until then.
    package mutating func run(
        starts: [[Int]] = [], measure: ([Int]) throws -> Double
    ) throws -> Outcome {
        var best = Partition.even(tokens, ranks: ranks)
        try sample(best, upTo: repeats, measure)
        for start in starts where start.count == ranks && start.reduce(0, +) == tokens {
            if try isBetter(start, than: best, measure) { best = start }
        }
        guard ranks > 1, tokens > ranks else { return outcome(best, isSettled: true) }
        // Where the best start is not on the grid, the grid goes through it.
        let descent = Descent(stride: tokens / ranks / 4, tile: min(tile, max(1, tokens / ranks / 4)))
        var leader = best
        try descent.improve(&best) { candidate in
            if isOver { return nil }
            let wins = try isBetter(candidate, than: leader, measure)
            if wins { leader = candidate }
            return wins
        }
        // The medians have the last word: the leader was timed on, and may have lost since.
        return outcome(fastest ?? best, isSettled: !isOver)
    }

    private var isOver: Bool { spent >= budget }

    private func outcome(_ sizes: [Int], isSettled: Bool) -> Outcome {
        Outcome(sizes: sizes, seconds: samples[sizes]?.median ?? 0, isSettled: isSettled)
    }

    /// The cut of the least median among those timed often enough.
    private var fastest: [Int]? {
        samples.filter { $0.value.count >= repeats }.min { a, b in
            let (left, right) = (a.value.median ?? .infinity, b.value.median ?? .infinity)
            // A tie goes to the cut that is smaller in the order of its sizes: the same search ends the same.
            return left == right ? a.key.lexicographicallyPrecedes(b.key) : left < right
        }?.key
    }

    /// Times a candidate in turns with the best, as long as it can win.
    private mutating func isBetter(
        _ candidate: [Int], than best: [Int], _ measure: ([Int]) throws -> Double
    ) throws -> Bool {
        guard candidate != best else { return false }
        let target = samples[best]?.median ?? .infinity
        try sample(candidate, upTo: 1, measure)
        guard let first = samples[candidate]?.min(), first <= target * (1 + hopeless) else { return false }
        while (samples[candidate]?.count ?? 0) < repeats, !isOver {
            // The best is timed again beside it: the machine's speed drifts.
            if (samples[best]?.count ?? 0) < 4 * repeats { try time(best, measure) }
            try time(candidate, measure)
            guard let median = samples[candidate]?.median, median <= target * (1 + hopeless) else { return false }
        }
        guard let mine = samples[candidate]?.median, let others = samples[best]?.median else { return false }
        return mine < others
    }

    /// Times a cut once more.
    package mutating func again(_ sizes: [Int], _ measure: ([Int]) throws -> Double) throws { try time(sizes, measure) }

    package func median(_ sizes: [Int]) -> Double? { samples[sizes]?.median }

    private mutating func sample(_ sizes: [Int], upTo count: Int, _ measure: ([Int]) throws -> Double) throws {
        while (samples[sizes]?.count ?? 0) < count { try time(sizes, measure) }
    }

    private mutating func time(_ sizes: [Int], _ measure: ([Int]) throws -> Double) throws {
        let seconds = try measure(sizes)
        spent += seconds
        samples[sizes, default: []].append(seconds)
        measured(PlanTable.Sample(sizes: sizes, seconds: [seconds]), min(1, spent / max(budget, 1e-9)))
    }
}
