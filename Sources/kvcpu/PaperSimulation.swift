import Foundation
import KVGGUF
import KVModel
import KVRunahead

/// The parts about machines that one does not have: costs measured here, ranks simulated.
struct PaperSimulation {
    /// A model whose layers were timed.
    private struct Model {
        let label: String
        /// A short word for files.
        let name: String
        let costs: LayerCosts
        /// The geometry, where it is a synthetic one.
        let text: String?
    }

    /// Speed-ups as summarised from the paper.
    private struct Published {
        let name: String
        let ranks, tokens: Int
        let gain: Double
    }
    private static let published = [
        Published(name: "llama-7b", ranks: 4, tokens: 12_288, gain: 1.42),
        Published(name: "falcon-7b", ranks: 8, tokens: 8192, gain: 1.63),
    ]
    private static let lengths = [1024, 2048, 4096, 8192, 16_384]
    private static let ranks = [2, 4, 8, 16]
    private static let links = ["300GB/s,5us", "10GB/s,5us", "1GB/s,5us"]

    let plan: PaperPlan
    let results: [PaperResult]

    private var calibrated: [(text: String, costs: LayerCosts)] {
        let all = results.filter { $0.experiment == .large && $0.timings.isEmpty }
        return plan.geometries.compactMap { text in
            guard let label = try? ModelSource.synthetic(text).open().path,
                let costs = all.first(where: { $0.key.label == label })?.costs
            else { return nil }
            return (text, costs)
        }
    }

    private var models: [Model] {
        let large = calibrated.map { text, costs in
            var costs = costs
            costs.layers = plan.layers
            let name = String(text.split(separator: ",").first ?? "")
            return Model(label: "\(name) geometry, \(plan.layers) layers", name: name, costs: costs, text: text)
        }
        let own = results.filter { $0.experiment == .context && $0.costs != nil }.max {
            ($0.tokens, $0.ranks) < ($1.tokens, $1.ranks)
        }
        let small = own.flatMap { result in
            result.costs.map { Model(label: result.key.label, name: "default", costs: $0, text: nil) }
        }
        return large + (small.map { [$0] } ?? [])
    }

    /// TTFT of every strategy.
    private struct Point {
        let even, modelled, tsp, causal, zigzag, staircase, ideal: Double

        init(_ costs: LayerCosts, _ link: String, ranks: Int, tokens: Int) {
            var costs = costs
            costs.link = (try? LinkCosts(parsing: link)) ?? costs.link
            let pipeline = Pipeline(costs)
            let cut = Partition.even(tokens, ranks: ranks)
            even = pipeline.run(.runahead, cut).seconds
            modelled = pipeline.run(.runahead, pipeline.modelled(tokens, ranks: ranks)).seconds
            tsp = pipeline.run(.tsp, cut).seconds
            causal = pipeline.run(.tspCausal, cut).seconds
            zigzag = pipeline.run(.zigzag, cut).seconds
            (staircase, ideal) = pipeline.bounds(tokens, ranks: ranks)
        }
    }

    private static func weight(_ costs: LayerCosts) -> Double {
        costs.pair > 0 ? (costs.project + costs.rest) / costs.pair : .infinity
    }

    // MARK: Parts

    /// The simulation beside measured runs of the same layers.
    var check: PaperSection? {
        let measured = results.filter { $0.experiment == .large && !$0.timings.isEmpty }
        let kinds: [(name: String, strategy: PipelineStrategy)] = [
            ("TSP", .tsp), ("TSP causal", .tspCausal), ("zigzag", .zigzag), ("KVR-E", .runahead), ("KVR-M", .runahead),
        ]
        var rows: [[String]] = []
        var errors: [Double] = []
        for result in measured {
            guard let costs = results.first(where: { $0.timings.isEmpty && $0.experiment == .large && $0.key == result.key })?.costs
            else { continue }
            for (name, strategy) in kinds {
                guard let timing = result.timing(name) else { continue }
                let simulated = Pipeline(costs).run(strategy, timing.sizes).seconds
                errors.append(simulated / timing.median)
                rows.append(
                    [
                        result.key.label, "\(result.ranks)", "\(result.tokens)", name, duration(timing.median), duration(simulated),
                        PaperReport.percent(simulated / timing.median),
                        PaperReport.ratio(result, "TSP", name).map(PaperReport.times) ?? "",
                    ])
            }
        }
        guard !rows.isEmpty else { return nil }
        return PaperSection(
            text:
                "## Layers of 7B models here (measured), and the simulation of the same (simulated)\n\nHow far the simulation can be trusted: its costs are timed on "
                + "their own, its times then stand beside runs that it has not seen.\n\n"
                + PaperReport.table(
                    ["model", "ranks", "tokens", "", "measured", "simulated", "error", "measured speed-up over TSP"], rows)
                + String(format: "\nMedian error %.1f %%.\n", (errors.map { abs($0 - 1) }.median ?? 0) * 100))
    }

