import Foundation
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// A prompt's keys and values from a file give the bits of a cold start, or the file is named and not used: whatever one changes of
/// the model or the options.
final class PromptOriginTests: XCTestCase {
    private var folder = ""
    private static let prompt: [Int32] = (0..<40).map { 1 + $0 * 7 % 50 }

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "kvcpu-origin-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(atPath: folder) }

    /// One way to run a model.
    private struct Variant {
        var model: String
        var ranks = 1
        var link = Configuration.Link.auto
        var strategy = Configuration.Strategy.runahead
        var activations = ActivationType.int8
        var cache = Configuration.CacheElement.f16
        var type: TensorType?
        var kernels: String?
        var context = 64

        func open() throws -> Ranks {
            var configuration = Configuration(model: model)
            configuration.ranks = ranks
            configuration.threadsPerRank = 1
            configuration.link = link
            configuration.strategy = strategy
            configuration.cacheElement = cache
            let model = try Model(
                try ModelSource.file(model).open(), kernels: try Kernels.choose(named: kernels), activations: activations,
                type: type)
            return try TestModels.ranks(model, configuration, context: context)
        }
    }

    private func write(_ variant: Variant, to path: String) throws {
        let ranks = try variant.open()
        defer { ranks.shutdown() }
        _ = try ranks.prefill(Self.prompt)
        try ranks.savePrompt(to: path)
    }

    /// Why the file is not used; nil where it is, to the bits of a cold start.
    private func refusal(_ variant: Variant, _ path: String, _ what: String) throws -> String? {
        let ranks = try variant.open()
        defer { ranks.shutdown() }
        let longer = Self.prompt + [5, 9, 2]
        let restored: Int
        do { restored = try ranks.restorePrompt(from: path) } catch {
            XCTAssertEqual(error.code, .request, what)
            XCTAssertTrue(error.description.contains(path), error.description)
            XCTAssertEqual(try ranks.prefill(longer, reuses: true).reused, 0, what)
            return error.description
        }
        XCTAssertEqual(restored, Self.prompt.count, what)
        let reused = try ranks.prefill(longer, reuses: true).reused
        XCTAssertEqual(reused, variant.strategy.gathers ? 0 : Self.prompt.count, what)
        let warm = try RunBits(of: ranks, longer.count, steps: 2)
        XCTAssertTrue(try RunBits(ranks, longer, steps: 2) == warm, "\(what): other bits than a cold start's")
        return nil
    }

    /// What gives the same bits takes the file; what may give others does not, and says what differs.
    func testOptions() throws {
        let base = Variant(model: try Fixtures.require("../cases/prompt-cache/a.gguf"))
        let path = folder + "/p.kv"
        try write(base, to: path)
        func variant(_ change: (inout Variant) -> Void) -> Variant {
            var variant = base
            change(&variant)
            return variant
        }
        let same: [(String, Variant)] = [
            ("as it was", base), ("ranks", variant { $0.ranks = 2 }),
            ("link", variant { ($0.ranks, $0.link) = (3, .ring) }), ("strategy", variant { $0.strategy = .sequential }),
            ("gathering", variant { ($0.ranks, $0.link, $0.strategy) = (2, .ring, .tspCausal) }),
            ("instruction set", variant { $0.kernels = "scalar" }), ("context", variant { $0.context = 128 }),
        ]
        for (what, variant) in same { XCTAssertNil(try refusal(variant, path, what), what) }
        let others: [(String, Variant)] = [
            ("activations int8, not f32", variant { $0.activations = .float }),
            ("cache type f16, not f32", variant { $0.cache = .f32 }),
            ("weight type (--type) file, not q8_0", variant { $0.type = TensorType(named: "q8_0") }),
            ("weight type (--type) file, not f16", variant { $0.type = TensorType(named: "f16") }),
        ]
        for (part, variant) in others {
            let reason = try refusal(variant, path, part)
            XCTAssertTrue(reason?.contains(part) ?? false, "\(part): \(reason ?? "used")")
        }
    }

    /// Two files with the same header and size.
    func testOtherWeightsUnderTheSameHeader() throws {
        let path = folder + "/p.kv"
        try write(Variant(model: try Fixtures.require("../cases/prompt-cache/a.gguf")), to: path)
        let reason = try refusal(Variant(model: try Fixtures.require("../cases/prompt-cache/b.gguf")), path, "b")
        XCTAssertTrue(reason?.contains("of weights") ?? false, reason ?? "used")
    }

