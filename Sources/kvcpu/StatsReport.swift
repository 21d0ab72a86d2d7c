import Crypto
import Foundation
import KVModel
import KVRunahead

/// SHA-256 of what a prefill left: the same whatever ranks, threads, partition and link.
struct PrefillHashes: Sendable {
    /// Of the last token's logits, little-endian float32.
    let logits: String
    /// Of the KV-cache's stored elements in the order layer, key/value, head, position.
    let cache: String

    init(_ ranks: Ranks) throws(EngineError) {
        logits = Self.hex(SHA256.hash(data: Data(UnsafeRawBufferPointer(ranks.logits))))
        var hash = SHA256()
        try ranks.cache.forEachStoredRow(positions: ranks.length) { hash.update(bufferPointer: $0) }
        cache = Self.hex(hash.finalize())
    }

    private static func hex(_ digest: SHA256.Digest) -> String { digest.map { String(format: "%02x", $0) }.joined() }
}

/// The closing block of a run.
struct StatsReport {
    let engine: Engine
    let summary: GenerationEvent.Summary
    /// Of the draws; nil where it is not known.
    var seed: UInt64?

    private var prefillSpeed: Double { Double(summary.promptTokens - summary.reusedTokens) / summary.prefillDuration }

    private var processes: String { engine.configuration.rankMode == .process ? " in processes" : "" }

