import Foundation
import KVFabric
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// Ranks on CUDA devices, by the stand-ins for CUDA's libraries (Tests/CUDAEmulator), whose streams run as late as they may: what nobody waits
/// for comes too late.
final class DeviceRanksTests: XCTestCase {
    override func setUpWithError() throws {
        try CUDAEmulator.use(devices: 3)
    }

    /// What a run left: every token's logits, keys and values, and the tokens that follow.
    struct Outcome {
        var logits: [Float]
        var rows: [[Float]]
        var ids: [Int32]
        /// How far the logits of given tokens were behind the best, of the logits' range.
        var lag: Float
    }

    func ranks(_ model: Model, _ devices: String, _ count: Int, context: Int) throws -> Ranks {
        var configuration = Configuration(model: "")
        configuration.devices = try .init(parsing: devices)
        configuration.ranks = count
        configuration.threadsPerRank = 1
        configuration.partition = .even
        let placement = Placement.plan(topology: Topology.read(), ranks: count, threadsPerRank: 1, fit: false)
        return try Ranks(
            model: model, configuration: configuration, placement: placement, contextLength: context,
            devices: DeviceChoice(configuration.devices), progress: { _ in })
    }

    /// - Parameter given: tokens to decode instead of the best ones.
    func outcome(
        _ team: Ranks, _ tokens: [Int32], partition: Partition? = nil, steps: Int, given: [Int32] = []
    ) throws -> Outcome {
        let geometry = team.model.geometry
        var logits = [Float](repeating: .nan, count: tokens.count * geometry.vocabulary)
        try logits.withUnsafeMutableBufferPointer { _ = try team.prefill(tokens, partition: partition, allLogits: $0.baseAddress) }
        _ = try team.prefill(tokens, partition: partition)
        var sampler = Sampler(.greedy)
        var ids: [Int32] = []
        let cache = try team.cache
        let rows = (0..<geometry.layers).flatMap { layer in
            (0..<geometry.keyValueHeads).flatMap { head in
                [false, true].map { cache.floats(layer: layer, value: $0, head: head, positions: tokens.count) }
            }
        }
        var lag = Float(0)
        for step in 0..<steps {
            ids.append(sampler.next(team.logits))
            let best = ids[step]
            let next = step < given.count ? given[step] : best
            if next != best { lag = max(lag, behind(next, best, Array(team.logits))) }
            try team.decode(next)
        }
        return Outcome(logits: logits, rows: rows, ids: ids, lag: lag)
    }

    private func behind(_ token: Int32, _ best: Int32, _ logits: [Float]) -> Float {
        guard let low = logits.min(), let high = logits.max(), high > low else { return .infinity }
        let gap = (logits[Int(best)] - logits[Int(token)]) / (high - low)
        return gap.isNaN ? .infinity : gap
    }

    /// Largest difference, of the second's range.
    func error(_ found: [Float], _ expected: [Float]) -> Float {
        guard found.count == expected.count, let low = expected.min(), let high = expected.max(), high > low else {
            return .infinity
        }
        return zip(found, expected).reduce(Float(0)) { max($0, ($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1)) } / (high - low)
    }

    // MARK: Fixtures

    static let fixtures = [
        "llama-gqa", "llama-mha-tied-rope3", "q-llama-q8_0", "q-llama-q4_k_m", "falcon-7b", "falcon-40b", "mistral-swa", "mixtral",
        "qwen2", "qwen2moe", "qwen3", "gemma2", "gemma3", "phi3", "gptneox", "olmo2",
    ]

    /// Every architecture on one device, by several ranks on one, and by several devices, against float64 of Hugging Face transformers.
    func testFixtures() throws {
        for name in Self.fixtures { try check(name, on: [("cuda:0", 1), ("cuda:0", 2), ("cuda:0,1,2", 4)]) }
    }

