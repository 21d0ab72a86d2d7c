import XCTest

import KVRunahead

final class CostModelTests: XCTestCase {
    /// Llama-7B by operation counts: 404.75 MFLOP per token and layer, 16,384 FLOP per pair; balanced shares in per cent.
    func testOracleTable() {
        let model = CostModel(perToken: 404.75e6, perPair: 16_384)
        let table: [(tokens: Double, shares: [Double], ratio: Double)] = [
            (4096, [26.5, 25.4, 24.5, 23.6], 1.06),
            (8192, [27.9, 25.7, 23.9, 22.5], 1.11),
            (16384, [56.1, 43.9], 1.12),
            (16384, [30.3, 25.9, 23.0, 20.9], 1.19),
            (16384, [15.8, 14.4, 13.4, 12.5, 11.8, 11.2, 10.7, 10.2], 1.22),
            (32768, [33.9, 25.7, 21.5, 18.9], 1.30),
        ]
        for row in table {
            let sizes = model.balanced(row.tokens, ranks: row.shares.count)
            for (size, share) in zip(sizes, row.shares) {
                XCTAssertEqual(size / row.tokens * 100, share, accuracy: 0.1, "\(row.tokens) × \(row.shares.count)")
            }
            // The last of even chunks, which is the busiest, over the balanced ones.
            let even = [Int](repeating: Int(row.tokens) / row.shares.count, count: row.shares.count)
            XCTAssertEqual(model.duration(even) / model.duration(0..<Int(sizes[0].rounded())), row.ratio, accuracy: 0.006)
        }
    }

    /// Chunks cover the prompt, never grow from rank to rank, and are never expected to be slower than even ones.
    func testPlanLaws() {
        var random = SplitMix64(seed: 11)
        for round in 0..<3000 {
            let tokens = Int.random(in: 1...20_000, using: &random)
            let ranks = Int.random(in: 1...64, using: &random)
            let model = CostModel(
                perToken: Double.random(in: 1e-9...1, using: &random), perPair: Double.random(in: 0...1e-3, using: &random))
            let sizes = model.sizes(of: tokens, ranks: ranks)
            XCTAssertEqual(sizes.count, ranks)
            XCTAssertEqual(sizes.reduce(0, +), tokens, "\(round)")
            XCTAssertTrue(zip(sizes, sizes.dropFirst()).allSatisfy { $0 >= $1 }, "\(round): \(sizes)")
            XCTAssertGreaterThanOrEqual(sizes.last ?? -1, 0)
            let even = (0..<ranks).map { tokens / ranks + ($0 < tokens % ranks ? 1 : 0) }
            XCTAssertLessThanOrEqual(model.duration(sizes), model.duration(even))
        }
    }
}
