import Foundation
import KVFabric
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// Ranks that are processes give the bits of ranks that are threads.
final class ProcessTests: XCTestCase {
    /// The program of the ranks, built beside the tests.
    static var executable: String {
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("kvcpu").path
    }

    static func configuration(_ model: ModelSource, ranks: Int) -> Configuration {
        var configuration = Configuration(model)
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        configuration.rankMode = .process
        configuration.rankExecutable = executable
        return configuration
    }

    private func same(
        _ source: ModelSource, _ tokens: [Int32], ranks: [Int], strategies: [Configuration.Strategy], steps: Int = 24,
        threads: Int = 1, activations: ActivationType = .int8
    ) throws {
        let model = try TestModels.model(source, activations)
        let context = tokens.count + steps
        var configuration = Configuration(source)
        configuration.threadsPerRank = 1
        configuration.activations = activations == .int8 ? .int8 : .f32
        let alone = try TestModels.ranks(model, configuration, context: context)
        let expected = try RunBits(alone, tokens, partition: .even, steps: steps)
        alone.shutdown()
        XCTAssertTrue(expected.logits.contains { $0 != 0 })
        for count in ranks {
            for link in [Configuration.Link.ring, .shared] {
                var configuration = Self.configuration(source, ranks: count)
                configuration.threadsPerRank = threads
                configuration.activations = activations == .int8 ? .int8 : .f32
                configuration.link = link
                let team = try TestModels.ranks(model, configuration, context: context)
                XCTAssertEqual(Set(team.processIDs).count, count)
                let pids = team.processIDs
                for strategy in strategies {
                    // Everything on one rank, and one that takes no part.
                    var partitions: [Partition] = [.even]
                    if strategy == .runahead, count > 1 {
                        partitions.append(.tokens([tokens.count] + [Int](repeating: 0, count: count - 1)))
                        partitions.append(.tokens([3] + [Int](repeating: 0, count: count - 2) + [tokens.count - 3]))
                    }
                    for partition in partitions {
                        let bits = try RunBits(team, tokens, strategy: strategy, partition: partition, steps: steps)
                        XCTAssertTrue(bits == expected, "\(source) \(count) ranks, \(link), \(strategy), \(partition)")
                    }
                }
                XCTAssertEqual(team.processIDs, pids, "processes were replaced without need")
                team.shutdown()
            }
        }
    }

    private func fixture(_ name: String) throws -> (ModelSource, [Int32]) {
        let ids = try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors")).integers("input_ids")
        return (.file(try TestModels.fixture(name)), ids.map(Int32.init))
    }

    func testFixtures() throws {
        for name in ["llama-gqa", "falcon-7b"] {
            let (source, tokens) = try fixture(name)
            try same(source, tokens, ranks: [1, 2, 3], strategies: Configuration.Strategy.allCases)
        }
        let (source, tokens) = try fixture("q-llama-q8_0")
        try same(source, tokens, ranks: [2], strategies: [.runahead, .tsp], threads: 2, activations: .float)
    }

    /// Longer than a block of keys, whose weights every process makes a share of.
    func testSyntheticModel() throws {
        let text = "llama3-8b,layers=3,width=256,heads=4,kv=2,ffn=512,vocab=333,type=q4_k"
        let tokens = (0..<200).map { Int32(($0 * 7919 + 13) % 333) }
        try same(.synthetic(text), tokens, ranks: [2, 3], strategies: [.runahead, .zigzag])
    }

    /// Weights that are quantised while they are loaded are so by every process.
    func testQuantisedWhileLoading() throws {
        let (source, tokens) = try fixture("llama-gqa")
        func logits(_ mode: Configuration.RankMode, _ type: String?) throws -> [UInt32] {
            var configuration = Self.configuration(source, ranks: 2)
            configuration.rankMode = mode
            configuration.weightType = type
            configuration.contextLength = 128
            return try Engine(configuration).withRanksBlocking { ranks in
                _ = try ranks.prefill(tokens)
                return ranks.logits.map(\.bitPattern)
            }
        }
        let expected = try logits(.thread, "q8_0")
        XCTAssertEqual(try logits(.process, "q8_0"), expected)
        XCTAssertNotEqual(try logits(.process, nil), expected)
    }

    /// Where the processes' workers run and their pages are is seen from outside.
    func testPlacementIsProved() throws {
        let (source, _) = try fixture("llama-gqa")
        let team = try TestModels.ranks(try TestModels.model(source, .int8), Self.configuration(source, ranks: 2), context: 200)
        defer { team.shutdown() }
        let proof = try team.proof(tokens: 128, steps: 2)
        XCTAssertEqual(proof.off, [])
        for (rank, placed) in zip(proof.ranks, team.placement.ranks) {
            XCTAssertEqual(rank.workers.map(\.affinity), placed.cpus.map { [$0] })
            XCTAssertEqual(rank.workers.map(\.seen), placed.cpus.map { [$0] })
            let pages = Dictionary(rank.memory.map { ($0.what, $0.pages.values.reduce(0, +)) }) { $0 + $1 }
            for what in ["weights", "KV-cache", "scratch"] { XCTAssertGreaterThan(pages[what] ?? 0, 0, what) }
        }
    }

    func testDefaultModel() throws {
        let tokens = (0..<40).map { Int32(($0 * 7919 + 13) % 49_152) }
        try same(.file(try TestModels.standard()), tokens, ranks: [2], strategies: [.runahead])
    }

