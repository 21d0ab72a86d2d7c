import Foundation
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// Logits, caches and continuations against Hugging Face transformers in float64 (fixtures/INDEX.md gives the bounds).
final class FixtureTests: XCTestCase {
    func testGroupedQuery() throws { try check("llama-gqa") }
    func testMultiHeadTiedRope3() throws { try check("llama-mha-tied-rope3") }
    func testQ8WithFloatActivations() throws { try check("q-llama-q8_0") }
    func testQ4KMWithFloatActivations() throws { try check("q-llama-q4_k_m") }

    func testFalconMultiQuery() throws { try check("falcon-7b") }
    func testFalconGroupedQuery() throws { try check("falcon-40b") }

    func testMistralWindow() throws { try check("mistral-swa") }
    func testMixtral() throws { try check("mixtral") }
    func testQwen2() throws { try check("qwen2") }
    func testQwen2MoE() throws { try check("qwen2moe") }
    func testQwen3() throws { try check("qwen3") }
    func testGemma2() throws { try check("gemma2") }
    func testGemma3() throws { try check("gemma3") }
    func testPhi3() throws { try check("phi3") }
    func testGPTNeoX() throws { try check("gptneox") }
    func testOLMo2() throws { try check("olmo2") }

    /// Architectures and variants that the fixtures above do not have, against `Tests/Fixtures/reference/make.py`.
    func testReference() throws {
        let folder = Fixtures.repository.appendingPathComponent("Tests/Fixtures/reference")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { !$0.contains(".") }.sorted()
        XCTAssertGreaterThanOrEqual(names.count, 18)
        for name in names { try check("reference/\(name)") }
    }

