import Foundation
import KVFabric
import KVModel
import KVRunahead

/// TTFT of machines that one does not have, by the pipeline's simulation with costs measured on this one.
struct PlanSimulation {
    private struct Row: Encodable {
        let ranks, tokens: Int
        let sizes: [Int]
        /// Simulated seconds.
        let sequential, even, modelled, tsp, tspCausal, zigzag: Double
        /// The bounds of the staircase and of work shared out evenly.
        let staircase, ideal: Double
    }

    let command: PlanCommand

    init(_ command: PlanCommand) { self.command = command }

    func run() async throws {
        let lengths = try command.lengthList()
        let ranks = try command.rankList()
        let link = Configuration.Link(rawValue: command.link) == nil ? try LinkCosts(parsing: command.link) : nil
        // As many ranks as there are CPUs for: all of them busy is what is to be simulated.
        let threads = command.threadsPerRank ?? 1
        let here = max(1, Topology.read().budget / threads)
        let context = min(16_384, max(4096, lengths[lengths.count - 1]))
        var configuration = try command.configuration(ranks: here, context: context)
        configuration.threadsPerRank = threads
        let engine = try await Session.open(configuration, progress: !command.noProgress, verbose: false)
        var costs = try await PlanCommand.interruptible {
            try await engine.withRanks { ranks, isCancelled in
                let measured = try ranks.costs(isCancelled)
                if ranks.placement.ranks.count > 1 { ranks.planner.learned(measured) }
                return measured
            }
        }
        if let link { costs.link = link }
        if let layers = command.layers { costs.layers = layers }
        let pipeline = Pipeline(costs)
        let rows = ranks.flatMap { ranks in lengths.map { Self.row(pipeline, ranks: ranks, tokens: $0) } }
        try show(rows, costs, engine, threads)
    }

    private static func row(_ pipeline: Pipeline, ranks: Int, tokens: Int) -> Row {
        let even = Partition.even(tokens, ranks: ranks)
        let sizes = pipeline.modelled(tokens, ranks: ranks)
        let bounds = pipeline.bounds(tokens, ranks: ranks)
        return Row(
            ranks: ranks, tokens: tokens, sizes: sizes, sequential: pipeline.run(.sequential, [tokens]).seconds,
            even: pipeline.run(.runahead, even).seconds, modelled: pipeline.run(.runahead, sizes).seconds,
            tsp: pipeline.run(.tsp, even).seconds, tspCausal: pipeline.run(.tspCausal, even).seconds,
            zigzag: pipeline.run(.zigzag, even).seconds, staircase: bounds.staircase, ideal: bounds.ideal)
    }

    private func show(_ rows: [Row], _ costs: LayerCosts, _ engine: Engine, _ threads: Int) throws {
        if command.output == .json {
            struct Simulated: Encodable {
                let model: String
                let simulated = true
                let costs: LayerCosts
                let rows: [Row]
            }
            try Terminal.report(
                PlanCommand.json(Simulated(model: engine.information.modelPath, costs: costs, rows: rows)))
        } else {
            try Terminal.report(text(rows, costs, engine, threads))
        }
        let lengths = Set(rows.map(\.tokens)).sorted()
        let figure = Figure(
            title: "Simulated speed-up over TSP", note: "\(name(engine)), costs of this machine; simulated, not measured",
            x: "ranks of \(threads) threads", y: "TTFT of TSP / TTFT of KV-Runahead (modelled)",
            series: lengths.map { tokens in
                Figure.Series(
                    name: "\(tokens) tokens",
                    points: rows.filter { $0.tokens == tokens }.map { (Double($0.ranks), $0.tsp / $0.modelled) })
            })
        try command.write(figure.svg, "simulated-speed-up.svg")
    }

    private func name(_ engine: Engine) -> String {
        engine.information.modelPath.split(separator: "/").last.map(String.init) ?? ""
    }

    private func text(_ rows: [Row], _ costs: LayerCosts, _ engine: Engine, _ threads: Int) -> String {
        let link = costs.link
        var text =
            "**Simulated, not measured**: \(name(engine)), \(costs.layers) layers, ranks of \(threads) threads as this machine's. "
        text += String(
            format: "Per layer: %.3g µs a token before and %.3g after the hand-over, %.3g ns a query-key pair; a/b %.0f tokens. ",
            costs.project * 1e6, costs.rest * 1e6, costs.pair * 1e9, costs.pair > 0 ? (costs.project + costs.rest) / costs.pair : 0)
        text +=
            link.wire > 0
            ? String(format: "Link %.4g GB/s, %.3g µs.\n\n", 1e-9 / link.wire, link.latency * 1e6) : "Link as measured here.\n\n"
        text +=
            "| ranks | tokens | even | modelled | TSP | TSP causal | zigzag | modelled over TSP | over TSP causal | over zigzag | "
            + "above the staircase bound | above the ideal | modelled partition |\n"
            + "|" + String(repeating: " ---: |", count: 12) + " --- |\n"
        for row in rows {
            let times = [row.even, row.modelled, row.tsp, row.tspCausal, row.zigzag].map(duration)
            let gains = [row.tsp, row.tspCausal, row.zigzag].map { String(format: "%.2f×", $0 / row.modelled) }
            let above = [row.staircase, row.ideal].map { String(format: "%+.1f %%", (row.modelled / $0 - 1) * 100) }
            let ratios = row.sizes.map { String(format: "%.1f", Double($0) / Double(row.tokens) * 100) }
            text +=
                "| " + (["\(row.ranks)", "\(row.tokens)"] + times + gains + above).joined(separator: " | ")
                + " | \(ratios.prefix(8).joined(separator: " / "))\(ratios.count > 8 ? " / …" : "") |\n"
        }
        return text
    }
}
