import KVModel
import XCTest

import KVRunahead

/// The worked example of the paper, 9 tokens on 3 ranks, counted by the ranks themselves; the expected numbers are the paper's.
final class AccountingTests: XCTestCase {
    private func ranks(_ count: Int, _ link: Configuration.Link = .shared) throws -> Ranks {
        var configuration = Configuration(model: "")
        configuration.ranks = count
        configuration.threadsPerRank = 1
        configuration.link = link
        let model = try TestModels.model(TestModels.fixture("llama-mha-tied-rope3"), .int8)
        return try TestModels.ranks(model, configuration, context: 128)
    }

    private static let prompt = [Int32](1...9)

    private func check(
        _ ranks: Ranks, _ strategy: Configuration.Strategy, _ partition: Partition? = nil, rectangle: [Int], causal: [Int],
        scores: [Int], rows: [Int], file: StaticString = #filePath, line: UInt = #line
    ) throws {
        let prefill = try ranks.prefill(Self.prompt, strategy: strategy, partition: partition)
        // A layer that is not pruned.
        let layer = prefill.accounting.layer(0)
        XCTAssertEqual(layer.map(\.rectangle), rectangle, "\(strategy) rectangle", file: file, line: line)
        XCTAssertEqual(layer.map(\.causal), causal, "\(strategy) causal", file: file, line: line)
        XCTAssertEqual(layer.map(\.scores), scores, "\(strategy) scores", file: file, line: line)
        XCTAssertEqual(layer.map(\.rows), rows, "\(strategy) rows", file: file, line: line)
        // What the links say they carried, in bytes.
        let rowBytes = ranks.model.geometry.keyValueWidth * 2
        let sent = prefill.accounting.total.reduce(0) { $0 + $1.rows }
        XCTAssertEqual(UInt64(sent * rowBytes), prefill.bytesHandedOver, "\(strategy)", file: file, line: line)
        XCTAssertEqual(sent, rows.reduce(0, +) * ranks.model.geometry.layers, "every layer is handed over", file: file, line: line)
    }

    func testWorkedExample() throws {
        for link in [Configuration.Link.shared, .ring] {
            let ranks = try ranks(3, link)
            defer { ranks.shutdown() }
            // TSP, 3 + 3 + 3: 27 on every rank, 81 in sum, 36 rows exchanged.
            try check(ranks, .tsp, rectangle: [27, 27, 27], causal: [6, 15, 24], scores: [27, 27, 27], rows: [12, 12, 12])
            try check(ranks, .tspCausal, rectangle: [27, 27, 27], causal: [6, 15, 24], scores: [6, 15, 24], rows: [12, 12, 12])
            // KVR, 4 + 3 + 2: 16, 21, 18 (sum 55), and (4 + 7) rows of K and of V.
            try check(
                ranks, .runahead, .tokens([4, 3, 2]), rectangle: [16, 21, 18], causal: [10, 18, 17], scores: [10, 18, 17],
                rows: [8, 14, 0])
            try check(
                ranks, .runahead, .even, rectangle: [9, 18, 27], causal: [6, 15, 24], scores: [6, 15, 24], rows: [6, 12, 0])
            // Zigzag, pieces of 2, 2, 2, 1, 1, 1: positions 0 1 8, 2 3 7, 4 5 6.
            try check(ranks, .zigzag, rectangle: [27, 27, 27], causal: [12, 15, 18], scores: [12, 15, 18], rows: [12, 12, 12])
            try check(ranks, .sequential, rectangle: [81, 0, 0], causal: [45, 0, 0], scores: [45, 0, 0], rows: [0, 0, 0])
        }
    }

    /// The last layer computes what the prompt's last token sees, on its rank.
    func testLastLayerIsPruned() throws {
        let ranks = try ranks(3)
        defer { ranks.shutdown() }
        let last = ranks.model.geometry.layers - 1
        for (strategy, owner) in [
            (Configuration.Strategy.tsp, 2), (.tspCausal, 2), (.zigzag, 0), (.runahead, 2), (.sequential, 0),
        ] {
            let layer = try ranks.prefill(Self.prompt, strategy: strategy).accounting.layer(last)
            for rank in 0..<3 {
                XCTAssertEqual(layer[rank].scores, rank == owner ? 9 : 0, "\(strategy) rank \(rank)")
                XCTAssertEqual(layer[rank].rectangle, rank == owner ? 9 : 0, "\(strategy) rank \(rank)")
            }
        }
    }

    /// KVR hands over the prefix ends c1 … c(p-1), of K and of V, whatever the partition; an all-gather (p - 1) · C.
    func testTrafficInGeneral() throws {
        var random = SplitMix64(seed: 5)
        for count in [2, 3, 5] {
            let ranks = try ranks(count)
            defer { ranks.shutdown() }
            for _ in 0..<5 {
                let tokens = [Int32](repeating: 3, count: Int.random(in: 20...100, using: &random))
                let cuts = (0..<count - 1).map { _ in Int.random(in: 1..<tokens.count, using: &random) }.sorted()
                let sizes = zip([0] + cuts, cuts + [tokens.count]).map { $1 - $0 }
                guard !sizes.contains(0) else { continue }
                let chain = try ranks.prefill(tokens, strategy: .runahead, partition: .tokens(sizes)).accounting.layer(0)
                XCTAssertEqual(chain.reduce(0) { $0 + $1.rows }, 2 * cuts.reduce(0, +), "\(sizes)")
                XCTAssertEqual(chain.reduce(0) { $0 + $1.causal }, tokens.count * (tokens.count + 1) / 2, "\(sizes)")
                for strategy in [Configuration.Strategy.tsp, .tspCausal, .zigzag] {
                    let all = try ranks.prefill(tokens, strategy: strategy).accounting.layer(0)
                    XCTAssertEqual(all.reduce(0) { $0 + $1.rows }, 2 * (count - 1) * tokens.count, "\(strategy)")
                    XCTAssertEqual(all.reduce(0) { $0 + $1.causal }, tokens.count * (tokens.count + 1) / 2, "\(strategy)")
                    XCTAssertEqual(all.map(\.rectangle).reduce(0, +), tokens.count * tokens.count, "\(strategy)")
                }
            }
        }
    }
}