    func text() -> String {
        let information = engine.information
        var lines = [
            "model      \((information.modelPath as NSString).lastPathComponent) (\(information.architecture)), kernels \(information.kernels)",
            "ranks      \(information.ranks) × \(information.threadsPerRank) threads\(processes), \(engine.configuration.strategy.rawValue), "
                + "link \(information.link.rawValue), partition \(summary.partition.map(String.init).joined(separator: ","))",
            String(
                format: "prefill    %d tokens%@, TTFT %@ (%.1f tokens/s)", summary.promptTokens,
                summary.reusedTokens > 0 ? ", \(summary.reusedTokens) of them known" : "", duration(summary.timeToFirstToken),
                prefillSpeed),
        ]
        if let time = summary.timePerOutputToken {
            lines.append(
                String(
                    format: "decode     %d tokens, TPOT %@ (%.1f tokens/s), ended by %@", summary.generatedTokens, duration(time),
                    1 / time, summary.stopReason.rawValue))
        } else {
            lines.append("decode     \(summary.generatedTokens) tokens, ended by \(summary.stopReason.rawValue)")
        }
        if let seed { lines.append("seed       \(seed)") }
        lines.append(work)
        for rank in 0..<information.ranks where summary.partition[rank] > 0 { lines.append(bar(rank)) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The paper's figures: dot products of one head on each rank, and rows of K and V handed over.
    private var work: String {
        func list(_ values: [Int]) -> String { values.map(String.init).joined(separator: "/") }
        let first = summary.accounting.layer(0)
        let total = summary.accounting.total
        return "work       a layer: query × key \(list(first.map(\.rectangle))) per head, computed \(list(first.map(\.scores))), "
            + "\(first.reduce(0) { $0 + $1.rows }) rows exchanged; all layers: computed \(list(total.map(\.scores))), "
            + "\(total.reduce(0) { $0 + $1.rows }) rows"
    }

    /// A rank's time by activity, as a bar of the prefill's length.
    private func bar(_ rank: Int) -> String {
        let cells = 30.0
        let parts = Timeline.Activity.allCases.map { summary.timeline.total($0, rank: rank) }
        let marks = ["█", "░", "▒"]
        var bar = ""
        for (time, mark) in zip(parts, marks) {
            bar += String(repeating: mark, count: Int((time / summary.prefillDuration * cells).rounded()))
        }
        let texts = zip(Timeline.Activity.allCases, parts).map { activity, time in
            String(format: "%@ %@ (%.0f %%)", activity.rawValue, duration(time), time / summary.prefillDuration * 100)
        }
        let padding = String(repeating: " ", count: max(0, Int(cells) - bar.count))
        return "rank \(rank)     \(bar)\(padding) " + texts.joined(separator: ", ")
    }

    private struct JSON: Encodable {
        struct Rank: Encodable {
            let computeMs, waitMs, sendMs: Double
            /// Of the first layer, and of all.
            let layer, total: Work
        }
        struct Work: Encodable {
            let rectangle, causal, scores, rows: Int
            init(_ work: Accounting.Work) {
                rectangle = work.rectangle
                causal = work.causal
                scores = work.scores
                rows = work.rows
            }
        }
        let model, architecture, kernels, link, strategy, rankMode: String
        let ranks, threadsPerRank: Int
        let partition: [Int]
        let nPrompt, nReused, nGen: Int
        let ttftMs, prefillMs, prefillTs: Double
        let tpotMs, decodeTs: Double?
        let stopReason: String
        let seed: UInt64?
        /// Of the answer, where it belongs to the same object.
        let text, finishReason: String?
        let bytesHandedOver: UInt64
        let perRank: [Rank]
        let logitsSha256, kvSha256: String?
        /// Only where it was asked for.
        let verified: Bool?
    }

    /// One object on one line.
    /// - Parameter text: the answer, which then is in it, with what ended it under `finish_reason`: stop, length, or context.
    func json(_ hashes: PrefillHashes?, text: String? = nil) -> String {
        let information = engine.information
        let layer = summary.accounting.layer(0)
        let total = summary.accounting.total
        let json = JSON(
            model: information.modelPath, architecture: information.architecture, kernels: information.kernels,
            link: information.link.rawValue, strategy: engine.configuration.strategy.rawValue,
            rankMode: engine.configuration.rankMode.rawValue, ranks: information.ranks,
            threadsPerRank: information.threadsPerRank, partition: summary.partition, nPrompt: summary.promptTokens,
            nReused: summary.reusedTokens, nGen: summary.generatedTokens, ttftMs: summary.timeToFirstToken * 1e3,
            prefillMs: summary.prefillDuration * 1e3,
            prefillTs: prefillSpeed, tpotMs: summary.timePerOutputToken.map { $0 * 1e3 },
            decodeTs: summary.timePerOutputToken.map { 1 / $0 }, stopReason: summary.stopReason.rawValue, seed: seed,
            text: text, finishReason: text.map { _ in summary.stopReason.rawValue },
            bytesHandedOver: summary.bytesHandedOver,
            perRank: (0..<information.ranks).map { rank in
                JSON.Rank(
                    computeMs: summary.timeline.total(.compute, rank: rank) * 1e3,
                    waitMs: summary.timeline.total(.wait, rank: rank) * 1e3,
                    sendMs: summary.timeline.total(.send, rank: rank) * 1e3, layer: JSON.Work(layer[rank]),
                    total: JSON.Work(total[rank]))
            }, logitsSha256: hashes?.logits, kvSha256: hashes?.cache,
            verified: summary.verification.map { _ in true })
        return Self.line(json)
    }

    /// The object of an answer that the user ended.
    static func interrupted(_ text: String) -> String { line(["text": text, "finish_reason": "interrupted"]) }

    private static func line(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }
}

/// A prefill's timeline as text: a row per rank, time to the right.
struct TimelineChart {
    let timeline: Timeline

    init(_ timeline: Timeline) { self.timeline = timeline }

    /// What a rank did most in each column's time.
    func text(width: Int) -> String {
        let end = timeline.spans.map(\.end).max() ?? 0
        guard end > 0 else { return "" }
        let columns = max(20, min(160, width - 10))
        var lines = ["timeline   0 … \(duration(end)); █ compute, ░ wait, ▒ send"]
        for rank in 0..<timeline.ranks {
            var cells = [[Double]](repeating: [0, 0, 0], count: columns)
            for span in timeline.spans where span.rank == rank {
                let index = Timeline.Activity.allCases.firstIndex(of: span.activity) ?? 0
                let first = Int(span.start / end * Double(columns))
                let last = min(columns - 1, Int(span.end / end * Double(columns)))
                for column in first...max(first, last) where column < columns {
                    let from = max(span.start, Double(column) / Double(columns) * end)
                    let to = min(span.end, Double(column + 1) / Double(columns) * end)
                    cells[column][index] += max(0, to - from)
                }
            }
            let row = cells.map { cell -> String in
                guard let most = cell.max(), most > 0, let index = cell.firstIndex(of: most) else { return " " }
                return ["█", "░", "▒"][index]
            }
            lines.append("rank \(rank)".padding(toLength: 9, withPad: " ", startingAt: 0) + row.joined())
        }
        return lines.map { $0 + "\n" }.joined()
    }
}
