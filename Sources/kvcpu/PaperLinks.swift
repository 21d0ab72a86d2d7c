import Foundation
import KVGGUF
import KVRunahead

/// The measured parts about slow and noisy links, and about attention's geometry.
extension PaperReport {
    private func throttles(_ result: PaperResult) -> [String?] {
        var seen: [String?] = []
        for timing in result.timings where !seen.contains(timing.throttle) { seen.append(timing.throttle) }
        return seen
    }

    private func names(_ result: PaperResult) -> [String] {
        var seen: [String] = []
        for timing in result.timings where !seen.contains(timing.name) { seen.append(timing.name) }
        return seen
    }

    private func throttled(_ text: String) -> Double? { (try? LinkProfile(parsing: text))?.bandwidth }

    var bandwidth: PaperSection? {
        guard let result = all(.bandwidth).first else { return nil }
        let names = names(result)
        let links = throttles(result)
        var section = PaperSection(
            text:
                "## Bandwidth (measured)\n\n\(result.tokens) tokens, \(result.ranks) ranks, links throttled to a bandwidth (all that leaves a rank shares it) and a "
                + "latency of 5 µs. A CPU rank computes slower than a GPU, so that a link hurts at lower bandwidths than the paper's 10 GB/s.\n\n"
        )
        section.text += Self.table(
            ["link"] + names + ["KVR-M over TSP", "over zigzag"],
            links.map { link in
                [Self.link(link)] + names.map { duration(result.timing($0, link)?.median ?? 0) }
                    + ["TSP", "zigzag"].map { Self.ratio(result, $0, "KVR-M", link).map(Self.times) ?? "" }
            })
        let gains = links.compactMap { link in
            link.flatMap(throttled).flatMap { rate in Self.ratio(result, "TSP", "KVR-M", link).map { (rate: rate, gain: $0) } }
        }.sorted { $0.rate > $1.rate }
        if let fast = gains.first, let slow = gains.last, gains.count > 1 {
            section.text += String(
                format:
                    "\nFrom %@ to %@ the speed-up over TSP goes from %.2f× to %.2f×: %@ (the paper names larger gains at 10 GB/s, 1.79×).\n",
                Self.rate(fast.rate), Self.rate(slow.rate), fast.gain, slow.gain,
                slow.gain > fast.gain ? "it grows, as in the paper" : "it does not grow here")
        }
        section.show(
            "bandwidth.svg", "Speed-up over TSP by bandwidth, measured",
            Figure(
                title: "Slow links", note: "measured, \(result.tokens) tokens, \(result.ranks) ranks, throttled links",
                x: "bandwidth, log10 of GB/s", y: "TTFT / TTFT of KVR-M at 300 GB/s",
                series: names.map { name in
                    let base = result.timing("KVR-M", links.compactMap { $0 }.first)?.median ?? .nan
                    return Figure.Series(
                        name: name,
                        points: links.compactMap { link in
                            link.flatMap(throttled).map { (log10($0 / 1e9), (result.timing(name, link)?.median ?? .nan) / base) }
                        })
                }
            ).svg)
        return section
    }

    private static func rate(_ bytes: Double) -> String {
        bytes >= 1e9 ? String(format: "%.4g GB/s", bytes / 1e9) : String(format: "%.4g MB/s", bytes / 1e6)
    }

    var noise: PaperSection? {
        guard let result = all(.noise).first else { return nil }
        let links = throttles(result)
        guard let quiet = links.first, links.count > 1 else { return nil }
        let names = names(result)
        func growth(_ name: String, _ link: String?) -> Double {
            (result.timing(name, link)?.median ?? .nan) / (result.timing(name, quiet)?.median ?? .nan)
        }
        var section = PaperSection(
            text:
                "## Noise (measured)\n\n\(result.tokens) tokens, \(result.ranks) ranks, quiet links `\(quiet ?? "")`, and the same with seeded side traffic "
                + "(`\(PaperExperiment.noises.first?.split(separator: ",").dropFirst(2).joined(separator: ",") ?? "")` and other seeds). Growth of the TTFT by the noise:\n\n"
        )
        section.text += Self.table(
            ["links"] + names,
            links.enumerated().map { index, link in
                index == 0
                    ? ["quiet, TTFT"] + names.map { duration(result.timing($0, link)?.median ?? 0) }
                    : ["noise \(index)"] + names.map { Self.percent(growth($0, link)) }
            })
        let noisy = Array(links.dropFirst())
        for name in ["KVR-E", "KVR-M"] where names.contains(name) {
            let holds = noisy.map { growth(name, $0) < growth("TSP", $0) }
            section.text +=
                "\n\(name) grows less than TSP \(Self.share(holds)): worst \(Self.percent(noisy.map { growth(name, $0) }.max() ?? .nan)) against "
                + "\(Self.percent(noisy.map { growth("TSP", $0) }.max() ?? .nan))."
        }
        section.text +=
            " (The paper's worst, as summarised: KVR 2.7 %, TSP 11.8 %.) A barrier waits for the latest message of every layer, so that delays "
            + "add up; a chain is as late as its latest message, once.\n"
        section.show(
            "noise.svg", "Growth by noise, measured",
            Figure(
                title: "Noisy links", note: "measured, \(result.tokens) tokens, \(result.ranks) ranks, seeded side traffic",
                x: "seed of the noise", y: "TTFT noisy / quiet",
                series: names.map { name in
                    Figure.Series(name: name, points: noisy.enumerated().map { (Double($0 + 1), growth(name, $1)) })
                }
            ).svg)
        return section
    }

    var attention: PaperSection? {
        let results = all(.attention)
        guard let first = results.first else { return nil }
        var section = PaperSection(
            text:
                "## Multi-head, grouped-query and multi-query attention (measured)\n\n\(first.tokens) tokens, \(first.ranks) ranks, one geometry with random weights "
                + "(`\(plan.variants.first?.model ?? "")` and fewer key/value heads).\n\n")
        let names = names(first)
        var rows: [[String]] = []
        var gains: [(name: String, gain: Double)] = []
        for result in results {
            let variant =
                plan.variants.first { (try? ModelSource.synthetic($0.model).open().path) == result.key.label }?.name
                ?? result.key.label
            for link in throttles(result) {
                rows.append(
                    [variant, Self.link(link), result.costs.map { String(format: "%.0f B", $0.rowBytes) } ?? ""]
                        + names.map { duration(result.timing($0, link)?.median ?? 0) }
                        + ["TSP", "zigzag"].map { Self.ratio(result, $0, "KVR-M", link).map(Self.times) ?? "" })
                if link != nil, let gain = Self.ratio(result, "TSP", "KVR-M", link) { gains.append((variant, gain)) }
            }
        }
        section.text += Self.table(
            ["attention", "link", "a token's keys and values, a layer"] + names + ["KVR-M over TSP", "over zigzag"], rows)
        if !gains.isEmpty {
            section.text +=
                "\nOver slow links the speed-up is "
                + gains.map { "\(Self.times($0.gain)) with \($0.name)" }.joined(separator: ", ")
                + ": fewer key/value heads, fewer bytes on the link.\n"
        }
        return section
    }
}
