import Foundation
import KVFabric
import KVModel
import KVRunahead

/// The simulator beside measured runs: configurations that calibration has not seen.
struct PlanCheck {
    private struct Case {
        let ranks, tokens: Int
        let partition: String
        var link: LinkProfile?
    }

    private struct Row: Encodable {
        let ranks, tokens: Int
        let partition: String
        let link: String?
        let sizes: [Int]
        /// Medians over the rounds.
        let measuredMs, simulatedMs: Double
        /// Of simulated over measured, minus 1.
        let error: Double
    }

    private static let cases = [
        Case(ranks: 1, tokens: 700, partition: "even"), Case(ranks: 1, tokens: 1500, partition: "even"),
        Case(ranks: 1, tokens: 3000, partition: "even"), Case(ranks: 2, tokens: 1000, partition: "even"),
        Case(ranks: 2, tokens: 2000, partition: "0.7,0.3"),
        Case(ranks: 2, tokens: 2000, partition: "0.4,0.6", link: LinkProfile(bandwidth: 20e6, latency: 1e-3)),
        Case(ranks: 2, tokens: 4000, partition: "modelled"), Case(ranks: 3, tokens: 1500, partition: "even"),
        Case(ranks: 3, tokens: 3000, partition: "0.5,0.3,0.2"),
        Case(ranks: 4, tokens: 1000, partition: "even", link: LinkProfile(bandwidth: 50e6, latency: 2e-4)),
        Case(ranks: 4, tokens: 2000, partition: "modelled"), Case(ranks: 4, tokens: 3000, partition: "0.4,0.3,0.2,0.1"),
    ]
    /// Cases of like ranks and links run on one engine.
    private static var setups: [(ranks: Int, link: LinkProfile?)] {
        cases.reduce(into: []) { setups, each in
            guard !setups.contains(where: { $0.ranks == each.ranks && $0.link == each.link }) else { return }
            setups.append((each.ranks, each.link))
        }
    }
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
            for setup in Self.setups {
                var configuration = try command.configuration(ranks: setup.ranks, context: Self.context)
                configuration.throttle = setup.link
                configuration.threadsPerRank = command.threadsPerRank ?? 1
                configuration.planFolder = nil
                let engine = try await Session.open(configuration, progress: false, verbose: false, notices: false)
                let cases = Self.cases.indices.filter {
                    Self.cases[$0].ranks == setup.ranks && Self.cases[$0].link == setup.link
                }
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
                bar.show(Double(done) / Double(Self.setups.count * Self.rounds))
            }
        }
        bar.clear()
        let rows = Self.cases.indices.map { index in
            let errors = zip(simulated[index], measured[index]).map { $0 / $1 - 1 }
            return Row(
                ranks: Self.cases[index].ranks, tokens: Self.cases[index].tokens, partition: Self.cases[index].partition,
                link: Self.cases[index].link.map(Self.text), sizes: sizes[index], measuredMs: (measured[index].median ?? 0) * 1e3,
                simulatedMs: (simulated[index].median ?? 0) * 1e3, error: errors.median ?? 0)
        }
        try show(rows)
    }

    private static func text(_ link: LinkProfile) -> String {
        String(format: "%.0f MB/s, %.0f us", link.bandwidth / 1e6, link.latency * 1e6)
    }

    private struct Result: Sendable {
        let sizes: [Int]
        let measured, simulated: Double
    }

    /// Fits the costs, then times each case once; the rounds repeat it.
    private static func compare(
        _ indices: [Int], _ ranks: Ranks, _ isCancelled: () -> Bool
    ) throws -> [Result] {
        let costs = try ranks.costs(isCancelled)
        let count = ranks.placement.ranks.count
        let cpus = Set(ranks.placement.ranks.flatMap(\.cpus)).count / max(1, ranks.placement.threadsPerRank)
        return try indices.map { index in
            let item = cases[index]
            var costs = costs
            if let link = item.link { costs.link.throttle(link) }
            let pipeline = Pipeline(costs, cores: ranks.placement.oversubscribed ? max(1, cpus) : nil)
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
            try Terminal.report(PlanCommand.json(Checked(medianError: median, rows: rows)))
            return
        }
        var text =
            "| ranks | tokens | partition | sizes | links | measured | simulated | error |\n| ---: | ---: | --- | --- | --- | ---: | ---: | ---: |\n"
        for row in rows {
            text +=
                "| \(row.ranks) | \(row.tokens) | \(row.partition) | \(row.sizes.map(String.init).joined(separator: ",")) | \(row.link ?? "as they are") | "
                + "\(duration(row.measuredMs / 1e3)) | \(duration(row.simulatedMs / 1e3)) | "
                + String(format: "%+.1f %% |\n", row.error * 100)
        }
        text += String(format: "\nmedian error %.1f %% over %d configurations\n", median * 100, rows.count)
        try Terminal.report(text)
    }
}
