import XCTest

import KVRunahead

final class SearchTests: XCTestCase {
    /// Two ranks and a synthetic landscape: the search ends within a tile of its lowest point, wherever it begins.
    func testFindsTheOptimum() throws {
        for optimum in [200, 1024, 1200, 1391, 1800] {
            var search = Search(tokens: 2048, ranks: 2)
            search.budget = .infinity
            let found = try search.run { sizes in 1 + abs(Double(sizes[0] - optimum)) / 2048 }
            XCTAssertLessThanOrEqual(abs(found.sizes[0] - optimum), search.tile, "\(optimum)")
            XCTAssertTrue(found.isSettled)
        }
    }

    /// The simulator as the machine: as fast as every cut on the grid, among three ranks, within half a per cent.
    func testSimulatedMachine() throws {
        let pipeline = Pipeline(PipelineTests.costs(layers: 6, pair: 1e-8))
        var search = Search(tokens: 1536, ranks: 3)
        search.budget = .infinity
        search.repeats = 1
        let found = try search.run { pipeline.run(.runahead, $0).seconds }
        var best = Double.infinity
        for first in stride(from: 16, to: 1536, by: 16) {
            for second in stride(from: 16, to: 1536 - first, by: 16) {
                best = min(best, pipeline.run(.runahead, [first, second, 1536 - first - second]).seconds)
            }
        }
        XCTAssertLessThan(found.seconds / best, 1.005)
        // The same from the modelled start, and never slower than it.
        let start = pipeline.modelled(1536, ranks: 3)
        var again = Search(tokens: 1536, ranks: 3)
        again.budget = .infinity
        let better = try again.run(starts: [start]) { pipeline.run(.runahead, $0).seconds }
        XCTAssertLessThanOrEqual(better.seconds, pipeline.run(.runahead, start).seconds)
    }

    /// Noise of two per cent: still within what the noise leaves open.
    func testNoise() throws {
        var random = SplitMix64(seed: 8)
        var search = Search(tokens: 4096, ranks: 2)
        search.budget = .infinity
        let found = try search.run { sizes in
            (1 + abs(Double(sizes[0] - 2400)) / 2048) * Double.random(in: 0.99...1.01, using: &random)
        }
        XCTAssertLessThan(abs(found.sizes[0] - 2400), 100)
    }

    func testBudgetHopelessAndResume() throws {
        var calls: [[Int]: Int] = [:]
        func measure(_ sizes: [Int]) -> Double {
            calls[sizes, default: 0] += 1
            return 1 + abs(Double(sizes[0] - 1280)) / 1000
        }
        var search = Search(tokens: 2048, ranks: 2)
        search.budget = 20
        let short = try search.run(measure: measure)
        XCTAssertFalse(short.isSettled)
        let spent = calls.reduce(0) { $0 + Double($1.value) }
        XCTAssertLessThan(spent, 26)
        // A quarter of the prompt beyond the optimum is hopeless: timed once.
        XCTAssertEqual(calls[[1528, 520]], 1)
        // What was measured is not measured again.
        let before = calls
        var resumed = Search(
            tokens: 2048, ranks: 2, known: search.samples.map { PlanTable.Sample(sizes: $0.key, seconds: $0.value) })
        resumed.budget = .infinity
        let found = try resumed.run(measure: measure)
        XCTAssertTrue(found.isSettled)
        XCTAssertLessThanOrEqual(abs(found.sizes[0] - 1280), resumed.tile)
        XCTAssertEqual(calls[[1528, 520]], before[[1528, 520]])
    }

    /// An error ends the search, and what was measured remains.
    func testInterrupted() {
        struct Interrupted: Error {}
        var count = 0
        var search = Search(tokens: 2048, ranks: 2)
        var told = 0
        search.measured = { _, _ in told += 1 }
        XCTAssertThrowsError(
            try search.run { _ in
                count += 1
                if count > 5 { throw Interrupted() }
                return 1
            })
        XCTAssertEqual(search.samples.reduce(0) { $0 + $1.value.count }, 5)
        XCTAssertEqual(told, 5)
    }

    func testStrides() {
        XCTAssertEqual(Descent(stride: 250, tile: 16).strides, [240, 112, 48, 16])
        XCTAssertEqual(Descent(stride: 3, tile: 1).strides, [3, 1])
        XCTAssertEqual(Descent(stride: 0, tile: 1).strides, [1])
    }

    /// Few tokens, many ranks, one rank: nothing is out of range.
    func testSmall() throws {
        for (tokens, ranks) in [(1, 1), (1, 4), (3, 2), (5, 4), (40, 8)] {
            var search = Search(tokens: tokens, ranks: ranks)
            search.budget = 1000
            let found = try search.run { sizes in
                XCTAssertEqual(sizes.reduce(0, +), tokens)
                XCTAssertTrue(sizes.allSatisfy { $0 >= 0 })
                return Double(sizes.max() ?? 0)
            }
            XCTAssertEqual(found.sizes.count, ranks)
        }
    }
}