    func check(_ name: String) throws {
        try Self.check(
            name, model: try TestModels.fixture(name), SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors")))
    }

    /// - Parameters:
    ///   - path: a GGUF file or a folder.
    ///   - hasCaches: what is expected holds keys and values, too.
    static func check(
        _ name: String, model path: String, _ expected: SafetensorsFile, hasCaches: Bool = true, ranks: Int = 3
    ) throws {
        let tokens = try expected.integers("input_ids").map(Int32.init)
        var configuration = Configuration(model: path)
        configuration.cacheElement = .f32
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        let model = try TestModels.model(configuration.model, .float)
        let greedy = try expected.integers("greedy_ids").map(Int32.init)
        let steps = greedy.count
        let team = try TestModels.ranks(model, configuration, context: tokens.count + steps)
        defer { team.shutdown() }
        let vocabulary = model.geometry.vocabulary
        var logits = [Float](repeating: .nan, count: tokens.count * vocabulary)
        try logits.withUnsafeMutableBufferPointer { buffer in
            _ = try team.prefill(tokens, allLogits: buffer.baseAddress)
        }
        let truth = try expected.floats("logits_f64")
        XCTAssertEqual(logits.count, truth.count)
        let error = zip(logits, truth).reduce(Float(0)) { max($0, ($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1)) }
        XCTAssertLessThanOrEqual(error, 5e-4, "\(name): logits")
        XCTAssertGreaterThan(error, 0)
        print("\(name): largest logit error \(error)")
        if hasCaches { try checkCache(name, team.cache, expected, positions: tokens.count) }

        // A prefill that computes the last token only has the same bits there.
        _ = try team.prefill(tokens)
        XCTAssertTrue(team.logits.elementsEqual(logits.suffix(vocabulary)), "\(name): last-layer pruning changes logits")
        var sampler = Sampler(.greedy)
        var ids: [Int32] = []
        for _ in 0..<steps {
            let id = sampler.next(team.logits)
            ids.append(id)
            try team.decode(id)
        }
        XCTAssertEqual(ids, greedy, "\(name): continuation")
    }

    /// 8-bit activations on a K-quant file: held to the error that llama.cpp has on it (the fixture's README: rms 8.48e-02).
    func testQ4KMWithInt8Activations() throws {
        let name = "q-llama-q4_k_m"
        let expected = try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors"))
        let tokens = try expected.integers("input_ids").map(Int32.init)
        var configuration = Configuration(model: try TestModels.fixture(name))
        configuration.cacheElement = .f32
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        let model = try TestModels.model(configuration.model, .int8)
        let team = try TestModels.ranks(model, configuration, context: tokens.count)
        let truth = try expected.floats("logits_f64")
        var logits = [Float](repeating: .nan, count: truth.count)
        try logits.withUnsafeMutableBufferPointer { buffer in
            _ = try team.prefill(tokens, allLogits: buffer.baseAddress)
        }
        let squares = zip(logits, truth).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        let error = (squares / Double(truth.count)).squareRoot()
        print("\(name) int8: rms logit error \(error)")
        XCTAssertLessThan(error, 0.085)
        XCTAssertGreaterThan(error, 0)
    }

    /// Experts of one layer, matrices of one expert, and matrices of one input in formats that take different inputs: each gets its own.
    /// int8 inputs of the Q8_0 matrices alone round, to 1/254 of a block's largest value.
    func testMixedFormatsWithInt8Activations() throws {
        let folder = Fixtures.repository.appendingPathComponent("Tests/Fixtures/reference/mixed-experts").path
        let expected = try SafetensorsFile(path: "\(folder)/expected.safetensors")
        let tokens = try expected.integers("input_ids").map(Int32.init)
        let truth = try expected.floats("logits_f64")
        var configuration = Configuration(model: "\(folder)/model.gguf")
        configuration.cacheElement = .f32
        configuration.threadsPerRank = 1
        let model = try TestModels.model(configuration.model, .int8)
        let team = try TestModels.ranks(model, configuration, context: tokens.count)
        defer { team.shutdown() }
        let vocabulary = model.geometry.vocabulary
        var logits = [Float](repeating: .nan, count: truth.count)
        try logits.withUnsafeMutableBufferPointer { _ = try team.prefill(tokens, allLogits: $0.baseAddress) }
        func rms(_ values: [Float]) -> Float { (values.reduce(0) { $0 + $1 * $1 } / Float(values.count)).squareRoot() }
        let error = rms(zip(logits, truth).map { $0 - $1 }) / rms(truth)
        print("mixed formats, int8: rms error \(error) of the logits'")
        XCTAssertLessThan(error, 0.1)
        XCTAssertGreaterThan(error, 1e-5, "no input was quantised")
        // One token at a time takes another way to the experts.
        _ = try team.prefill(Array(tokens.prefix(1)))
        for id in tokens.dropFirst() { try team.decode(id) }
        XCTAssertTrue(team.logits.elementsEqual(logits.suffix(vocabulary)), "decode and prefill differ")
    }

    /// The fixture's keys have halves; llama's are stored with adjacent pairs.
    static func checkCache(_ name: String, _ cache: KVCache, _ expected: SafetensorsFile, positions: Int) throws {
        let geometry = cache.geometry
        let width = geometry.headDimension
        let inOrder = !geometry.interleavesKeys
        for (tensor, isValue) in [("k_cache", false), ("v_cache", true)] {
            let truth = try expected.floats(tensor)
            let largest = truth.reduce(Float(0)) { max($0, abs($1)) }
            var error = Float(0)
            for layer in 0..<geometry.layers {
                for head in 0..<geometry.keyValueHeads {
                    let rows = cache.floats(layer: layer, value: isValue, head: head, positions: positions)
                    let base = (layer * geometry.keyValueHeads + head) * positions * width
                    for position in 0..<positions {
                        for element in 0..<width {
                            let adjacent = element < width / 2 ? 2 * element : 2 * (element - width / 2) + 1
                            let source = isValue || inOrder ? element : adjacent
                            let value = rows[position * width + source]
                            error = max(error, abs(value - truth[base + position * width + element]))
                        }
                    }
                }
            }
            XCTAssertLessThanOrEqual(error, 1e-4 * largest, "\(name): \(tensor)")
        }
    }

    // MARK: The default model

    func standard(_ activations: ActivationType) throws -> (Ranks, SafetensorsFile, [Int32]) {
        let expected = try SafetensorsFile(path: try Fixtures.require("smollm2/expected.safetensors"))
        let tokens = try expected.integers("input_ids").map(Int32.init)
        var configuration = Configuration(model: try TestModels.standard())
        configuration.cacheElement = activations == .float ? .f32 : .f16
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        let model = try TestModels.model(configuration.model, activations)
        return (try TestModels.ranks(model, configuration, context: tokens.count + 48), expected, tokens)
    }

    /// The listed positions' logits. Each is the last token of a shorter prompt, which spares memory for all 247 × 49,152.
    func logits(_ ranks: Ranks, _ tokens: [Int32], _ positions: [Int]) throws -> [[Float]] {
        try positions.map { position in
            _ = try ranks.prefill(Array(tokens.prefix(position + 1)))
            return Array(ranks.logits)
        }
    }

    func testDefaultModelExact() throws {
        let (ranks, expected, tokens) = try standard(.float)
        let positions = try expected.integers("positions")
        let truth = try expected.floats("logits")
        let vocabulary = ranks.model.geometry.vocabulary
        let largest = truth.reduce(Float(0)) { max($0, abs($1)) }
        var error = Float(0)
        for (index, row) in try logits(ranks, tokens, positions).enumerated() {
            for id in 0..<vocabulary { error = max(error, abs(row[id] - truth[index * vocabulary + id])) }
        }
        print("smollm2 exact: largest error / largest logit = \(error / largest)")
        XCTAssertLessThanOrEqual(error / largest, 10 * 1.269e-6)
        try checkLayers(ranks, expected, tokens)
        XCTAssertEqual(try greedy(ranks, tokens, 48), try expected.integers("greedy_ids").map(Int32.init))
    }

    /// First and last layer's keys and values, within the same bound as the logits relative to their largest.
    func checkLayers(_ ranks: Ranks, _ expected: SafetensorsFile, _ tokens: [Int32]) throws {
        _ = try ranks.prefill(tokens)
        let geometry = try ranks.cache.geometry
        let width = geometry.headDimension
        for (name, layer, isValue) in [
            ("key_layer_first", 0, false), ("value_layer_first", 0, true), ("key_layer_last", geometry.layers - 1, false),
            ("value_layer_last", geometry.layers - 1, true),
        ] {
            let truth = try expected.floats(name)
            let largest = truth.reduce(Float(0)) { max($0, abs($1)) }
            var error = Float(0)
            for head in 0..<geometry.keyValueHeads {
                let rows = try ranks.cache.floats(layer: layer, value: isValue, head: head, positions: tokens.count)
                for index in 0..<tokens.count * width {
                    let element = index % width
                    let source = isValue ? element : element < width / 2 ? 2 * element : 2 * (element - width / 2) + 1
                    error = max(error, abs(rows[index - element + source] - truth[head * tokens.count * width + index]))
                }
            }
            XCTAssertLessThanOrEqual(error, 1e-4 * largest, name)
        }
    }

    func greedy(_ ranks: Ranks, _ tokens: [Int32], _ count: Int) throws -> [Int32] {
        _ = try ranks.prefill(tokens)
        var sampler = Sampler(.greedy)
        var ids: [Int32] = []
        for _ in 0..<count {
            ids.append(sampler.next(ranks.logits))
            try ranks.decode(ids[ids.count - 1])
        }
        return ids
    }

    /// int8 activations: the same first 8 greedy tokens, and a divergence below 0.02 at every position.
    func testDefaultModelInt8() throws {
        let (ranks, expected, tokens) = try standard(.int8)
        let positions = try expected.integers("positions")
        let truth = try expected.floats("logits")
        let vocabulary = ranks.model.geometry.vocabulary
        for (index, row) in try logits(ranks, tokens, positions).enumerated() {
            let divergence = Self.divergence(Array(truth[index * vocabulary..<(index + 1) * vocabulary]), row)
            print("smollm2 int8: position \(positions[index]) divergence \(divergence)")
            XCTAssertLessThan(divergence, 0.02, "position \(positions[index])")
            XCTAssertGreaterThan(divergence, 0)
        }
        XCTAssertEqual(
            try greedy(ranks, tokens, 8), try expected.integers("greedy_ids").prefix(8).map(Int32.init))
    }

    /// Kullback-Leibler divergence of the softmax distributions, in nats.
    static func divergence(_ truth: [Float], _ other: [Float]) -> Double {
        func logSoftmax(_ logits: [Float]) -> [Double] {
            let largest = Double(logits.max() ?? 0)
            let sum = logits.reduce(0.0) { $0 + exp(Double($1) - largest) }
            return logits.map { Double($0) - largest - log(sum) }
        }
        return zip(logSoftmax(truth), logSoftmax(other)).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    }
}