    /// All tokens' logits, which the processes compute into memory that they share, and what was counted.
    func testAllLogitsAndAccounting() throws {
        let (source, tokens) = try fixture("llama-gqa")
        let model = try TestModels.model(source, .int8)
        let vocabulary = model.geometry.vocabulary
        var results: [(logits: [UInt32], work: Accounting, bytes: UInt64, spans: Int)] = []
        for mode in Configuration.RankMode.allCases {
            var configuration = Self.configuration(source, ranks: 2)
            configuration.rankMode = mode
            let team = try TestModels.ranks(model, configuration, context: tokens.count)
            defer { team.shutdown() }
            for strategy in [Configuration.Strategy.runahead, .zigzag] {
                var logits = [Float](repeating: .nan, count: tokens.count * vocabulary)
                var progress = 0.0
                let run = try logits.withUnsafeMutableBufferPointer {
                    try team.prefill(tokens, strategy: strategy, allLogits: $0.baseAddress) { progress = max(progress, $0) }
                }
                XCTAssertLessThanOrEqual(progress, 1)
                results.append((logits.map(\.bitPattern), run.accounting, run.bytesHandedOver, run.timeline.spans.count))
            }
        }
        XCTAssertTrue(results[0].logits.allSatisfy { Float(bitPattern: $0).isFinite })
        for result in results { XCTAssertTrue(result.logits == results[0].logits) }
        for strategy in 0..<2 {
            XCTAssertEqual(results[strategy].work, results[2 + strategy].work)
            XCTAssertEqual(results[strategy].bytes, results[2 + strategy].bytes)
            XCTAssertGreaterThan(results[2 + strategy].spans, 0)
        }
    }

    /// Slow and noisy links between processes.
    func testThrottledLinks() throws {
        let (source, tokens) = try fixture("llama-gqa")
        let model = try TestModels.model(source, .int8)
        var configuration = Self.configuration(source, ranks: 3)
        configuration.rankMode = .thread
        let threads = try TestModels.ranks(model, configuration, context: 200)
        let expected = try RunBits(threads, tokens, steps: 2)
        threads.shutdown()
        configuration.rankMode = .process
        configuration.throttle = try LinkProfile(parsing: "bandwidth=100MB/s,latency=50us,jitter=20us,bursts=20%,seed=3")
        let team = try TestModels.ranks(model, configuration, context: 200)
        defer { team.shutdown() }
        for strategy in [Configuration.Strategy.runahead, .tspCausal] {
            XCTAssertTrue(try RunBits(team, tokens, strategy: strategy, steps: 2) == expected, "\(strategy)")
        }
    }

    /// Two engines at once, each with its own processes, and events as from threads.
    func testTwoEngines() async throws {
        let expected = try SafetensorsFile(path: try Fixtures.require("llama-mha-tied-rope3/expected.safetensors"))
        let prompt = try expected.integers("input_ids").map(Int32.init)
        let greedy = try expected.integers("greedy_ids").map(Int32.init)
        let source = ModelSource.file(try TestModels.fixture("llama-mha-tied-rope3"))
        let engines = try (0..<2).map { _ in try Engine(Self.configuration(source, ranks: 2)) }
        try await withThrowingTaskGroup(of: [Int32].self) { group in
            for engine in engines + engines {
                group.addTask {
                    var options = GenerationOptions()
                    options.sampling = .greedy
                    options.maximumTokens = 32
                    options.stopsAtEnd = false
                    var ids: [Int32] = []
                    for try await event in engine.generate(prompt, options: options) {
                        if case .token(let token) = event, token.id >= 0 { ids.append(token.id) }
                    }
                    return ids
                }
            }
            for try await ids in group { XCTAssertEqual(ids, greedy) }
        }
    }

    /// A cancelled run leaves the processes as they are.
    func testCancellation() throws {
        let source = ModelSource.synthetic("llama3-8b,layers=40,width=256,heads=4,kv=2,ffn=512,vocab=333,type=q4_0")
        let model = try TestModels.model(source, .int8)
        let tokens = [Int32](repeating: 7, count: 600)
        let team = try TestModels.ranks(model, Self.configuration(source, ranks: 2), context: 700)
        defer { team.shutdown() }
        let expected = try RunBits(team, tokens, steps: 2)
        let pids = team.processIDs
        XCTAssertThrowsError(try team.prefill(tokens) { _ in team.cancel() }) { error in
            XCTAssertEqual((error as? EngineError)?.code, .cancelled, "\(error)")
        }
        XCTAssertTrue(try RunBits(team, tokens, steps: 2) == expected)
        XCTAssertEqual(team.processIDs, pids)
    }

    /// What cannot be started says so at once.
    func testProgramsThatAreNone() throws {
        let (source, _) = try fixture("llama-gqa")
        for (program, code, text) in [
            ("/nowhere/kvcpu", EngineError.Code.system, "/nowhere/kvcpu"),
            ("/bin/true", .rank, "rank 0 ended with code 0 before it came: /bin/true may not be a program for ranks"),
        ] {
            var configuration = Self.configuration(source, ranks: 2)
            configuration.rankExecutable = program
            XCTAssertThrowsError(try Engine(configuration)) { error in
                XCTAssertEqual((error as? EngineError)?.code, code, "\(error)")
                XCTAssertTrue("\(error)".contains(text), "\(error)")
            }
        }
        var configuration = Self.configuration(source, ranks: 2)
        configuration.silenceLimit = 0
        XCTAssertThrowsError(try Engine(configuration)) { XCTAssertEqual(($0 as? EngineError)?.code, .request) }
    }
}
