import XCTest

import KVRunahead

final class PlannerTests: XCTestCase {
    private func planner(_ entries: [(Int, Int)], costs: LayerCosts? = nil) -> Planner {
        let planner = Planner(store: nil, key: PlanStoreTests.key())
        planner.update { table in
            for (tokens, first) in entries {
                table.set(
                    .init(tokens: tokens, sizes: [first, tokens - first], seconds: 1, even: 1, modelled: nil, isSettled: true))
            }
        }
        if let costs { planner.learned(costs) }
        return planner
    }

    private func sizes(_ planner: Planner, _ partition: Partition, _ tokens: Int, ranks: Int = 2) throws -> [Int] {
        try planner.sizes(partition, tokens, ranks: ranks) { _ throws(EngineError) in
            throw EngineError(.cancelled, "measured")
        }
    }

    func testPredicted() throws {
        let planner = planner([(1000, 520), (3000, 1680)], costs: PipelineTests.costs())
        XCTAssertEqual(try sizes(planner, .predicted, 1000), [520, 480])
        XCTAssertEqual(try sizes(planner, .predicted, 3000), [1680, 1320])
        // Ratios 0.52 and 0.56: half way 0.54.
        XCTAssertEqual(try sizes(planner, .predicted, 2000), [1080, 920])
        // Beyond the table: continuous at its edges, and on towards the model's slope.
        let modelled = { Pipeline(PipelineTests.costs()).modelled($0, ranks: 2) }
        for tokens in [500, 999, 3001, 8000] {
            let found = try sizes(planner, .predicted, tokens)
            XCTAssertEqual(found.reduce(0, +), tokens)
            let edge = tokens < 1000 ? 1000 : 3000
            let shift = (tokens < 1000 ? 0.52 : 0.56) - Double(modelled(edge)[0]) / Double(edge)
            let expected = Double(modelled(tokens)[0]) / Double(tokens) + shift
            XCTAssertEqual(Double(found[0]) / Double(tokens), expected, accuracy: 0.002)
        }
        XCTAssertThrowsError(try sizes(self.planner([]), .predicted, 2000)) {
            XCTAssertTrue("\($0)".contains("kvcpu plan --ranks 2"), "\($0)")
        }
    }

    /// Every planner, valid for lengths 1 to 20,000 and ranks 1 to 64.
    func testLaws() throws {
        var random = SplitMix64(seed: 31)
        for _ in 0..<6 {
            let ranks = Int.random(in: 1...64, using: &random)
            let planner = Planner(store: nil, key: PlanStoreTests.key())
            planner.learned(PipelineTests.costs(layers: 2))
            planner.update { table in
                for tokens in [700, 5000] {
                    table.set(
                        .init(
                            tokens: tokens, sizes: Pipeline(PipelineTests.costs(layers: 2)).modelled(tokens, ranks: ranks),
                            seconds: 1,
                            even: 1, modelled: nil, isSettled: true))
                }
            }
            let lengths = [1, 20_000, 700] + (0..<3).map { _ in Int.random(in: 1...20_000, using: &random) }
            for tokens in lengths {
                for partition in [Partition.predicted, .modelled, .auto] {
                    let sizes = try sizes(planner, partition, tokens, ranks: ranks)
                    let chunks = try partition.chunks(of: tokens, ranks: ranks, planned: sizes)
                    XCTAssertEqual(chunks.count, ranks)
                    XCTAssertEqual(chunks.first?.lowerBound, 0)
                    XCTAssertEqual(chunks.last?.upperBound, tokens)
                    XCTAssertTrue(zip(chunks, chunks.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
                }
            }
        }
    }

    func testSearched() throws {
        let planner = planner([(1000, 520)])
        XCTAssertEqual(try sizes(planner, .searched, 1000), [520, 480])
        XCTAssertThrowsError(try sizes(planner, .searched, 1001)) { error in
            XCTAssertEqual((error as? EngineError)?.code, .request)
            XCTAssertTrue("\(error)".contains("kvcpu plan --ranks 2 --lengths 1001"), "\(error)")
        }
    }

    /// The table, else the costs, else even; measuring only where the prompt is long.
    func testAuto() throws {
        XCTAssertEqual(try sizes(planner([(1000, 520), (3000, 1680)]), .auto, 2000), [1080, 920])
        let costs = PipelineTests.costs()
        XCTAssertEqual(
            try sizes(planner([], costs: costs), .auto, 2000), Pipeline(costs).modelled(2000, ranks: 2))
        XCTAssertEqual(try sizes(planner([]), .auto, 2001), [1001, 1000])
        XCTAssertThrowsError(try sizes(planner([]), .auto, 10_000)) {
            XCTAssertEqual(($0 as? EngineError)?.description, "measured")
        }
    }

    /// Behind computed positions the table has no say; without costs chunks are even.
    func testPrefix() throws {
        let planner = Planner()
        XCTAssertEqual(try planner.sizes(.auto, 100, behind: 50, ranks: 2) { _ in nil }, [50, 50])
        planner.learned(PipelineTests.costs())
        let cold = try planner.sizes(.auto, 4000, ranks: 2) { _ in nil }
        let warm = try planner.sizes(.auto, 4000, behind: 16000, ranks: 2) { _ in nil }
        XCTAssertEqual(cold, Pipeline(PipelineTests.costs()).modelled(4000, ranks: 2))
        XCTAssertEqual(warm, Pipeline(PipelineTests.costs(), prefix: 16000).modelled(4000, ranks: 2))
        XCTAssertNotEqual(cold, warm)
    }

    /// Timings without a result leave the chunks even, and say so once.
    func testFailedCalibration() throws {
        let planner = planner([])
        var calls = 0
        for _ in 0..<2 {
            let sizes = try planner.sizes(.modelled, 900, ranks: 2) { _ throws(EngineError) in
                calls += 1
                return nil
            }
            XCTAssertEqual(sizes, [450, 450])
        }
        XCTAssertEqual(calls, 1)
        XCTAssertEqual(planner.notices.count, 1)
    }
}
