import Foundation
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// A folder of safetensors computes what the GGUF file of the same model does, bit for bit; quantised while loading, too.
final class ModelFolderRunTests: XCTestCase {
    private func bits(
        _ file: GGUFFile, _ activations: ActivationType, _ tokens: [Int32], type: TensorType? = nil, ranks: Int = 2,
        threads: Int = 1
    ) throws -> RunBits {
        let model = try Model(file, kernels: try Kernels.choose(), activations: activations, type: type)
        var configuration = Configuration(model: file.path)
        configuration.ranks = ranks
        configuration.threadsPerRank = threads
        configuration.cacheElement = .f32
        let team = try TestModels.ranks(model, configuration, context: tokens.count + 4)
        defer { team.shutdown() }
        return try RunBits(team, tokens, partition: .even, steps: 4)
    }

    private func folder(
        _ file: GGUFFile, _ config: [String: Any], _ family: HuggingFaceFolder.Family, heads: (query: Int, key: Int), shards: Int
    ) throws -> GGUFFile {
        let folder = try HuggingFaceFolder(
            file, config: JSONSerialization.data(withJSONObject: config), family: family, heads: heads, shards: shards
        ) { try Weights.floats(of: $0, in: file) }
        addTeardownBlock { folder.remove() }
        return try GGUFFile.open(folder.path)
    }

    private func fixture(
        _ name: String, _ family: HuggingFaceFolder.Family, heads: (query: Int, key: Int) = (1, 1)
    ) throws -> (gguf: GGUFFile, folder: GGUFFile, tokens: [Int32]) {
        let gguf = try GGUFFile(path: TestModels.fixture(name))
        let data = try Data(contentsOf: URL(fileURLWithPath: Fixtures.require("\(name)/config.json")))
        let config = try XCTUnwrap(JSONSerialization.jsonObject(with: data) as? [String: Any])
        let tokens = try SafetensorsFile(path: Fixtures.require("\(name)/expected.safetensors")).integers("input_ids")
        return (gguf, try folder(gguf, config, family, heads: heads, shards: 2), tokens.map { Int32($0) })
    }

    func testSameBitsAsGGUF() throws {
        let cases: [(String, HuggingFaceFolder.Family, (Int, Int))] = [
            ("llama-gqa", .llama, (6, 2)), ("llama-mha-tied-rope3", .llama, (4, 4)),
            ("falcon-40b", .falcon(groups: 2, queries: 3), (1, 1)), ("mistral-swa", .llama, (4, 2)), ("qwen2", .plain, (1, 1)),
            ("qwen3", .plain, (1, 1)), ("olmo2", .olmo2, (1, 1)), ("phi3", .phi3, (1, 1)), ("gemma2", .gemma2, (1, 1)),
            ("gptneox", .neox(heads: 4), (1, 1)),
        ]
        for (name, family, heads) in cases {
            let (gguf, folder, tokens) = try fixture(name, family, heads: heads)
            let expected = try bits(gguf, .float, tokens)
            XCTAssertTrue(try bits(folder, .float, tokens) == expected, name)
            // Quantised from either, in the same order of rows; by any number of workers.
            let type = name.hasSuffix("rope3") ? TensorType.f16 : .q8_0
            let quantised = try bits(gguf, .int8, tokens, type: type)
            XCTAssertFalse(quantised == expected, name)
            XCTAssertTrue(try bits(folder, .int8, tokens, type: type, ranks: 3, threads: 2) == quantised, name)
        }
    }

    /// The finer the format, the nearer the exact logits; what cannot be done is an error that says why.
    func testTypes() throws {
        let (gguf, _, tokens) = try fixture("llama-gqa", .llama, heads: (6, 2))
        let exact = try bits(gguf, .float, tokens).logits.map { Float(bitPattern: $0) }
        func error(_ type: TensorType) throws -> Float {
            let logits = try bits(gguf, .float, tokens, type: type).logits.map { Float(bitPattern: $0) }
            return zip(logits, exact).reduce(0) { max($0, abs($1.0 - $1.1)) }
        }
        let errors = try ["f16", "q8_0", "q5_1", "q4_0"].map { try error(XCTUnwrap(TensorType(named: $0))) }
        XCTAssertEqual(errors, errors.sorted(), "a coarser format is nearer: \(errors)")
        XCTAssertGreaterThan(errors[0], 0)
        XCTAssertLessThan(errors[1], 0.1 * (exact.max() ?? 0))
        for (type, reason) in [("q4_k", "96 columns"), ("q3_k", "columns"), ("iq4_nl", "cannot be made")] {
            let type = try XCTUnwrap(TensorType(named: type))
            XCTAssertThrowsError(try bits(gguf, .int8, tokens, type: type)) { error in
                XCTAssertTrue("\(error)".contains(type.name) && "\(error)".contains(reason), "\(error)")
            }
        }
        // Weights that are quantised already stay as they are; where none is left, that is an error.
        let quantised = try GGUFFile(path: TestModels.fixture("q-llama-q8_0"))
        XCTAssertThrowsError(try bits(quantised, .int8, [1, 2, 3], type: .q4_0)) {
            XCTAssertTrue("\($0)".contains("Q4_0"), "\($0)")
        }
        XCTAssertTrue(try bits(quantised, .int8, [1, 2, 3], type: .q8_0) == bits(quantised, .int8, [1, 2, 3]))
    }

    /// The default model as a folder of F32 shards: what its GGUF file computes with weights as floats.
    func testDefaultModel() throws {
        let gguf = try GGUFFile(path: TestModels.standard())
        let config: [String: Any] = [
            "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
            "max_position_embeddings": 8192, "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3,
            "rms_norm_eps": 1e-5, "rope_scaling": NSNull(), "rope_theta": 100_000, "tie_word_embeddings": true, "vocab_size": 49152,
        ]
        let folder = try folder(gguf, config, .llama, heads: (9, 3), shards: 3)
        let tokens: [Int32] = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407]
        let expected = try bits(gguf, .float, tokens)
        XCTAssertTrue(try bits(folder, .float, tokens) == expected)
    }
}
