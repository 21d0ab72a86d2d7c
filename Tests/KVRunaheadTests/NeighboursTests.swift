import KVFabric
import KVGGUF
import KVModel
import XCTest

import KVRunahead

/// Engines share the machine, and nothing else: what runs beside one changes its speed, never its bits.
final class NeighboursTests: XCTestCase {
    private func engine(_ name: String, ranks: Int, threads: Int, _ link: Configuration.Link) throws -> Engine {
        var configuration = Configuration(model: try TestModels.fixture(name))
        configuration.ranks = ranks
        configuration.threadsPerRank = threads
        configuration.fitsThreads = false
        configuration.link = link
        configuration.contextLength = 256
        return try Engine(configuration)
    }

    private static func runs(_ engine: Engine, _ prompts: [[Int32]]) throws -> [RunBits] {
        try engine.withRanksBlocking { ranks in try prompts.map { try RunBits(ranks, $0, steps: 12) } }
    }

    /// Where a quota grants fewer CPUs than there are workers, decode takes no more of them than that, one of each CPU; the bits stay.
    func testDecodeKeepsToTheQuota() throws {
        let path = try TestModels.fixture("llama-gqa")
        let model = try TestModels.model(path, .int8)
        var configuration = Configuration(model: path)
        configuration.ranks = 2
        var first: RunBits?
        for (budget, threads) in [(Int.max, 2), (2, 2), (1, 1), (0, 1)] {
            // Four workers on two CPUs, or twice as many on one where there is no second.
            let placement = Placement(
                ranks: [.init(cpus: [0, 1], node: nil), .init(cpus: [0, 1], node: nil)], oversubscribed: true, budget: budget,
                notes: [])
            let ranks = try Ranks(
                model: model, configuration: configuration, placement: placement, contextLength: 128, progress: { _ in })
            XCTAssertEqual(ranks.decodingThreads, threads, "budget \(budget)")
            let bits = try RunBits(ranks, [Int32](1...70), steps: 8)
            if let first { XCTAssertTrue(bits == first, "budget \(budget)") }
            first = first ?? bits
            ranks.shutdown()
        }
    }

    func testTwoEnginesAtOnce() async throws {
        let prompts = (0..<6).map { seed in (0..<60 + 10 * seed).map { Int32(($0 * 31 + seed * 7) % 380 + 1) } }
        func pair() throws -> [Engine] {
            [
                try engine("llama-gqa", ranks: 2, threads: 2, .ring),
                try engine("llama-mha-tied-rope3", ranks: 3, threads: 1, .shared),
            ]
        }
        var alone: [[RunBits]] = []
        for engine in try pair() { alone.append(try Self.runs(engine, prompts)) }
        let engines = try pair()
        try await withThrowingTaskGroup(of: (Int, [RunBits]).self) { group in
            for (index, engine) in engines.enumerated() {
                group.addTask {
                    // Several times, so that prefills of one meet decodes of the other.
                    let bits = try (0..<3).map { _ in try Self.runs(engine, prompts) }
                    XCTAssertTrue(bits.allSatisfy { $0 == bits[0] }, "engine \(index): not twice the same")
                    return (index, bits[0])
                }
            }
            for try await (index, bits) in group { XCTAssertTrue(bits == alone[index], "engine \(index): other bits than alone") }
        }
    }
}