    /// More ranks than there are cores, longer prompts, other links.
    var beyond: PaperSection? {
        let models = models
        guard !models.isEmpty else { return nil }
        var section = PaperSection(
            text: "## More ranks, longer prompts, other links (simulated)\n\n**Simulated, not measured**: ranks of \(plan.threads) "
                + "threads as this machine's, each with its own memory, links as given. Costs of a layer were measured here; a/b is how many query-key pairs take as long as "
                + "all else of a token.\n\n")
        section.text += PaperReport.table(
            ["model", "before the hand-over", "after it", "a query-key pair", "a/b, tokens"],
            models.map { model in
                let costs = model.costs
                return [
                    model.label, String(format: "%.3g µs a token", costs.project * 1e6),
                    String(format: "%.3g µs a token", costs.rest * 1e6),
                    String(format: "%.3g ns", costs.pair * 1e9), String(format: "%.0f", Self.weight(costs)),
                ]
            })
        for model in models {
            var rows: [[String]] = []
            var series: [Figure.Series] = []
            for ranks in Self.ranks {
                var points: [(Double, Double)] = []
                for tokens in Self.lengths {
                    let point = Point(model.costs, Self.links[0], ranks: ranks, tokens: tokens)
                    points.append((Double(tokens), point.tsp / point.modelled))
                    rows.append(
                        ["\(ranks)", "\(tokens)", duration(point.modelled)]
                            + [point.tsp, point.causal, point.zigzag, point.even].map { PaperReport.times($0 / point.modelled) }
                            + [point.staircase, point.ideal].map { PaperReport.percent(point.modelled / $0) })
                }
                series.append(Figure.Series(name: "\(ranks) ranks", points: points))
            }
            section.text += "\n### \(model.label), links of 300 GB/s (simulated)\n\n"
            section.text += PaperReport.table(
                [
                    "ranks", "tokens", "KVR-M", "over TSP", "over TSP causal", "over zigzag", "over KVR-E", "to TTFT*(p)",
                    "to ideal",
                ], rows)
            section.show(
                "simulated-\(model.name).svg", "Simulated speed-up over TSP",
                Figure(
                    title: "Simulated speed-up over TSP",
                    note: "\(model.label), 300 GB/s; simulated with costs of this machine, not measured",
                    x: "tokens", y: "TTFT of TSP / TTFT of KVR-M", series: series
                ).svg)
        }
        section.text += "\n### Bandwidth (simulated)\n\nSpeed-up of KVR-M over TSP, and over zigzag, by link.\n\n"
        section.text += PaperReport.table(
            ["model", "ranks", "tokens"] + Self.links.map { "\($0.split(separator: ",")[0])" },
            models.flatMap { model in
                [(4, 8192), (8, 8192), (4, 16_384), (8, 16_384)].map { ranks, tokens in
                    [model.label, "\(ranks)", "\(tokens)"]
                        + Self.links.map { link in
                            let point = Point(model.costs, link, ranks: ranks, tokens: tokens)
                            return
                                "\(PaperReport.times(point.tsp / point.modelled)), \(PaperReport.times(point.zigzag / point.modelled))"
                        }
                }
            })
        return section
    }

