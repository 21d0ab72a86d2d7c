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
            ("gptneox", .neox(heads: 4), (1, 1)), ("mixtral", .mixtral, (4, 2)), ("qwen2moe", .experts(fused: false), (1, 1)),
            ("qwen2moe", .experts(fused: true), (1, 1)), ("gemma3", .gemma2, (1, 1)),
        ]
        for (name, family, heads) in cases {
            let (gguf, folder, tokens) = try fixture(name, family, heads: heads)
            let expected = try bits(gguf, .float, tokens)
            XCTAssertTrue(try bits(folder, .float, tokens) == expected, name)
            // Quantised from either, in the same order of rows; by any number of workers.
            let type = ["llama-mha-tied-rope3", "qwen2moe"].contains(name) ? TensorType.f16 : .q8_0
            let quantised = try bits(gguf, .int8, tokens, type: type)
            XCTAssertFalse(quantised == expected, name)
            XCTAssertTrue(try bits(folder, .int8, tokens, type: type, ranks: 3, threads: 2) == quantised, name)
        }
    }

    /// Classes that the fixtures do not have: what the reference models' files compute.
    func testReferenceModels() throws {
        let common: [String: Any] = [
            "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 10_000.0, "rms_norm_eps": 1e-5,
            "layer_norm_eps": 1e-5,
            "vocab_size": 96,
        ]
        let slides = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]
        let yarn: [String: Any] = [
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 0.1 * log(4.0) + 1,
        ]
        let scales: [String: Any] = [
            "embedding_multiplier": 7.0, "residual_multiplier": 0.3, "logits_scaling": 0.4, "attention_multiplier": 0.11,
        ]
        let factors: [String: Any] = [
            "type": "longrope", "short_factor": [1, 1.1, 1.5, 2], "long_factor": [1, 2.5, 4.0, 7],
        ]
        let hybrid: [String: Any] = [
            "layer_types": [String](repeating: "attention", count: 4), "num_local_experts": 0, "shared_intermediate_size": 48,
            "intermediate_size": 7, "position_embedding_type": "rope",
        ]
        let experts: [String: Any] = ["norm_topk_prob": true, "num_experts": 6, "num_experts_per_tok": 3]
        func phi(_ original: Int) -> [String: Any] {
            ["sliding_window": 10, "original_max_position_embeddings": original, "rope_scaling": factors]
        }
        let gelu = ["hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5] as [String: Any]
        let cases: [(String, String, HuggingFaceFolder.Family, [String: Any])] = [
            ("llama-yarn", "LlamaForCausalLM", .llama, ["rope_parameters": yarn.merging(["rope_theta": 10_000.0]) { $1 }]),
            ("llama-biases", "LlamaForCausalLM", .llama, [:]),
            ("qwen3moe", "Qwen3MoeForCausalLM", .experts(fused: false), experts),
            ("qwen3moe", "Qwen3MoeForCausalLM", .experts(fused: true), experts),
            ("smollm3", "SmolLM3ForCausalLM", .llama, ["no_rope_layers": [1, 1, 1, 0]]),
            ("olmo3", "Olmo3ForCausalLM", .olmo2, ["sliding_window": 12, "layer_types": slides, "rope_scaling": yarn]),
            ("granite", "GraniteForCausalLM", .llama, scales),
            ("granite", "GraniteMoeHybridForCausalLM", .granite4, scales.merging(hybrid) { $1 }),
            (
                "granitemoe", "GraniteMoeSharedForCausalLM", .granitemoe,
                scales.merging(["num_local_experts": 5, "num_experts_per_tok": 2, "shared_intermediate_size": 40]) { $1 }
            ),
            ("command-r", "CohereForCausalLM", .plain, ["logit_scale": 2.5]),
            ("command-r-plus", "CohereForCausalLM", .plain, ["logit_scale": 2.5, "use_qk_norm": true]),
            ("cohere2", "Cohere2ForCausalLM", .plain, ["logit_scale": 2.5, "sliding_window": 12, "layer_types": slides]),
            ("starcoder2", "Starcoder2ForCausalLM", .starcoder2, gelu),
            ("stablelm", "StableLmForCausalLM", .stablelm, ["partial_rotary_factor": 0.25]),
            ("stablelm-parallel", "StableLmForCausalLM", .stablelm, ["rope_pct": 0.25, "use_parallel_residual": true]),
            ("gemma", "GemmaForCausalLM", .gemma, ["hidden_act": "gelu", "head_dim": 8]),
            ("phi3-long", "Phi3ForCausalLM", .phi3, phi(32)),
            ("phi3-short", "Phi3ForCausalLM", .phi3, phi(256)),
        ]
        for (name, modelClass, family, fields) in cases {
            let path = Fixtures.repository.appendingPathComponent("Tests/Fixtures/reference/\(name)").path
            let gguf = try GGUFFile(path: path + "/model.gguf")
            let tokens = try SafetensorsFile(path: path + "/expected.safetensors").integers("input_ids").map { Int32($0) }
            // Not every class's own default.
            let isTied = gguf.tensor("output.weight") == nil
            let config = common.merging(fields) { $1 }
                .merging(["architectures": [modelClass], "tie_word_embeddings": isTied]) { $1 }
            let folder = try folder(gguf, config, family, heads: (4, 2), shards: 2)
            XCTAssertTrue(try bits(folder, .float, tokens) == bits(gguf, .float, tokens), "\(name) as \(modelClass)")
        }
    }

    /// Gemma 3 with images: the text part alone, whatever its tensors' names begin with, and with transformers' defaults.
    func testTextPart() throws {
        let (gguf, _, tokens) = try fixture("gemma3", .gemma2)
        let expected = try bits(gguf, .float, tokens)
        let text: [String: Any] = [
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7, "head_dim": 16, "num_key_value_heads": 1,
            "num_attention_heads": 4, "query_pre_attn_scalar": 16, "sliding_window": 12, "max_position_embeddings": 512,
        ]
        let config: [String: Any] = [
            "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text, "vision_config": ["hidden_size": 1],
        ]
        for old in [true, false] {
            let folder = try folder(gguf, config, .gemma3Images(old: old), heads: (1, 1), shards: 1)
            XCTAssertTrue(try bits(folder, .float, tokens) == expected, "old names: \(old)")
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
