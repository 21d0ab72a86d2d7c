import Foundation
import KVFabric
import KVModel
import KVRunahead

/// Fills the plan tables by searching, and shows them.
struct PlanSearch {
    let command: PlanCommand

    init(_ command: PlanCommand) { self.command = command }

    func run() async throws {
        let lengths = try command.lengthList()
        let ranks = try command.rankList()
        var work = ranks.count * lengths.reduce(0, +)
        var left = try PlanCommand.seconds(command.budget)
        var report = PlanReport(command)
        for count in ranks {
            let configuration = try command.configuration(ranks: count, context: lengths[lengths.count - 1])
            let engine = try await Session.open(configuration, progress: !command.noProgress, verbose: false)
            for tokens in lengths {
                let budget = left * Double(tokens) / Double(work)
                let start = Date()
                let bar = ProgressBar("\(count) ranks, \(tokens) tokens", enabled: !command.noProgress)
                let table = try await PlanCommand.interruptible {
                    try await engine.withRanks { ranks, isCancelled in
                        defer { bar.clear() }
                        return try Self.search(tokens, budget, ranks, bar, isCancelled)
                    }
                }
                left = max(0, left - Date().timeIntervalSince(start))
                work -= tokens
                report.add(engine, table, tokens)
            }
            for notice in try await engine.withRanks({ ranks, _ in ranks.planner.notices })
            where !engine.information.notices.contains(notice) {
                Terminal.note(notice)
            }
        }
        try report.finish()
    }

    /// Searches one length, from what is known; what is measured is kept also when this is cancelled.
    /// - Returns: the samples of this length and its entry.
    static func search(
        _ tokens: Int, _ budget: Double, _ ranks: Ranks, _ bar: ProgressBar, _ isCancelled: () -> Bool
    ) throws -> PlanFinding {
        let planner = ranks.planner
        let count = ranks.placement.ranks.count
        let ids = Bench.tokens(tokens, vocabulary: ranks.model.geometry.vocabulary)
        func measure(_ sizes: [Int]) throws -> Double {
            try ranks.prefill(ids, partition: .tokens(sizes)) { _ in
                if isCancelled() { ranks.cancel() }
            }.duration
        }
        if planner.costs == nil, count > 1,
            let costs = try ranks.calibrate(progress: { _ in if isCancelled() { ranks.cancel() } })
        {
            planner.learned(costs)
        }
        let even = Partition.even(tokens, ranks: count)
        let modelled = planner.costs.map { Pipeline($0).modelled(tokens, ranks: count) }
        var fresh: [PlanTable.Sample] = []
        var kept = Date()
        func keep() {
            if !fresh.isEmpty { planner.update { table in for sample in fresh { table.add(sample) } } }
            fresh = []
            kept = Date()
        }
        defer { keep() }
        // One run that does not count: pages are touched, clocks are up.
        _ = try measure(even)
        var search = Search(tokens: tokens, ranks: count, known: planner.table?.samples(tokens) ?? [])
        // The rest is for the comparison at the end.
        search.budget = 0.7 * budget
        search.measured = { sample, spent in
            fresh.append(sample)
            bar.show(spent)
            if Date().timeIntervalSince(kept) > 2 { keep() }
        }
        let found = try search.run(starts: modelled.map { [$0] } ?? [], measure: measure)
        // The figures that are compared are timed in turns once more.
        let compared = Set([even, found.sizes, modelled ?? even])
        for _ in 0..<search.repeats {
            for sizes in compared.sorted(by: { $0.lexicographicallyPrecedes($1) }) { try search.again(sizes, measure) }
        }
        keep()
        let fastest = compared.min { (search.median($0) ?? .infinity) < (search.median($1) ?? .infinity) } ?? found.sizes
        let entry = PlanTable.Entry(
            tokens: tokens, sizes: fastest, seconds: search.median(fastest) ?? found.seconds,
            even: search.median(even) ?? found.seconds, modelled: modelled.flatMap { search.median($0) },
            isSettled: found.isSettled)
        planner.update { $0.set(entry) }
        return PlanFinding(
            entry: entry, modelled: modelled,
            samples: search.samples.map { PlanTable.Sample(sizes: $0.key, seconds: $0.value) })
    }
}

/// What one search found.
struct PlanFinding: Sendable {
    let entry: PlanTable.Entry
    let modelled: [Int]?
    let samples: [PlanTable.Sample]
}
