import KVModel
import XCTest

import KVRunahead

/// `--verify`: a prompt computed by all ranks is held against one rank's, bit by bit, and a bit that differs is found.
final class VerificationTests: XCTestCase {
    private func engine(_ change: (inout Configuration) -> Void = { _ in }) throws -> Engine {
        var configuration = Configuration(model: try TestModels.fixture("llama-mha-tied-rope3"))
        configuration.ranks = 3
        configuration.threadsPerRank = 2
        configuration.fitsThreads = false
        change(&configuration)
        return try Engine(configuration)
    }

    private func run(_ engine: Engine, flip: (@Sendable (Ranks) throws(EngineError) -> Void)? = nil) async throws -> (
        [Int32], Verification?
    ) {
        var options = GenerationOptions()
        options.sampling = .greedy
        options.stopsAtEnd = false
        options.maximumTokens = 8
        options.verifies = true
        options.inspectPrefill = flip
        var ids: [Int32] = []
        var verification: Verification?
        for try await event in engine.generate([Int32](1...50), options: options) {
            switch event {
            case .prefill: break
            case .token(let token): if token.id >= 0 { ids.append(token.id) }
            case .finished(let summary): verification = summary.verification
            }
        }
        return (ids, verification)
    }

    func testParallelRunsAreVerified() async throws {
        var continuations: Set<[Int32]> = []
        for strategy in Configuration.Strategy.allCases {
            for link in [Configuration.Link.ring, .shared] {
                for cache in Configuration.CacheElement.allCases {
                    let engine = try engine {
                        $0.strategy = strategy
                        $0.link = link
                        $0.cacheElement = cache
                        if strategy == .runahead { $0.partition = .tokens([30, 5, 15]) }
                    }
                    let (ids, verification) = try await run(engine)
                    XCTAssertEqual(verification, Verification(positions: 50, layers: 2), "\(strategy) \(link)")
                    if cache == .f16 { continuations.insert(ids) }
                }
            }
        }
        // Verifying leaves no trace in what follows.
        XCTAssertEqual(continuations.count, 1)
    }

    /// One bit of one element in the whole cache, or of one logit.
    func testAFlippedBitIsNamed() async throws {
        func difference(
            _ type: Configuration.CacheElement, _ flip: @escaping @Sendable (Ranks) throws(EngineError) -> Void
        ) async throws -> String {
            let engine = try engine { $0.cacheElement = type }
            do {
                _ = try await run(engine, flip: flip)
                return "nothing found"
            } catch let error as EngineError {
                XCTAssertEqual(error.code, .verification)
                // The engine is none the worse for it.
                _ = try await run(engine)
                return error.description
            }
        }
        var text = try await difference(.f16) { (ranks) throws(EngineError) in try ranks.cache.keys(1, 37..<38)[2 * 5] ^= 1 }
        XCTAssertTrue(text.contains("layer 1, position 37, key 5: "), text)
        text = try await difference(.f32) { (ranks) throws(EngineError) in try ranks.cache.values(0, 49..<50)[4 * 63] ^= 0x80 }
        XCTAssertTrue(text.contains("layer 0, position 49, value 63: "), text)
        // The first of two is named.
        text = try await difference(.f16) { (ranks) throws(EngineError) in
            try ranks.cache.values(1, 3..<4)[1] ^= 4
            try ranks.cache.keys(1, 40..<41)[1] ^= 4
        }
        XCTAssertTrue(text.contains("layer 1, position 40, key 0: "), text)
        text = try await difference(.f16) { ranks in
            UnsafeMutablePointer(mutating: ranks.logits.baseAddress).map { $0[123] = -$0[123] }
        }
        XCTAssertTrue(text.contains("logit 123: "), text)
    }

    /// Only the prompt that was computed last, and only while nothing was decoded after it.
    func testOthersAreRefused() throws {
        try engine().withRanksBlocking { ranks in
            _ = try ranks.prefill([1, 2, 3])
            XCTAssertThrowsError(try ranks.verify([1, 2])) { XCTAssertEqual(($0 as? EngineError)?.code, .request) }
            XCTAssertEqual(try ranks.verify([1, 2, 3]).positions, 3)
            try ranks.decode(4)
            XCTAssertThrowsError(try ranks.verify([1, 2, 3]))
        }
    }
}
