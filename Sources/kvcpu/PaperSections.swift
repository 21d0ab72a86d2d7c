import Foundation
import KVRunahead

/// The measured parts over lengths and ranks.
extension PaperReport {
    private static let kinds = ["TSP", "TSP causal", "zigzag", "KVR-E", "KVR-S", "KVR-P", "KVR-M"]

    private func alone(_ tokens: Int) -> Double? {
        all(.context).first { $0.ranks == 1 && $0.tokens == tokens }?.timing("one rank")?.median
    }

    var context: PaperSection? {
        guard !parallel.isEmpty else { return nil }
        var section = PaperSection(text: "## TTFT by context length and ranks (measured)\n\n")
        let rows = parallel.map { result in
            let times = Self.kinds.map { name in result.timing(name).map { duration($0.median) } ?? "" }
            return ["\(result.tokens)", "\(result.ranks)", alone(result.tokens).map(duration) ?? ""]
                + [result.timing("one rank").map { duration($0.median) } ?? ""] + times
        }
        section.text += Self.table(["tokens", "ranks", "1 rank's threads", "all threads, one rank"] + Self.kinds, rows)
        section.text += "\nSpeed-up of the best KV-Runahead run, and of KVR-M, measured:\n\n"
        section.text += Self.table(
            [
                "tokens", "ranks", "best", "over TSP", "over TSP causal", "over zigzag", "over one rank of all threads",
                "over 1 rank's threads", "KVR-M over TSP",
            ],
            parallel.map { result in
                let best = Self.best(result)
                func over(_ seconds: Double?) -> String { seconds.map { Self.times($0 / (best?.median ?? .nan)) } ?? "" }
                return ["\(result.tokens)", "\(result.ranks)", best?.name ?? ""]
                    + ["TSP", "TSP causal", "zigzag", "one rank"].map { over(result.timing($0)?.median) }
                    + [over(alone(result.tokens)), Self.ratio(result, "TSP", "KVR-M").map(Self.times) ?? ""]
            })
        let ratios = parallel.compactMap { Self.ratio($0, "TSP", "KVR-M") }
        let even = parallel.compactMap { Self.ratio($0, "TSP", "KVR-E") }
        section.text +=
            "\nKVR-M is faster than TSP \(Self.share(ratios.map { $0 > 1 })): \(Self.span(ratios)). KVR-E is \(Self.span(even)) "
            + "(the paper found it sometimes slower than TSP at short contexts). Over zigzag, which balances the work too, KVR-M is at "
            + "\(Self.span(parallel.compactMap { Self.ratio($0, "zigzag", "KVR-M") })).\n"
        for ranks in Set(parallel.map(\.ranks)).sorted() {
            let mine = parallel.filter { $0.ranks == ranks }
            func series(_ names: [String], _ value: (PaperResult, String) -> Double?) -> [Figure.Series] {
                names.map { name in
                    Figure.Series(
                        name: name, points: mine.compactMap { item in value(item, name).map { (Double(item.tokens), $0) } })
                }
            }
            let names = ["one rank"] + Self.kinds
            let note =
                "measured, \(mine[0].key.label), \(ranks) ranks of \(mine[0].threads) threads; median of \(plan.rounds) rounds"
            section.show(
                "ttft-\(ranks)-ranks.svg", "TTFT, measured",
                Figure(
                    title: "TTFT by context length", note: note, x: "tokens", y: "seconds",
                    series: series(names) { $0.timing($1)?.median }, fromZero: true
                ).svg)
            section.show(
                "speed-up-\(ranks)-ranks.svg", "Speed-up over TSP, measured",
                Figure(
                    title: "Speed-up over TSP", note: note, x: "tokens", y: "TTFT of TSP / TTFT",
                    series: series(names.filter { $0 != "TSP" }) { Self.ratio($0, "TSP", $1) }
                ).svg)
        }
        return section
    }

    static func ratio(_ result: PaperResult, _ slow: String, _ fast: String, _ throttle: String? = nil) -> Double? {
        guard let slow = result.timing(slow, throttle)?.median, let fast = result.timing(fast, throttle)?.median, fast > 0 else {
            return nil
        }
        return slow / fast
    }

    private static func best(_ result: PaperResult) -> PaperResult.Timing? {
        result.timings.filter { $0.strategy == "runahead" && $0.throttle == nil }.min { $0.median < $1.median }
    }