    /// A changed bit of any tensor, and a changed number of any of the model's keys: another model.
    func testEveryTensorAndKey() throws {
        for fixture in ["llama-mha-tied-rope3", "gptneox"] {
            let original = try TestModels.fixture(fixture)
            let path = folder + "/\(fixture).kv"
            try write(Variant(model: original), to: path)
            let bytes = try Data(contentsOf: URL(fileURLWithPath: original))
            let changed = folder + "/\(fixture).gguf"
            let expected = try origin(original)
            func differs(_ data: Data, _ what: String) throws -> String? {
                try data.write(to: URL(fileURLWithPath: changed))
                // A key that the file may not have otherwise is refused before.
                guard let other = try? origin(changed) else { return "not opened" }
                return expected.difference(from: other)
            }
            XCTAssertNil(try differs(bytes, "a copy elsewhere"))
            let file = try GGUFFile.open(original)
            for tensor in file.tensors {
                let content = Data(try file.bytes(of: tensor))
                // Of tensors with the same content the first one's.
                let place = try XCTUnwrap(bytes.range(of: content), tensor.name)
                var copy = bytes
                copy[place.lowerBound + content.count / 2 / 4 * 4] ^= 1
                XCTAssertTrue(try differs(copy, tensor.name)?.contains("weights") ?? false, tensor.name)
            }
            var keys = 0
            for key in file.metadata.keys where !key.hasPrefix("general.") && !key.hasPrefix("tokenizer.") {
                // Name, type of four bytes, value: the lowest bit of a number.
                let name = try XCTUnwrap(bytes.range(of: Data(key.utf8)), key)
                guard case .float? = file.metadata[key] else { continue }
                var copy = bytes
                copy[name.upperBound + 4] ^= 1
                XCTAssertTrue(try differs(copy, key)?.contains("hyperparameters") ?? false, key)
                keys += 1
            }
            XCTAssertGreaterThan(keys, 0)
            // One of them all the way: named, and not used.
            var copy = bytes
            let norm = Data(try file.bytes(of: try XCTUnwrap(file.tensor("output_norm.weight"))))
            copy[try XCTUnwrap(bytes.range(of: norm)).lowerBound + 2] ^= 0x20
            try copy.write(to: URL(fileURLWithPath: changed))
            XCTAssertTrue(try refusal(Variant(model: changed), path, fixture)?.contains("of weights") ?? false)
        }
    }

    private func origin(_ path: String) throws -> PromptOrigin {
        let model = try Model(try ModelSource.file(path).open(), kernels: try Kernels.choose(named: nil), activations: .int8)
        return PromptOrigin(model, packed: nil, try KVCache(model.geometry, type: .f16, capacity: 1), context: 64)
    }

    /// The factors that a context chooses are part of it, whichever way one goes.
    func testContextsWithOtherRotaryFactors() throws {
        let model = try Fixtures.require("../cases/prompt-cache/longrope.gguf")
        let path = folder + "/p.kv"
        for (first, second) in [(128, 512), (512, 128)] {
            try write(Variant(model: model, context: first), to: path)
            let reason = try refusal(Variant(model: model, context: second), path, "\(first) → \(second)")
            XCTAssertTrue(reason?.contains("rotary factors (-c)") ?? false, reason ?? "used")
            XCTAssertNil(try refusal(Variant(model: model, context: first - 4), path, "as it was"))
        }
    }

    /// Digests are the same whoever computes them: any number of workers, or none who packs.
    func testDigestsOfAnyTeam() throws {
        let model = try Model(
            try ModelSource.file(try TestModels.fixture("gptneox")).open(), kernels: try Kernels.choose(named: nil),
            activations: .int8)
        let expected = model.weights.digest(in: nil)
        for count in [1, 2, 3, 7] {
            let copy = try WeightCopy(model.weights)
            for worker in 0..<count { copy.pack(worker: worker, of: count) }
            XCTAssertEqual(model.weights.digest(in: copy), expected, "\(count) workers")
        }
    }

    /// Where a model lies is no part of it, for folders as for files; processes and threads agree.
    func testPathsAndProcesses() throws {
        let original = try TestModels.fixture("llama-mha-tied-rope3")
        let moved = folder + "/elsewhere.gguf"
        try FileManager.default.copyItem(atPath: original, toPath: moved)
        let path = folder + "/p.kv"
        try write(Variant(model: original), to: path)
        XCTAssertNil(try refusal(Variant(model: moved), path, "moved"))
        let model = try TestModels.model(moved, .int8)
        let team = try TestModels.ranks(model, ProcessTests.configuration(.file(moved), ranks: 2), context: 64)
        defer { team.shutdown() }
        XCTAssertEqual(try team.restorePrompt(from: path), Self.prompt.count)
    }
}
