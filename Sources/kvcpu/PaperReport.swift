import Foundation
import KVGGUF
import KVRunahead

/// One part of the report: text, and the figures that it shows.
struct PaperSection {
    var text: String
    var figures: [(name: String, svg: String)] = []

    /// Adds a figure and the line that shows it.
    mutating func show(_ name: String, _ title: String, _ svg: String) {
        figures.append((name, svg))
        text += "\n![\(title)](paper/\(name))\n"
    }
}

/// Writes PAPER.md and its figures, from results alone.
struct PaperReport {
    let plan: PaperPlan
    let results: [PaperResult]
    let folder: String

    /// - Returns: the paths written.
    func write() throws -> [String] {
        let large = PaperSimulation(plan: plan, results: results)
        let sections = [
            context, bounds, breakdown, bandwidth, noise, attention, memory, large.check, large.beyond, large.paper,
        ].compactMap { $0 }
        guard !sections.isEmpty else { throw Failure.run("there are no results yet: run without --report") }
        var written: [String] = []
        do {
            try FileManager.default.createDirectory(atPath: folder + "/paper", withIntermediateDirectories: true)
            for figure in sections.flatMap(\.figures) {
                try OutputFile.write(figure.svg, to: folder + "/paper/" + figure.name)
                written.append(folder + "/paper/" + figure.name)
            }
            let text = ([head] + sections.map(\.text)).joined(separator: "\n")
            try OutputFile.write(text, to: folder + "/PAPER.md")
            written.append(folder + "/PAPER.md")
        } catch let error as OutputError { throw error } catch {
            throw Failure.run("\(folder): \(systemReason(error))")
        }
        return written
    }

    private var head: String {
        let machine = Set(results.map(\.key.machine)).sorted { ($0.count, $0) < ($1.count, $1) }.first ?? ""
        let short = machine.split(separator: ";").map { $0.trimmingCharacters(in: .whitespaces) }
        return """
            # The paper's experiments on this machine

            KV-Runahead (Cho, Rastegari, Naik, ICML 2024) measured GPUs of one node; this is the same comparison with ranks of \(plan.threads) \
            pinned thread\(plan.threads == 1 ? "" : "s") on \(short.first ?? "a CPU") (\(short.last ?? "") kernels), written by \
            `kvcpu paper\(plan.quick ? " --quick" : "")` from `paper/results.jsonl`.

            * **Measured**: the median of \(plan.rounds) rounds, in which the compared runs take turns on the same threads. \
            **Simulated**: the pipeline's simulation with costs that were measured here. Every table and figure says which it is.
            * All strategies use the same kernels and give the same bits. *One rank* is one chunk computed by all threads together; *TSP* is the paper's \
            baseline (even chunks, all-gather behind a barrier in every layer, dense attention with a mask); *TSP causal* skips what the mask \
            hides; *zigzag* also balances it. *KVR-E, -S, -P, -M*: KV-Runahead with even, searched, predicted (interpolated between the searches of \
            the neighbouring lengths) and modelled (fitted to timed chunks) partitions.
            * The model is \(results.first { $0.experiment == .context || $0.experiment == .search }?.key.label ?? "said at each table") \
            where nothing else is said.

            """
    }

    func all(_ experiment: PaperExperiment) -> [PaperResult] { results.filter { $0.experiment == experiment } }

    /// Comparisons of several ranks.
    var parallel: [PaperResult] { all(.context).filter { $0.ranks > 1 } }

    // MARK: Text

    static func table(_ columns: [String], _ rows: [[String]]) -> String {
        let line = { (cells: [String]) in "| " + cells.joined(separator: " | ") + " |\n" }
        return line(columns) + "|" + String(repeating: " ---: |", count: columns.count) + "\n" + rows.map(line).joined()
    }

    static func times(_ ratio: Double) -> String { ratio.isFinite ? String(format: "%.2f×", ratio) : "" }
    static func percent(_ ratio: Double) -> String { ratio.isFinite ? String(format: "%+.1f %%", (ratio - 1) * 100) : "" }

    /// "1.10× to 1.31×", of ratios.
    static func span(_ ratios: [Double], _ format: (Double) -> String = times) -> String {
        guard let low = ratios.min(), let high = ratios.max() else { return "" }
        return format(low) == format(high) ? format(low) : "\(format(low)) to \(format(high))"
    }

    /// "in all 3 cases", "in 2 of 3 cases", "in none of 3 cases".
    static func share(_ holds: [Bool]) -> String {
        let count = holds.filter { $0 }.count
        if count == holds.count { return holds.count == 1 ? "in the one case" : "in all \(count) cases" }
        return count == 0 ? "in none of \(holds.count) cases" : "in \(count) of \(holds.count) cases"
    }

    /// A link as a reader names it.
    static func link(_ throttle: String?) -> String {
        guard let throttle, let profile = try? LinkProfile(parsing: throttle) else { return "this machine's memory" }
        return profile.bandwidth >= 1e9
            ? String(format: "%.4g GB/s", profile.bandwidth / 1e9) : String(format: "%.4g MB/s", profile.bandwidth / 1e6)
    }
}
