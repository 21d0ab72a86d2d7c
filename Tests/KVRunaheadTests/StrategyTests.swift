import KVModel
import XCTest

import KVRunahead

final class StrategyTests: XCTestCase {
    private func positions(_ strategy: Configuration.Strategy, _ tokens: Int, _ ranks: Int) throws -> [Positions] {
        try strategy.positions(of: tokens, ranks: ranks, partition: .even, planned: nil)
    }

    func testZigzagPairsEarlyAndLatePieces() throws {
        XCTAssertEqual(
            try positions(.zigzag, 12, 3), [Positions(0..<2, 10..<12), Positions(2..<4, 8..<10), Positions(4..<6, 6..<8)])
        XCTAssertEqual(try positions(.zigzag, 12, 3)[2], Positions(4..<8), "runs that touch are one")
        XCTAssertEqual(try positions(.zigzag, 7, 1), [Positions(0..<7)])
        XCTAssertEqual(try positions(.zigzag, 2, 3), [Positions(0..<1), Positions(1..<2), Positions(2..<2)])
        XCTAssertEqual(try positions(.zigzag, 5, 3), [Positions(0..<1), Positions(1..<2, 4..<5), Positions(2..<4)])
    }

    /// Every strategy gives every position to one rank.
    func testPositionsCoverThePrompt() throws {
        for strategy in Configuration.Strategy.allCases {
            for ranks in [1, 2, 3, 8] {
                for tokens in [1, 2, 5, 16, 17, 100] {
                    let positions = try positions(strategy, tokens, ranks)
                    XCTAssertEqual(positions.count, ranks)
                    let all = positions.flatMap { chunk in (0..<chunk.count).map { chunk[$0] } }
                    XCTAssertEqual(all.sorted(), Array(0..<tokens), "\(strategy) \(ranks) \(tokens)")
                    XCTAssertEqual(positions.filter { !$0.isEmpty && $0.upperBound == tokens }.count, 1)
                }
            }
        }
    }

    func testEvenStrategiesRefusePartitions() throws {
        for (strategy, partition, text) in [
            (Configuration.Strategy.tsp, Partition.tokens([4, 5]), "4,5"), (.tspCausal, .ratios([0.4, 0.6]), "0.4,0.6"),
            (.zigzag, .modelled, "modelled"),
        ] {
            var configuration = Configuration(model: try TestModels.fixture("llama-mha-tied-rope3"))
            configuration.ranks = 2
            configuration.threadsPerRank = 1
            configuration.strategy = strategy
            configuration.partition = partition
            func check(_ error: any Error) {
                XCTAssertEqual((error as? EngineError)?.code, .request)
                for word in [strategy.rawValue, text] { XCTAssertTrue("\(error)".contains(word), "\(error)") }
            }
            XCTAssertThrowsError(try Engine(configuration)) { check($0) }
            configuration.strategy = .runahead
            configuration.partition = .even
            try Engine(configuration).withRanksBlocking { ranks in
                XCTAssertThrowsError(try ranks.prefill([1, 2, 3], strategy: strategy, partition: partition)) { check($0) }
                _ = try ranks.prefill([1, 2, 3], strategy: strategy)
            }
        }
    }

    /// A wait of an all-gather that is cancelled ends, and the ranks stay usable.
    func testCancelledGather() throws {
        var configuration = Configuration(model: "")
        configuration.ranks = 3
        configuration.threadsPerRank = 1
        // Far slower than the computation.
        configuration.throttle = LinkProfile()
        configuration.throttle?.latency = 30
        for (strategy, link) in [(Configuration.Strategy.tsp, Configuration.Link.ring), (.zigzag, .shared), (.runahead, .ring)] {
            configuration.link = link
            let ranks = try TestModels.ranks(TestModels.model(TestModels.fixture("llama-gqa"), .int8), configuration, context: 64)
            for _ in 0..<2 {
                XCTAssertThrowsError(try ranks.prefill([Int32](1...20), strategy: strategy) { _ in ranks.cancel() }) {
                    XCTAssertEqual(($0 as? EngineError)?.code, .cancelled, "\(strategy)")
                }
            }
            _ = try ranks.prefill([Int32](1...20), strategy: .sequential)
            ranks.shutdown()
        }
    }

    /// A wait that is longer than allowed names rank and layer.
    func testDeadlineNamesRankAndLayer() throws {
        var configuration = Configuration(model: "")
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        configuration.waitLimit = 0.2
        configuration.throttle = LinkProfile()
        configuration.throttle?.latency = 30
        let ranks = try TestModels.ranks(TestModels.model(TestModels.fixture("llama-gqa"), .int8), configuration, context: 64)
        defer { ranks.shutdown() }
        for (strategy, text) in [(Configuration.Strategy.tsp, "receiving from rank "), (.runahead, "rank 1, receiving")] {
            XCTAssertThrowsError(try ranks.prefill([Int32](1...20), strategy: strategy)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .rank)
                for word in [text, "layer 0", "throttled"] { XCTAssertTrue("\(error)".contains(word), "\(error)") }
            }
        }
    }

    func testThrottleIsParsed() throws {
        let profile = try LinkProfile(parsing: "bandwidth=10GB/s,latency=5us,jitter=1us,bursts=20%,burst=200us,seed=1")
        XCTAssertEqual(profile.bandwidth, 10e9)
        XCTAssertEqual(profile.latency, 5e-6, accuracy: 1e-18)
        XCTAssertEqual(profile.jitter, 1e-6, accuracy: 1e-18)
        XCTAssertEqual(profile.bursts, 0.2, accuracy: 1e-12)
        XCTAssertEqual(profile.burst, 200e-6, accuracy: 1e-15)
        XCTAssertEqual(profile.seed, 1)
        XCTAssertEqual(try LinkProfile(parsing: "bandwidth=1.5MB/s,bursts=0.1").bandwidth, 1.5e6)
        XCTAssertEqual(try LinkProfile(parsing: "bandwidth=300B/s").bandwidth, 300)
        XCTAssertEqual(try LinkProfile(parsing: "latency=2ms").latency, 2e-3)
        for (text, words) in [
            ("bandwidth=10", ["bandwidth", "\"10\""]), ("bandwidth=0GB/s", ["bandwidth", "0GB/s"]),
            ("latency=-1us", ["latency", "-1us"]),
            ("latency=5", ["latency", "\"5\""]), ("jitter=nans", ["jitter", "nans"]), ("bursts=120%", ["bursts", "120%"]),
            ("burst=0s", ["burst", "0s"]), ("seed=x", ["seed", "\"x\""]), ("speed=1", ["speed"]), ("bandwidth", ["key=value"]),
            ("", ["key=value"]), ("seed=1,seed=2", ["seed", "twice"]), ("bandwidth=infGB/s", ["bandwidth", "inf"]),
        ] {
            XCTAssertThrowsError(try LinkProfile(parsing: text), text) { error in
                XCTAssertEqual((error as? EngineError)?.code, .request)
                for word in words { XCTAssertTrue("\(error)".contains(word), "\(error)") }
            }
        }
    }
}
