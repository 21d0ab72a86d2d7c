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
            let expected = ranks.planner.costs.map { Pipeline($0).modelled(300, ranks: 3) } ?? Partition.even(300, ranks: 3)
            XCTAssertEqual(chunks, expected)
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
        XCTAssertTrue(ranks.planner.costs != nil || ranks.planner.notices.count == 1)
    }

    /// A prompt of some length that went even tells the costs for the next one.
    func testLearnsFromPrompts() throws {
        let ranks = try ranks(2, context: 2048)
        // Where two ranks share a CPU their timings mean nothing else.
        try XCTSkipIf(ranks.placement.oversubscribed, "one CPU")
        let tokens = (0..<1500).map { Int32($0 % 200) }
        XCTAssertEqual(try ranks.prefill(tokens, partition: .auto).chunks.map(\.count), [750, 750])
        // On a busy machine the timings may be nonsense, and are then refused: the next chunks are even too.
        let costs = ranks.planner.costs
        let expected = costs.map { Pipeline($0).modelled(1500, ranks: 2) } ?? [750, 750]
        XCTAssertEqual(try ranks.prefill(tokens, partition: .auto).chunks.map(\.count), expected)
    }
}
