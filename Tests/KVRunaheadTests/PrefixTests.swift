import Foundation
import KVModel
import XCTest

import KVRunahead

/// A prompt that begins as an earlier one did is computed from there on, to the same bits as a cold one.
final class PrefixTests: XCTestCase {
    private let model = "llama3-8b,layers=3,width=256,heads=4,kv=2,ffn=512,vocab=333,type=q4_0"
    private static let context = 400

    private func configuration(_ ranks: Int, _ link: Configuration.Link = .auto) -> Configuration {
        var configuration = Configuration(.synthetic(model))
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        configuration.link = link
        return configuration
    }

    private static func tokens(_ count: Int, _ seed: Int = 1) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 13 * seed + $0 * $0 * seed) % 333) }
    }

    /// Logits, cache and a continuation, after a prefill that may reuse.
    private func bits(_ ranks: Ranks, _ prompt: [Int32], reused: Int, line: UInt = #line) throws -> RunBits {
        let run = try ranks.prefill(prompt, reuses: true)
        XCTAssertEqual(run.reused, reused, line: line)
        XCTAssertEqual(run.chunks.reduce(0) { $0 + $1.count }, prompt.count - reused, line: line)
        return try RunBits(of: ranks, prompt.count, steps: 3)
    }

    /// Turns of a conversation, a branch of it, another prompt in between and back again: every strategy of the chain, both links.
    func testReusedBitsAreTheColdOnes() throws {
        let shared = try TestModels.model(.synthetic(model), .int8)
        let alone = try TestModels.ranks(shared, configuration(1), context: Self.context)
        defer { alone.shutdown() }
        let first = Self.tokens(150)
        for (ranks, link) in [(1, Configuration.Link.shared), (2, .ring), (2, .shared), (3, .ring), (5, .ring)] {
            let team = try TestModels.ranks(shared, configuration(ranks, link), context: Self.context)
            defer { team.shutdown() }
            func same(_ prompt: [Int32], reused: Int, line: UInt = #line) throws {
                let expected = try RunBits(alone, prompt, steps: 3)
                XCTAssertTrue(
                    try bits(team, prompt, reused: reused, line: line) == expected, "\(ranks) ranks, \(link)", line: line)
            }
            try same(first, reused: 0)
            // What was decoded counts as well.
            let second = team.sequence + Self.tokens(60, 2)
            XCTAssertEqual(second.count, 213)
            try same(second, reused: 153)
            // The same again: the last token is computed for its logits.
            try same(second, reused: 212)
            // Another way on, and a prompt that has nothing in common.
            try same(Array(second.prefix(100)) + Self.tokens(80, 3), reused: 100)
            try same(Self.tokens(70, 4), reused: 0)
            // Back to the conversation, by then only in the store.
            try same(second + Self.tokens(5, 5), reused: 213)
            // One token more than what is known.
            try same(Self.tokens(70, 4) + [7], reused: 70)
        }
    }

    /// Only where it is asked for, and not where it would not be the same request.
    func testWhatIsNotReused() throws {
        let shared = try TestModels.model(.synthetic(model), .int8)
        let team = try TestModels.ranks(shared, configuration(2, .ring), context: Self.context)
        defer { team.shutdown() }
        let prompt = Self.tokens(60)
        XCTAssertEqual(try team.prefill(prompt).reused, 0)
        XCTAssertEqual(try team.prefill(prompt).reused, 0)
        XCTAssertEqual(try team.prefill(prompt, strategy: .tsp, reuses: true).reused, 0)
        XCTAssertEqual(try team.prefill(prompt, partition: .tokens([40, 20]), reuses: true).reused, 0)
        XCTAssertEqual(try team.prefill(prompt, strategy: .sequential, reuses: true).reused, 59)
        XCTAssertEqual(try team.prefill(prompt, partition: .ratios([1, 3]), reuses: true).reused, 59)
        // A cancelled prompt leaves nothing that a later one could build on.
        var seed = 8
        var end: EngineError?
        // On a busy machine a short run may be over before anyone looks; the next one is another prompt.
        while end == nil, seed < 50 {
            seed += 1
            do throws(EngineError) {
                _ = try team.prefill(Self.tokens(300, seed), reuses: true) { _ in team.cancel() }
            } catch { end = error }
        }
        XCTAssertEqual(end?.code, .cancelled)
        XCTAssertEqual(try team.prefill(Self.tokens(30, seed), reuses: true).reused, 0)
        try team.clear()
        XCTAssertEqual(team.length, 0)
    }

    /// A conversation goes on in another engine, from a file; one of another kind begins cold.
    func testFilesAcrossEngines() throws {
        let folder = NSTemporaryDirectory() + "kvcpu-prefix-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/prompt.kv"
        let shared = try TestModels.model(.synthetic(model), .int8)
        let writer = try TestModels.ranks(shared, configuration(3, .ring), context: Self.context)
        XCTAssertEqual(try writer.restorePrompt(from: path), 0)
        _ = try writer.prefill(Self.tokens(120))
        try writer.decode(9)
        try writer.savePrompt(to: path)
        writer.shutdown()
        let prompt = Self.tokens(120) + [9] + Self.tokens(20, 6)
        let reader = try TestModels.ranks(shared, configuration(2, .shared), context: Self.context)
        XCTAssertEqual(try reader.restorePrompt(from: path), 121)
        let warm = try bits(reader, prompt, reused: 121)
        XCTAssertTrue(try RunBits(reader, prompt, steps: 3) == warm)
        reader.shutdown()
        var other = configuration(1)
        other.cacheElement = .f32
        let stranger = try TestModels.ranks(shared, other, context: Self.context)
        XCTAssertThrowsError(try stranger.restorePrompt(from: path)) {
            XCTAssertTrue("\($0)".contains("cache type f16, not f32"), "\($0)")
        }
        stranger.shutdown()
    }

    /// Ranks that are processes, whose caches their engine writes the beginning into.
    func testProcesses() throws {
        let shared = try TestModels.model(.synthetic(model), .int8)
        for link in [Configuration.Link.ring, .shared] {
            var configuration = ProcessTests.configuration(.synthetic(model), ranks: 2)
            configuration.link = link
            let team = try TestModels.ranks(shared, configuration, context: Self.context)
            defer { team.shutdown() }
            _ = try bits(team, Self.tokens(90), reused: 0)
            _ = try bits(team, Self.tokens(50, 2), reused: 0)
            let prompt = Self.tokens(90) + Self.tokens(40, 3)
            let warm = try bits(team, prompt, reused: 90)
            XCTAssertTrue(try RunBits(team, prompt, steps: 3) == warm)
        }
    }
}