    /// Architectures and variants that the fixtures above do not have, against `Tests/Fixtures/reference/make.py`.
    func testReference() throws {
        let folder = Fixtures.repository.appendingPathComponent("Tests/Fixtures/reference")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.contains(".") }.sorted()
        XCTAssertGreaterThanOrEqual(names.count, 18)
        for name in names { try check("reference/\(name)", on: [("cuda:0", 1), ("cuda:0,1", 2)], lag: 0.005) }
    }

    /// - Parameter lag: of the expected tokens' logits behind the best, of the range: 0 where no two come near each other.
    private func check(_ name: String, on teams: [(devices: String, count: Int)], lag: Float = 0) throws {
        let expected = try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors"))
        let tokens = try expected.integers("input_ids").map(Int32.init)
        let truth = try expected.floats("logits_f64")
        let greedy = try expected.integers("greedy_ids").map(Int32.init)
        let model = try TestModels.model(try TestModels.fixture(name), .int8)
        var first: Outcome?
        for (devices, count) in teams {
            let team = try ranks(model, devices, count, context: tokens.count + greedy.count)
            defer { team.shutdown() }
            let found = try outcome(team, tokens, steps: count == 1 ? greedy.count : 8, given: greedy)
            let what = "\(name), \(count) ranks on \(devices)"
            // Weights and inputs of products are float16; 0.004 at most is seen.
            XCTAssertLessThan(error(found.logits, truth), 0.01, what)
            XCTAssertGreaterThan(error(found.logits, truth), 0, what)
            XCTAssertLessThanOrEqual(found.lag, lag, what)
            if lag == 0 { XCTAssertEqual(found.ids, Array(greedy.prefix(found.ids.count)), what) }
            guard let one = first else {
                first = found
                continue
            }
            // A row does not know who computed it.
            XCTAssertLessThan(error(found.rows.flatMap { $0 }, one.rows.flatMap { $0 }), 1e-3, what)
        }
    }

    /// Weights in bfloat16 stay that; so are activations then, whose errors are eight times those of float16.
    func testBrainFloats() throws {
        let source = ModelSource.synthetic("llama-7b,layers=2,width=64,heads=4,kv=2,ffn=160,vocab=256,context=128,type=bf16")
        let tokens = (0..<50).map { Int32($0 * 11 % 256) }
        let alone = try ranks(try TestModels.model(source, .float), "cpu", 1, context: 80)
        defer { alone.shutdown() }
        let team = try ranks(try TestModels.model(source, .int8), "cuda:0,1", 2, context: 80)
        defer { team.shutdown() }
        let expected = try outcome(alone, tokens, steps: 1)
        let found = try outcome(team, tokens, steps: 1)
        XCTAssertLessThan(error(found.logits, expected.logits), 0.02)
        XCTAssertGreaterThan(error(found.logits, expected.logits), 1e-3)
    }

    /// A chain over CPUs and devices in any order: rows of one kind, whoever computed them.
    func testMixedChains() throws {
        for name in ["llama-gqa", "mixtral", "gemma2"] {
            let expected = try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors"))
            let tokens = try expected.integers("input_ids").map(Int32.init)
            let truth = try expected.floats("logits_f64")
            let model = try TestModels.model(try TestModels.fixture(name), .float)
            for (devices, count) in [("cpu,cuda:0", 2), ("cuda:0,cpu", 3), ("cuda:1,cpu,cuda:0", 5)] {
                let team = try ranks(model, devices, count, context: tokens.count + 8)
                defer { team.shutdown() }
                let found = try outcome(team, tokens, steps: 8)
                XCTAssertLessThan(error(found.logits, truth), 0.01, "\(name) on \(devices)")
                XCTAssertEqual(found.ids, try expected.integers("greedy_ids").prefix(8).map(Int32.init), "\(name) on \(devices)")
            }
        }
    }

    /// Chunks of any size, ranks without one included.
    func testPartitions() throws {
        let model = try TestModels.model(try TestModels.fixture("llama-gqa"), .int8)
        let tokens = (0..<61).map { Int32($0 * 7 % 200 + 3) }
        let team = try ranks(model, "cuda:0,1,2", 4, context: 80)
        defer { team.shutdown() }
        let alone = try outcome(team, tokens, partition: .tokens([61, 0, 0, 0]), steps: 4)
        for sizes in [[1, 1, 1, 58], [0, 30, 0, 31], [20, 20, 20, 1], [0, 0, 0, 61], [40, 0, 21, 0]] {
            let found = try outcome(team, tokens, partition: .tokens(sizes), steps: 4)
            XCTAssertLessThan(error(found.logits, alone.logits), 2e-3, "\(sizes)")
            XCTAssertLessThan(error(found.rows.flatMap { $0 }, alone.rows.flatMap { $0 }), 2e-3, "\(sizes)")
            XCTAssertEqual(found.ids, alone.ids, "\(sizes)")
        }
    }

    // MARK: What the host keeps

    /// A prompt that begins like the one before, or like one before that, is computed from there on.
    func testReuse() throws {
        let model = try TestModels.model(try TestModels.fixture("llama-gqa"), .int8)
        let team = try ranks(model, "cuda:0,1", 3, context: 120)
        defer { team.shutdown() }
        let first = (0..<60).map { Int32($0 * 5 % 200 + 3) }
        let other = (0..<50).map { Int32($0 * 3 % 200 + 9) }
        func logits(_ tokens: [Int32], reuses: Bool) throws -> ([Float], Int) {
            let run = try team.prefill(tokens, reuses: reuses)
            return (Array(team.logits), run.reused)
        }
        let longer = first + [7, 8, 9]
        let (cold, _) = try logits(longer, reuses: false)
        _ = try logits(first, reuses: true)
        let (warm, reused) = try logits(longer, reuses: true)
        XCTAssertEqual(reused, 60)
        XCTAssertLessThan(error(warm, cold), 2e-3)
        _ = try logits(other, reuses: true)
        let (again, kept) = try logits(first + [1, 2], reuses: true)
        XCTAssertEqual(kept, 60)
        let (expected, _) = try logits(first + [1, 2], reuses: false)
        XCTAssertLessThan(error(again, expected), 2e-3)
    }

    /// The timeline is the devices' own, and the work is counted as on CPUs.
    func testTimelineAndAccounting() throws {
        let model = try TestModels.model(try TestModels.fixture("llama-gqa"), .int8)
        let team = try ranks(model, "cuda:0,1", 2, context: 64)
        defer { team.shutdown() }
        let run = try team.prefill((0..<48).map { Int32($0 + 3) }, partition: .tokens([28, 20]))
        XCTAssertEqual(run.chunks.map(\.count), [28, 20])
        for rank in 0..<2 {
            let layers = Set(run.timeline.spans.filter { $0.rank == rank && $0.activity == .compute }.map(\.layer))
            XCTAssertEqual(layers, Set(0..<model.geometry.layers))
            XCTAssertLessThan(run.timeline.spans.map(\.end).max() ?? .infinity, run.duration * 1.05)
        }
        let rowBytes = 2 * model.geometry.keyValueWidth * 2
        XCTAssertEqual(run.bytesHandedOver, UInt64(model.geometry.layers * 28 * rowBytes))
        XCTAssertEqual(run.accounting.work[0][0].rectangle, 28 * 28)
        XCTAssertEqual(run.accounting.work[1][0].rectangle, 20 * 48)
    }

    func testCancelledRunLeavesTheRanksUsable() throws {
        let model = try TestModels.model(try TestModels.fixture("llama-gqa"), .int8)
        let team = try ranks(model, "cuda:0,1", 2, context: 600)
        defer { team.shutdown() }
        let tokens = (0..<600).map { Int32($0 % 200 + 3) }
        XCTAssertThrowsError(try team.prefill(tokens) { _ in team.cancel() }) {
            XCTAssertEqual(($0 as? EngineError)?.code, .cancelled)
        }
        let short = Array(tokens.prefix(20))
        _ = try team.prefill(short)
        let after = Array(team.logits)
        let fresh = try ranks(model, "cuda:0", 1, context: 600)
        defer { fresh.shutdown() }
        _ = try fresh.prefill(short)
        XCTAssertLessThan(error(after, Array(fresh.logits)), 2e-3)
    }

    // MARK: Requests

    func testDevicesAreRead() throws {
        XCTAssertEqual(try Configuration.Devices(parsing: "cpu"), .these([.cpu]))
        XCTAssertEqual(try Configuration.Devices(parsing: "cuda:0,1,2"), .these([.cuda(0), .cuda(1), .cuda(2)]))
        XCTAssertEqual(try Configuration.Devices(parsing: "cpu,cuda:1"), .these([.cpu, .cuda(1)]))
        XCTAssertEqual(try Configuration.Devices(parsing: "cuda"), .cuda)
        for text in ["", "gpu", "0", "cuda:", "cuda:x", "cuda:-1", "cpu,1", "cuda,cpu", "cuda:0,,1"] {
            XCTAssertThrowsError(try Configuration.Devices(parsing: text), text) {
                XCTAssertEqual(($0 as? EngineError)?.code, .request)
                XCTAssertTrue("\($0)".contains("\"\(text)\""), "\($0)")
            }
        }
    }

    func testRefusals() throws {
        func code(_ change: (inout Configuration) throws -> Void) -> EngineError? {
            do {
                var configuration = Configuration(model: try TestModels.fixture("llama-gqa"))
                configuration.devices = .cuda
                configuration.ranks = 3
                configuration.contextLength = 64
                try change(&configuration)
                _ = try Engine(configuration)
                return nil
            } catch { return error as? EngineError }
        }
        XCTAssertNil(code { _ in })
        XCTAssertEqual(code { $0.rankMode = .process }?.code, .request)
        XCTAssertEqual(code { $0.strategy = .tsp }?.code, .request)
        XCTAssertEqual(code { $0.cacheElement = .f32 }?.code, .request)
        XCTAssertNil(code { $0.ranks = 2 })
        XCTAssertEqual(
            code {
                $0.devices = .these([.cuda(0), .cuda(1), .cuda(2)])
                $0.ranks = 2
            }?.code, .request)
        let missing = code { $0.devices = .these([.cuda(3)]) }
        XCTAssertEqual(missing?.code, .device)
        XCTAssertTrue(missing?.description.contains("no CUDA device 3") ?? false, "\(String(describing: missing))")
        // 1,000,000,000 positions are beyond the stand-ins' memory.
        let large = code { $0.contextLength = 1_000_000_000 }
        XCTAssertEqual(large?.code, .memory)
    }
}