    /// Beside the paper's figures.
    var paper: PaperSection? {
        let models = models.filter { $0.text != nil }
        guard !models.isEmpty else { return nil }
        var section = PaperSection(
            text:
                "## Beside the paper's 7B results (simulated)\n\nThe paper's best speed-ups over TSP, as summarised: Llama 7B 1.42× (4 GPUs, 12k tokens, 300 GB/s; its "
                + "abstract says over 1.4×), Falcon 7B 1.63× (8 GPUs, 8k; over 1.6×). *Counts* is what operation counts alone predict: the busiest rank of even "
                + "chunks over the balanced one, with attention that skips the triangle, and with the dense mask.\n\n")
        var rows: [[String]] = []
        var texts: [String] = []
        for model in models {
            guard let counts = Self.counts(model.text) else { continue }
            for ranks in [4, 8] {
                for tokens in [8192, 12_288, 16_384] {
                    let point = Point(model.costs, Self.links[0], ranks: ranks, tokens: tokens)
                    let published = Self.published.first { $0.name == model.name && $0.ranks == ranks && $0.tokens == tokens }
                    let counted = Self.counted(counts, ranks: ranks, tokens: tokens)
                    let balance = point.causal / point.modelled
                    let ratios = [point.tsp / point.modelled, point.tsp / point.causal, balance, counted.causal, counted.dense]
                    let gain = published.map { PaperReport.times($0.gain) } ?? ""
                    rows.append([model.name, "\(ranks)", "\(tokens)", gain] + ratios.map { PaperReport.times($0) })
                    if let published { texts.append(Self.difference(published, model, point, counts, counted.dense)) }
                }
            }
        }
        section.text += PaperReport.table(
            [
                "model", "ranks", "tokens", "the paper", "simulated", "of it the mask", "of it the balance", "counts, causal",
                "counts, dense",
            ],
            rows)
        section.text += "\n" + texts.joined(separator: "\n")
        section.text +=
            "\n\nThe simulation knows no stragglers: a barrier costs what the chunks differ, and the all-gather its bytes and latency. What real barriers and collectives take "
            + "beyond that is in the paper's figures, and in the runs that were measured above, but not in these.\n"
        return section
    }

    /// Where a simulated speed-up differs from the paper's, in numbers.
    private static func difference(
        _ published: Published, _ model: Model, _ point: Point, _ counts: CostModel, _ counted: Double
    ) -> String {
        let gain = point.tsp / point.modelled
        let (mask, balance) = (point.tsp / point.causal, point.causal / point.modelled)
        var text = "* \(model.name), \(published.ranks) ranks, \(published.tokens) tokens: simulated \(PaperReport.times(gain)), "
        text += "the paper \(PaperReport.times(published.gain)), counts \(PaperReport.times(counted)). "
        text += "The dense mask makes TSP take \(PaperReport.times(mask)) of TSP causal, and even chunks behind a barrier "
        text += "\(PaperReport.times(balance)) of KVR-M. "
        let expected = counts.perToken / counts.perPair
        let measured = weight(model.costs)
        text += String(
            format: "By counts all other work of a token weighs as much as %.0f query-key pairs, measured here as %.0f: ", expected,
            measured)
        let factor = expected / measured
        text += String(format: "attention weighs %.2f times what its operations do", factor)
        if factor > 1.05 { text += ", as products with weights run in int8 and attention in floats" }
        let outcome = gain > published.gain * 1.05 ? "larger than" : gain < published.gain / 1.05 ? "smaller than" : "about"
        return text + "; the speed-up is \(outcome) the paper's."
    }

    // MARK: Operation counts

    /// FLOP per token and per query-key pair of a layer.
    static func counts(_ text: String?) -> CostModel? {
        guard let text, let model = try? Synthetic(parsing: text) else { return nil }
        let sizes = model.sizes
        let (query, keyValue) = (model.headDimension * sizes.heads, model.headDimension * sizes.keyValueHeads)
        let matrices = (model.preset.architecture == "falcon" ? 2 : 3) * model.preset.blocksOfAToken
        let weights = sizes.width * (2 * query + 2 * keyValue) + matrices * sizes.width * sizes.feedForward
        return CostModel(perToken: 2 * Double(weights), perPair: 4 * Double(query))
    }

    /// The busiest rank of even chunks over the balanced ranks: attention without the triangle, and dense.
    static func counted(_ counts: CostModel, ranks: Int, tokens: Int) -> (causal: Double, dense: Double) {
        let balanced = counts.duration(counts.sizes(of: tokens, ranks: ranks))
        let even = Partition.even(tokens, ranks: ranks)
        let dense = Double(even[0]) * (counts.perToken + counts.perPair * Double(tokens))
        return (counts.duration(even) / balanced, dense / balanced)
    }
}
