import KVFabric
import KVModel
import XCTest

import KVRunahead

/// On real ranks.
final class CalibrationTests: XCTestCase {
    private func ranks(_ count: Int, link: Configuration.Link = .auto, context: Int = 320) throws -> Ranks {
        let path = try TestModels.fixture("llama-gqa")
        var configuration = Configuration(model: path)
        configuration.threadsPerRank = 1
        configuration.ranks = count
        configuration.link = link
        return try TestModels.ranks(try TestModels.model(path, .int8), configuration, context: context)
    }

    /// Every planned partition computes the same bits, with the chunks of its own costs.
    func testSameBits() throws {
        let tokens = (0..<300).map { Int32($0 % 200) }
        let alone = try RunBits(ranks(1), tokens, partition: .modelled, steps: 4)
        for link in [Configuration.Link.shared, .ring] {
            let ranks = try ranks(3, link: link)
            XCTAssertEqual(try RunBits(ranks, tokens, partition: .auto, steps: 4), alone)
            XCTAssertNil(ranks.planner.costs, "nothing is measured for short prompts")
            XCTAssertEqual(try RunBits(ranks, tokens, partition: .modelled, steps: 4), alone)
            let chunks = try ranks.prefill(tokens, partition: .modelled).chunks.map(\.count)
            XCTAssertEqual(chunks, Pipeline(try XCTUnwrap(ranks.planner.costs)).modelled(300, ranks: 3))
        }
    }

    /// A calibration can be cancelled, and is begun again by the next prompt.
    func testCancelled() throws {
        // Some layers and tokens, so that it is not over before it can be cancelled.
        let model = try TestModels.model(
            .synthetic("llama-7b,layers=12,width=512,heads=8,kv=8,ffn=1024,vocab=100,type=f32"), .float)
        var configuration = Configuration(.synthetic(""))
        configuration.threadsPerRank = 1
        configuration.ranks = 2
        let ranks = try TestModels.ranks(model, configuration, context: 4096)
        let tokens = [Int32](repeating: 1, count: 64)
        XCTAssertThrowsError(try ranks.prefill(tokens, partition: .modelled) { _ in ranks.cancel() }) {
            XCTAssertEqual(($0 as? EngineError)?.code, .cancelled)
        }
        XCTAssertNil(ranks.planner.costs)
        XCTAssertEqual(try ranks.prefill(tokens, partition: .modelled).chunks.reduce(0) { $0 + $1.count }, 64)
        XCTAssertNotNil(ranks.planner.costs)
        XCTAssertEqual(ranks.planner.notices, [])
    }

    /// One layer is never handed over, so nothing can be timed: chunks are even, which is said once.
    func testOneLayer() throws {
        let model = try TestModels.model(.synthetic("llama-7b,layers=1,width=256,heads=4,kv=4,ffn=512,vocab=100"), .float)
        var configuration = Configuration(.synthetic(""))
        configuration.threadsPerRank = 1
        configuration.ranks = 2
        let ranks = try TestModels.ranks(model, configuration, context: 256)
        for _ in 0..<2 {
            XCTAssertEqual(try ranks.prefill([Int32](repeating: 1, count: 65), partition: .modelled).chunks.map(\.count), [33, 32])
            XCTAssertEqual(ranks.planner.notices, ["partition: chunks are even, as what tokens cost cannot be timed on one layer"])
        }
    }

    /// A prompt of some length that went even tells the costs for the next one.
    func testLearnsFromPrompts() throws {
        let ranks = try ranks(2, context: 2048)
        // Where two ranks share a CPU their timings mean nothing else.
        try XCTSkipIf(ranks.placement.oversubscribed, "one CPU")
        let tokens = (0..<1500).map { Int32($0 % 200) }
        XCTAssertEqual(try ranks.prefill(tokens, partition: .auto).chunks.map(\.count), [750, 750])
        let expected = Pipeline(try XCTUnwrap(ranks.planner.costs)).modelled(1500, ranks: 2)
        XCTAssertEqual(try ranks.prefill(tokens, partition: .auto).chunks.map(\.count), expected)
    }
}