    /// The four partitions beside the bounds.
    var bounds: PaperSection? {
        guard !parallel.isEmpty else { return nil }
        var section = PaperSection(
            text: """
                ## Partitions and the lower bounds (measured)

                TTFT*(p) is the paper's bound, the area of an even staircase, with its linear part: the costs of a token and of a query-key pair are \
                the ones measured beside the runs. The kernels skip the upper triangle, so that uneven chunks can be below it: the cap is all work \
                shared out evenly, *ideal*, and independently of any fitted cost the time of one rank's threads over p. A negative distance to these \
                two is an error of the costs, or a disturbed measurement.


                """)
        let names = ["KVR-E", "KVR-S", "KVR-P", "KVR-M"]
        var rows: [[String]] = []
        var gaps: [String: [Double]] = [:]
        for result in parallel {
            let bounds = result.costs.map { Pipeline($0).bounds(result.tokens, ranks: result.ranks) }
            for name in names {
                guard let timing = result.timing(name) else { continue }
                let shares = timing.sizes.map { String(format: "%.1f", Double($0) / Double(result.tokens) * 100) }
                let searched = result.timing("KVR-S")?.median
                if let searched { gaps[name, default: []].append(timing.median / searched) }
                rows.append(
                    [
                        "\(result.tokens)", "\(result.ranks)", name, shares.joined(separator: " / "), duration(timing.median),
                        searched.map { Self.percent(timing.median / $0) } ?? "",
                        bounds.map { Self.percent(timing.median / $0.staircase) } ?? "",
                        bounds.map { Self.percent(timing.median / $0.ideal) } ?? "",
                        alone(result.tokens).map { Self.percent(timing.median / ($0 / Double(result.ranks))) } ?? "",
                    ])
            }
        }
        section.text += Self.table(
            ["tokens", "ranks", "partition", "per cent", "TTFT", "to KVR-S", "to TTFT*(p)", "to ideal", "to TTFT(1)/p"], rows)
        for (name, remark) in [("KVR-P", " (the paper: within 1.3 %)"), ("KVR-M", ""), ("KVR-E", "")] {
            if let gaps = gaps[name] { section.text += "\n\(name) against KVR-S: \(Self.span(gaps, Self.percent))\(remark)." }
        }
        section.text += "\n"
        if all(.search).contains(where: { $0.isSettled == false }) {
            let open = all(.search).filter { $0.isSettled == false }.map { "\($0.tokens) tokens on \($0.ranks)" }
            section.text += "\nThe search's time ended before it was settled at \(open.joined(separator: ", ")).\n"
        }
        let bars = parallel.flatMap { result in
            names.compactMap { name in
                result.timing(name).map { timing in
                    (label: "\(name), \(result.tokens)", shares: timing.sizes.map { Double($0) / Double(result.tokens) })
                }
            }
        }
        section.show(
            "partitions.svg", "Partitions that were measured",
            ShareChart(
                title: "Partitions", note: "per cent of the tokens for each rank, in order; the runs are measured", bars: bars
            ).svg)
        return section
    }

    var breakdown: PaperSection? {
        guard let result = parallel.max(by: { ($0.ranks, $0.tokens) < ($1.ranks, $1.tokens) }) else { return nil }
        var section = PaperSection(
            text:
                "## Compute, wait and exchange of each rank (measured)\n\n\(result.tokens) tokens, \(result.ranks) ranks; the round of the median. "
                + "*Done* is what is left until the first token: early ranks end early.\n\n")
        var rows: [[String]] = []
        var bars: [(label: String, shares: [Double])] = []
        for timing in result.timings where timing.median > 0 {
            for rank in timing.compute.indices {
                let parts = [timing.compute[rank], timing.wait[rank], timing.exchange[rank]]
                let total = max(timing.median, parts.reduce(0, +))
                let idle = total - parts.reduce(0, +)
                rows.append(
                    [timing.name, "\(rank)"] + (parts + [idle]).map { duration($0) }
                        + [String(format: "%.1f %%", parts[1] / total * 100), rank == 0 ? "\(timing.rows)" : ""])
                bars.append(("\(timing.name), rank \(rank)", (parts + [idle]).map { $0 / total }))
            }
        }
        section.text += Self.table(
            ["", "rank", "compute", "wait", "exchange", "done", "wait, share", "rows exchanged a layer, all ranks"], rows)
        section.show(
            "breakdown.svg", "Compute, wait and exchange, measured",
            ShareChart(
                title: "Where the time until the first token goes",
                note: "measured, \(result.tokens) tokens, \(result.ranks) ranks; per cent of each run's TTFT", bars: bars,
                names: ["compute", "wait", "exchange", "done"]
            ).svg)
        return section
    }

    var memory: PaperSection? {
        guard let result = parallel.filter({ !$0.memory.isEmpty }).max(by: { ($0.ranks, $0.tokens) < ($1.ranks, $1.tokens) }) else {
            return nil
        }
        func text(_ bytes: Int) -> String { MemoryPlan.text(bytes) }
        var section = PaperSection(
            text:
                "## Memory per rank (planned and counted)\n\n\(result.tokens) tokens, \(result.ranks) ranks. Ranks on one node share one copy of the weights; with "
                + "link `shared` also one KV-cache, with `ring` each rank has its own.\n\n")
        section.text += Self.table(
            ["link", "weights, once", "KV-cache of all ranks", "a rank's", "scratch of a rank", "rings, all"],
            result.memory.map { memory in
                [
                    memory.link, text(memory.weights), text(memory.caches),
                    memory.link == "ring" ? text(memory.caches / result.ranks) : "shared", text(memory.arenas / result.ranks),
                    text(memory.rings),
                ]
            })
        guard let cache = result.memory.first(where: { $0.link == "shared" })?.caches else { return section }
        section.text +=
            "\nOf a KV-cache of its own, a rank fills: an all-gather's everything, KV-Runahead's all up to the end of its chunk.\n\n"
        var rows: [[String]] = []
        for timing in result.timings where timing.strategy != "sequential" {
            var end = 0
            let filled = timing.sizes.map { size in
                end += size
                return timing.strategy == "runahead" ? end : result.tokens
            }
            rows.append(
                [timing.name] + [filled.map { text(cache / result.tokens * $0) }.joined(separator: ", ")]
                    + [text(cache / result.tokens * filled.reduce(0, +))])
        }
        section.text += Self.table(["", "of each rank", "all"], rows)
        return section
    }
}
