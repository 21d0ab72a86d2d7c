import Foundation
import KVFabric
import KVModel
import KVRunahead

/// Which ranks × threads answer a long prompt soonest on this machine.
struct PlanShapes {
    private struct Row: Encodable {
        let ranks, threadsPerRank, tokens: Int
        let sizes: [Int]
        let ttftMs: Double
    }

    let command: PlanCommand

    init(_ command: PlanCommand) { self.command = command }

    func run() async throws {
        let tokens = try command.lengthList().last ?? 4096
        let shapes = try shapes()
        var times = [[Double]](repeating: [], count: shapes.count)
        var sizes = [[Int]](repeating: [], count: shapes.count)
        let bar = ProgressBar("measuring", enabled: !command.noProgress)
        // In turns, so that a slow minute of the machine hits all alike.
        let rounds = 3
        for round in 0..<rounds {
            for (index, shape) in shapes.enumerated() {
                var configuration = try command.configuration(ranks: shape.ranks, context: tokens)
                configuration.threadsPerRank = shape.threads
                let engine = try await Session.open(configuration, progress: false, verbose: false, notices: false)
                let run = try await PlanCommand.interruptible {
                    try await engine.withRanks { ranks, isCancelled in
                        let ids = Bench.tokens(tokens, vocabulary: ranks.model.geometry.vocabulary)
                        let runs = try (0..<3).map { _ in
                            try ranks.prefill(ids, partition: .modelled) { _ in if isCancelled() { ranks.cancel() } }
                        }
                        // The first one is cold.
                        return (runs[1].chunks.map(\.count), [runs[1].duration, runs[2].duration])
                    }
                }
                sizes[index] = run.0
                times[index] += run.1
                bar.show(Double(round * shapes.count + index + 1) / Double(rounds * shapes.count))
            }
        }
        bar.clear()
        let rows = shapes.indices.map { index in
            Row(
                ranks: shapes[index].ranks, threadsPerRank: shapes[index].threads, tokens: tokens, sizes: sizes[index],
                ttftMs: (times[index].median ?? 0) * 1e3)
        }
        guard let best = rows.min(by: { $0.ttftMs < $1.ttftMs }) else { return }
        try keep(best)
        if command.output == .json {
            try Terminal.report(PlanCommand.json(rows))
            return
        }
        var text = "| ranks × threads | tokens | partition | TTFT |\n| ---: | ---: | --- | ---: |\n"
        for row in rows {
            text +=
                "| \(row.ranks) × \(row.threadsPerRank) | \(tokens) | \(row.sizes.map(String.init).joined(separator: ",")) | "
                + "\(duration(row.ttftMs / 1e3)) |\n"
        }
        text += "\nsoonest: --ranks \(best.ranks) -t \(best.threadsPerRank)"
        text +=
            command.plans.isOff ? "\n" : "; taken by run and chat from now on, unless --ranks, -t or --partition say otherwise\n"
        try Terminal.report(text)
    }

    /// Shapes that use every CPU; on CUDA devices, ranks with a device each.
    private func shapes() throws -> [(ranks: Int, threads: Int)] {
        let devices = try DeviceChoice(try command.configuration(ranks: 1, context: 0).devices)
        if devices.cuda != nil { return devices.rankCounts.map { ($0, 1) } }
        let budget = Topology.read().budget
        return (1...budget).filter { budget % $0 == 0 }.map { ($0, budget / $0) }
    }

    private func keep(_ best: Row) throws {
        let configuration = try command.configuration(ranks: 1, context: 0)
        do { try PlanShape(ranks: best.ranks, threadsPerRank: best.threadsPerRank).keep(for: configuration) } catch {
            Terminal.note("\(error); what was measured is not kept")
        }
    }
}
