import Foundation
import KVRunahead

/// Shows what searches found: a table, drawings in the terminal, figures.
struct PlanReport {
    private struct Row: Encodable {
        let model: String
        let ranks, threadsPerRank, tokens: Int
        let sizes: [Int]
        let ratios: [Double]
        let ttftMs, evenMs: Double
        let modelledMs: Double?
        let modelledSizes: [Int]?
        let isSettled: Bool
        let timings: Int
    }

    let command: PlanCommand
    private var rows: [Row] = []
    private var findings: [(ranks: Int, finding: PlanFinding)] = []

    init(_ command: PlanCommand) { self.command = command }

    mutating func add(_ engine: Engine, _ finding: PlanFinding, _ tokens: Int) {
        let entry = finding.entry
        rows.append(
            Row(
                model: engine.information.modelPath, ranks: engine.information.ranks,
                threadsPerRank: engine.information.threadsPerRank, tokens: tokens, sizes: entry.sizes,
                ratios: entry.sizes.map { (Double($0) / Double(tokens) * 10_000).rounded() / 10_000 }, ttftMs: entry.seconds * 1e3,
                evenMs: entry.even * 1e3, modelledMs: entry.modelled.map { $0 * 1e3 }, modelledSizes: finding.modelled,
                isSettled: entry.isSettled, timings: finding.samples.reduce(0) { $0 + $1.seconds.count }))
        findings.append((engine.information.ranks, finding))
    }

    func finish() throws {
        switch command.output {
        case .json: try Terminal.report(PlanCommand.json(rows))
        case .md:
            try Terminal.report(table)
            for (ranks, finding) in findings where ranks == 2 { try Terminal.report("\n" + Self.plot(finding)) }
            try Terminal.report("\n" + shares)
        }
        try figures()
    }

    private var table: String {
        var text =
            "| ranks | tokens | partition | per cent | TTFT searched | even | modelled | searched to even | modelled to searched | |\n"
            + "| ---: | ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
        for row in rows {
            let cells = [
                "\(row.ranks) × \(row.threadsPerRank)", "\(row.tokens)", row.sizes.map(String.init).joined(separator: ","),
                row.ratios.map { String(format: "%.1f", $0 * 100) }.joined(separator: " / "), duration(row.ttftMs / 1e3),
                duration(row.evenMs / 1e3), row.modelledMs.map { duration($0 / 1e3) } ?? "",
                String(format: "%+.1f %%", (row.ttftMs / row.evenMs - 1) * 100),
                row.modelledMs.map { String(format: "%+.1f %%", ($0 / row.ttftMs - 1) * 100) } ?? "",
                row.isSettled ? "" : "budget spent",
            ]
            text += "| " + cells.joined(separator: " | ") + " |\n"
        }
        return text
    }

    /// Share of the first rank and median TTFT in milliseconds of each cut that was timed, in order.
    private static func points(_ finding: PlanFinding) -> [(x: Double, y: Double)] {
        finding.samples.compactMap { sample in
            sample.seconds.median.map { (Double(sample.sizes[0]) / Double(finding.entry.tokens) * 100, $0 * 1e3) }
        }.sorted { $0.0 < $1.0 }
    }

    /// TTFT over the cut, in characters.
    private static func plot(_ finding: PlanFinding) -> String {
        let points = points(finding)
        let best = Double(finding.entry.sizes[0]) / Double(finding.entry.tokens) * 100
        guard let left = points.first?.x, let right = points.last?.x, right > left, let low = points.map(\.y).min(),
            let high = points.map(\.y).max(), high > low
        else { return "" }
        let (columns, rows) = (60, 10)
        var cells = [[Character]](repeating: [Character](repeating: " ", count: columns), count: rows)
        for point in points {
            let column = Int((point.x - left) / (right - left) * Double(columns - 1))
            let row = Int((high - point.y) / (high - low) * Double(rows - 1))
            if cells[row][column] != "◆" { cells[row][column] = abs(point.x - best) < 1e-9 ? "◆" : "·" }
        }
        var text = "\(finding.entry.tokens) tokens: TTFT over the first rank's share (◆ fastest)\n"
        for (index, row) in cells.enumerated() {
            let label = index == 0 ? duration(high / 1e3) : index == rows - 1 ? duration(low / 1e3) : ""
            text += String(repeating: " ", count: max(0, 10 - label.count)) + label + " │" + String(row) + "\n"
        }
        let ends = (String(format: "%.1f %%", left), String(format: "%.1f %%", right))
        let gap = max(1, columns - ends.0.count - ends.1.count)
        return text + String(repeating: " ", count: 11) + "└" + String(repeating: "─", count: columns) + "\n"
            + String(repeating: " ", count: 12) + ends.0 + String(repeating: " ", count: gap) + ends.1 + "\n"
    }

    /// The ranks' shares by length, in characters.
    private var shares: String {
        let marks: [Character] = ["█", "▓", "▒", "░"]
        var text = "shares of the ranks, first to last\n"
        for row in rows {
            var bar = ""
            var cut = 0.0
            for (rank, ratio) in row.ratios.enumerated() {
                let first = Int((cut * 60).rounded())
                cut += ratio
                bar += String(repeating: marks[rank % marks.count], count: max(0, Int((cut * 60).rounded()) - first))
            }
            let label = "\(row.ranks) ranks \(row.tokens)"
            text += label + String(repeating: " ", count: max(1, 16 - label.count)) + bar + "\n"
        }
        return text
    }

    private func figures() throws {
        guard command.svg != nil, let model = rows.first?.model.split(separator: "/").last.map(String.init) else { return }
        let cuts = findings.filter { $0.ranks == 2 }
        if !cuts.isEmpty {
            let figure = Figure(
                title: "TTFT over the cut, 2 ranks", note: "\(model), measured; medians, relative to the fastest cut",
                x: "share of the first rank, per cent", y: "TTFT / fastest",
                series: cuts.map { _, finding in
                    let points = Self.points(finding)
                    let low = finding.entry.seconds * 1e3
                    return Figure.Series(name: "\(finding.entry.tokens) tokens", points: points.map { ($0.x, $0.y / low) })
                })
            try command.write(figure.svg, "ttft-over-cut.svg")
        }
        let chart = ShareChart(
            title: "Fastest partitions", note: "\(model), measured",
            bars: rows.map { ("\($0.ranks) × \($0.threadsPerRank), \($0.tokens)", $0.ratios) })
        try command.write(chart.svg, "partitions.svg")
    }
}
