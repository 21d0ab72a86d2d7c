import Foundation
import KVFabric
import KVModel
import KVRunahead

/// The simulator beside measured runs: configurations that calibration has not seen.
struct PlanCheck {
    private struct Case {
        let ranks, tokens: Int
        let partition: String
    }

    private struct Row: Encodable {
        let ranks, tokens: Int
        let partition: String
        let sizes: [Int]
        /// Medians over the rounds.
        let measuredMs, simulatedMs: Double
        /// Of simulated over measured, minus 1.
        let error: Double
    }

    private static let cases = [
        Case(ranks: 1, tokens: 700, partition: "even"), Case(ranks: 1, tokens: 1500, partition: "even"),
        Case(ranks: 1, tokens: 3000, partition: "even"), Case(ranks: 2, tokens: 1000, partition: "even"),
        Case(ranks: 2, tokens: 2000, partition: "0.7,0.3"), Case(ranks: 2, tokens: 2000, partition: "0.4,0.6"),
        Case(ranks: 2, tokens: 4000, partition: "modelled"), Case(ranks: 3, tokens: 1500, partition: "even"),
        Case(ranks: 3, tokens: 3000, partition: "0.5,0.3,0.2"), Case(ranks: 4, tokens: 1000, partition: "even"),
        Case(ranks: 4, tokens: 2000, partition: "modelled"), Case(ranks: 4, tokens: 3000, partition: "0.4,0.3,0.2,0.1"),
    ]
    private static let rounds = 3
    private static let context = 4096

    let command: PlanCommand

    init(_ command: PlanCommand) { self.command = command }

    func run() async throws {
        var measured = [[Double]](repeating: [], count: Self.cases.count)
        var simulated = measured
        var sizes = [[Int]](repeating: [], count: Self.cases.count)
        let bar = ProgressBar("checking", enabled: !command.noProgress)
        var done = 0
        for _ in 0..<Self.rounds {
            for ranks in 1...4 {
                var configuration = try command.configuration(ranks: ranks, context: Self.context)
                configuration.threadsPerRank = command.threadsPerRank ?? 1
                configuration.planFolder = nil
                let engine = try await Session.open(configuration, progress: false, verbose: false, notices: false)
                let cases = Self.cases.indices.filter { Self.cases[$0].ranks == ranks }
                let results = try await PlanCommand.interruptible {
                    try await engine.withRanks { ranks, isCancelled in
                        try Self.compare(cases, ranks, isCancelled)
                    }
                }
                for (index, result) in zip(cases, results) {
                    measured[index].append(result.measured)
                    simulated[index].append(result.simulated)
                    sizes[index] = result.sizes
                }
                done += 1
                bar.show(Double(done) / Double(4 * Self.rounds))
            }
        }
        bar.clear()
        let rows = Self.cases.indices.map { index in
            let errors = zip(simulated[index], measured[index]).map { $0 / $1 - 1 }
            return Row(
                ranks: Self.cases[index].ranks, tokens: Self.cases[index].tokens, partition: Self.cases[index].partition,
                sizes: sizes[index], measuredMs: (measured[index].median ?? 0) * 1e3,
                simulatedMs: (simulated[index].median ?? 0) * 1e3, error: errors.median ?? 0)
        }
        try show(rows)
    }

    private struct Result: Sendable {
        let sizes: [Int]
        let measured, simulated: Double
    }

    /// Fits the costs, then times each case once; the rounds repeat it.
    private static func compare(
        _ indices: [Int], _ ranks: Ranks, _ isCancelled: () -> Bool
    ) throws -> [Result] {
        let costs = try ranks.calibrate(progress: { _ in if isCancelled() { ranks.cancel() } })
        guard let costs else { throw Failure.run("the timings of a few chunks did not tell what tokens cost") }
        let count = ranks.placement.ranks.count
        let cpus = Set(ranks.placement.ranks.flatMap(\.cpus)).count / max(1, ranks.placement.threadsPerRank)
        let pipeline = Pipeline(costs, cores: ranks.placement.oversubscribed ? max(1, cpus) : nil)
        return try indices.map { index in
            let item = cases[index]
            let partition = try Partition(parsing: item.partition)
            let planned = partition == .modelled ? Pipeline(costs).modelled(item.tokens, ranks: count) : nil
            let sizes = try partition.chunks(of: item.tokens, ranks: count, planned: planned).map(\.count)
            let ids = Bench.tokens(item.tokens, vocabulary: ranks.model.geometry.vocabulary)
            let seconds = try ranks.prefill(ids, partition: .tokens(sizes)) { _ in
                if isCancelled() { ranks.cancel() }
            }.duration
            return Result(sizes: sizes, measured: seconds, simulated: pipeline.run(.runahead, sizes).seconds)
        }
    }

    private func show(_ rows: [Row]) throws {
        let median = rows.map { abs($0.error) }.median ?? 0
        if command.output == .json {
            struct Checked: Encodable {
                let medianError: Double
                let rows: [Row]
            }
            try Terminal.output(PlanCommand.json(Checked(medianError: median, rows: rows)))
            return
        }
        var text =
            "| ranks | tokens | partition | sizes | measured | simulated | error |\n| ---: | ---: | --- | --- | ---: | ---: | ---: |\n"
        for row in rows {
            text +=
                "| \(row.ranks) | \(row.tokens) | \(row.partition) | \(row.sizes.map(String.init).joined(separator: ",")) | "
                + "\(duration(row.measuredMs / 1e3)) | \(duration(row.simulatedMs / 1e3)) | "
                + String(format: "%+.1f %% |\n", row.error * 100)
        }
        text += String(format: "\nmedian error %.1f %% over %d configurations\n", median * 100, rows.count)
        try Terminal.output(text)
    }
}
