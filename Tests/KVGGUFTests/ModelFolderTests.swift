import Foundation
import KVGGUF
import KVTestSupport
import XCTest

/// Folders of safetensors against what llama.cpp's converter made of the same models: keys, names, order of rows, computed tensors.
final class ModelFolderTests: XCTestCase {
    private func floats(_ tensor: TensorInfo, _ file: GGUFFile) throws -> [Float] {
        try file.bytes(of: tensor).withMemoryRebound(to: UInt8.self) { bytes in
            let raw = UnsafeRawBufferPointer(bytes)
            return (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
    }

    private func write(
        _ name: String, _ family: HuggingFaceFolder.Family, heads: (query: Int, key: Int) = (1, 1), shards: Int = 1,
        dtype: String = "F32", config: ((inout [String: Any]) -> Void)? = nil
    ) throws -> (folder: String, file: GGUFFile) {
        let file = try GGUFFile(path: Fixtures.require("\(name)/model.gguf"))
        var data = try Data(contentsOf: URL(fileURLWithPath: Fixtures.require("\(name)/config.json")))
        if let config {
            var object = try XCTUnwrap(JSONSerialization.jsonObject(with: data) as? [String: Any])
            config(&object)
            data = try JSONSerialization.data(withJSONObject: object)
        }
        let folder = try HuggingFaceFolder(file, config: data, family: family, heads: heads, dtype: dtype, shards: shards) {
            try floats($0, file)
        }
        addTeardownBlock { folder.remove() }
        return (folder.path, file)
    }

    /// - Parameter except: keys that differ, on purpose.
    private func check(
        _ name: String, _ family: HuggingFaceFolder.Family, heads: (query: Int, key: Int) = (1, 1), shards: Int = 1,
        except: Set<String> = []
    ) throws {
        let (path, truth) = try write(name, family, heads: heads, shards: shards)
        let file = try GGUFFile.open(path)
        XCTAssertEqual(file.folder, path)
        let architecture = try truth.metadata.string("general.architecture")
        for key in truth.metadata.keys where key.hasPrefix(architecture + ".") && !except.contains(key) {
            XCTAssertEqual(file.metadata[key]?.short, truth.metadata[key]?.short, "\(name): \(key)")
        }
        XCTAssertEqual(try file.metadata.string("general.architecture"), architecture)
        var expected: [String: (dimensions: [Int], values: [Float])] = [:]
        for tensor in truth.tensors {
            let values = try floats(tensor, truth)
            guard tensor.name.hasSuffix("_exps.weight") else {
                expected[tensor.name] = (tensor.dimensions, values)
                continue
            }
            // Each expert's matrix under a name of its own, as in GGUF files before these were stacked.
            let size = values.count / tensor.dimensions[2]
            for expert in 0..<tensor.dimensions[2] {
                let name = tensor.name.replacingOccurrences(of: "_exps", with: ".\(expert)")
                expected[name] = (Array(tensor.dimensions.dropLast()), Array(values[expert * size..<(expert + 1) * size]))
            }
        }
        XCTAssertEqual(Set(file.tensors.map(\.name)), Set(expected.keys), name)
        for (tensor, (dimensions, expected)) in expected {
            let found = try XCTUnwrap(file.tensor(tensor))
            XCTAssertEqual(found.dimensions, dimensions, "\(name): \(tensor)")
            var values = try floats(found, file)
            if let order = found.rowOrder {
                values = order.flatMap { values[Int($0) * found.columns..<(Int($0) + 1) * found.columns] }
            }
            XCTAssertTrue(values.elementsEqual(expected) { $0.bitPattern == $1.bitPattern }, "\(name): \(tensor)")
        }
    }

    func testLlama() throws {
        try check("llama-gqa", .llama, heads: (6, 2))
        try check("llama-gqa", .llama, heads: (6, 2), shards: 3)
        // Tied, and with the divisors of Llama 3's frequencies.
        try check("llama-mha-tied-rope3", .llama, heads: (4, 4), shards: 2)
        try check("mistral-swa", .llama, heads: (4, 2))
    }

    func testFalcon() throws {
        // The converter writes 2,048 whatever the configuration says.
        try check("falcon-7b", .falcon(groups: 1, queries: 8), except: ["falcon.context_length"])
        try check("falcon-40b", .falcon(groups: 2, queries: 3), except: ["falcon.context_length"])
    }

    func testOthers() throws {
        try check("qwen2", .plain)
        try check("qwen3", .plain, shards: 2)
        try check("olmo2", .olmo2)
        try check("phi3", .phi3)
        try check("gemma2", .gemma2)
        try check("gemma3", .gemma2)
        try check("gptneox", .neox(heads: 4))
    }

    func testExperts() throws {
        try check("mixtral", .mixtral, heads: (4, 2), shards: 2)
        try check("qwen2moe", .experts(fused: false), shards: 3)
    }

    func testNamesOfTheFolder() throws {
        let (path, _) = try write("llama-gqa", .llama, heads: (6, 2), shards: 2)
        for name in ["", "/", "/config.json", "/model.safetensors.index.json", "/model-00001-of-00002.safetensors"] {
            XCTAssertEqual(try GGUFFile.open(path + name).folder, path, name)
        }
        XCTAssertNil(try GGUFFile.open(try Fixtures.require("llama-gqa/model.gguf")).folder)
        XCTAssertThrowsError(try GGUFFile.open(path + "/none.json")) { XCTAssertEqual(($0 as? GGUFError)?.kind, .notFound) }
    }

    func testBFloat16() throws {
        let (path, truth) = try write("llama-gqa", .llama, heads: (6, 2), dtype: "BF16")
        let file = try GGUFFile.open(path)
        let tensor = try XCTUnwrap(file.tensor("blk.1.attn_q.weight"))
        XCTAssertEqual(tensor.type, .bf16)
        let bytes = try file.bytes(of: tensor)
        let expected = try floats(XCTUnwrap(truth.tensor("blk.1.attn_q.weight")), truth)
        let order = try XCTUnwrap(tensor.rowOrder)
        for row in 0..<tensor.rows {
            for column in 0..<tensor.columns {
                let place = (Int(order[row]) * tensor.columns + column) * 2
                let bits = bytes.loadUnaligned(fromByteOffset: place, as: UInt16.self)
                XCTAssertEqual(bits, UInt16(expected[row * tensor.columns + column].bitPattern >> 16))
            }
        }
    }

    // MARK: Broken folders

    /// - Parameter parts: what the message must name.
    private func fails(
        _ path: String, _ kind: GGUFError.Kind, _ parts: String..., file: StaticString = #filePath, line: UInt = #line
    ) {
        XCTAssertThrowsError(try GGUFFile.open(path), file: file, line: line) { error in
            XCTAssertEqual((error as? GGUFError)?.kind, kind, "\(error)", file: file, line: line)
            for part in parts { XCTAssertTrue("\(error)".contains(part), "\(error): no \(part)", file: file, line: line) }
        }
    }

    private func broken(_ change: @escaping (inout [String: Any]) -> Void) throws -> String {
        try write("llama-gqa", .llama, heads: (6, 2), config: change).folder
    }

    func testConfigurations() throws {
        fails(try broken { $0["num_hidden_layers"] = nil }, .missingKey, "config.json", "num_hidden_layers")
        fails(try broken { $0["rms_norm_eps"] = "small" }, .wrongType, "config.json", "rms_norm_eps", "small")
        fails(try broken { $0["hidden_size"] = -96 }, .wrongType, "hidden_size", "-96")
        fails(try broken { $0["hidden_size"] = 1e30 }, .wrongType, "hidden_size")
        fails(try broken { $0["num_attention_heads"] = 0 }, .wrongType, "num_attention_heads")
        fails(try broken { $0["architectures"] = ["BertModel"] }, .unsupported, "architectures", "BertModel", "LlamaForCausalLM")
        fails(try broken { $0["architectures"] = [] }, .wrongType, "architectures")
        fails(try broken { $0["architectures"] = nil }, .missingKey, "architectures")
        fails(try broken { $0["hidden_act"] = "relu" }, .unsupported, "hidden_act", "relu")
        fails(try broken { $0["quantization_config"] = ["bits": 4] }, .unsupported, "quantization_config")
        for method in ["fp8", "compressed-tensors", "gptq", "awq"] {
            fails(
                try broken { $0["quantization_config"] = ["quant_method": method] }, .unsupported, "quantization_config",
                "\"\(method)\"", "--type")
        }
        fails(try broken { $0["rope_parameters"] = ["rope_type": "dynamic"] }, .unsupported, "rope_type", "dynamic")
        fails(try broken { $0["rope_parameters"] = 3 }, .wrongType, "rope_parameters")
        fails(
            try broken {
                $0["rope_parameters"] = nil
                $0["rope_scaling"] = ["type": "linear"]
            }, .missingKey, "factor")
        fails(
            try broken { $0["rope_parameters"] = ["rope_type": "llama3", "high_freq_factor": 1.0, "low_freq_factor": 1.0] },
            .unsupported, "high_freq_factor")
        // Heads that the rows are not whole ones of.
        fails(try broken { $0["num_attention_heads"] = 7 }, .malformed, "self_attn.q_proj.weight", "96 rows")
    }

    /// Fields of layers' kinds, LongRoPE and parts that cannot be computed, or are not there.
    func testConfigurationsOfLayers() throws {
        func gemma(_ change: @escaping (inout [String: Any]) -> Void) throws -> String {
            try write("gemma3", .gemma2, config: change).folder
        }
        let full = "full_attention", sliding = "sliding_attention"
        fails(try gemma { $0["layer_types"] = [full, sliding, sliding, full, full, full, full] }, .unsupported, "layer_types")
        fails(try gemma { $0["layer_types"] = [sliding, full] }, .unsupported, "layer_types", "2 types for 7 layers")
        fails(try gemma { $0["layer_types"] = [1] }, .wrongType, "layer_types")
        fails(try gemma { $0["use_bidirectional_attention"] = true }, .unsupported, "use_bidirectional_attention")
        fails(try gemma { $0["architectures"] = ["Gemma3ForConditionalGeneration"] }, .missingKey, "text_config")
        fails(
            try gemma { $0["rope_parameters"] = [sliding: ["rope_type": "linear", "factor": 2.0]] }, .unsupported,
            "sliding_attention.rope_type", "linear")
        // Every third layer sees all, every layer slides: said where GGUF files do not.
        let third = [sliding, sliding, full, sliding, sliding, full, sliding]
        for (types, period) in [(third, 3), ([String](repeating: sliding, count: 7), 8)] {
            let file = try GGUFFile.open(try gemma { $0["layer_types"] = types })
            XCTAssertEqual(try file.metadata.integer("gemma3.attention.sliding_window_pattern"), period)
        }
        // What turns of each head, beside the rest of the rotary embedding and, before transformers 5, of the model.
        for old in [false, true] {
            let path = try write("phi3", .phi3) {
                $0["rope_parameters"] = old ? nil : ["partial_rotary_factor": 0.5]
                $0["partial_rotary_factor"] = old ? 0.5 : nil
            }.folder
            XCTAssertEqual(try GGUFFile.open(path).metadata.integer("phi3.rope.dimension_count"), 8)
        }
        let file = try GGUFFile.open(try gemma { $0["query_pre_attn_scalar"] = 25 })
        XCTAssertEqual(try file.metadata.float("gemma3.attention.scale"), Double(Float(0.2)))
        fails(
            try broken {
                $0["architectures"] = ["GraniteMoeHybridForCausalLM"]
                $0["layer_types"] = ["mamba", "attention"]
            }, .unsupported, "layer_types")
        fails(
            try broken { $0["rope_parameters"] = ["rope_type": "yarn", "factor": 2.0, "mscale": 0.7] }, .unsupported, "mscale")
        fails(try broken { $0["rope_parameters"] = ["rope_type": "longrope"] }, .missingKey, "original_max_position_embeddings")
        fails(
            try broken { $0["rope_parameters"] = ["rope_type": "longrope", "original_max_position_embeddings": 64] }, .missingKey,
            "short_factor")
    }

    func testOldRopeFields() throws {
        let path = try broken {
            $0["rope_parameters"] = nil
            $0["rope_theta"] = 5e5
            $0["rope_scaling"] = ["type": "linear", "factor": 4.0]
        }
        let file = try GGUFFile.open(path)
        XCTAssertEqual(try file.metadata.float("llama.rope.freq_base"), 5e5)
        XCTAssertEqual(try file.metadata.float("llama.rope.scaling.factor"), 4)
        XCTAssertEqual(try file.metadata.string("llama.rope.scaling.type"), "linear")
    }

    private func put(_ path: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// A share of a head that no head has, in every class that reads one; counts that would cost hours.
    func testNumbersOutOfRange() throws {
        for share in [1e30, -1e30, 1e-30, -0.5, 1.5] {
            for (modelClass, field) in [
                ("GPTNeoXForCausalLM", "rotary_pct"), ("Phi3ForCausalLM", "partial_rotary_factor"),
                ("StableLmForCausalLM", "rope_pct"), ("Cohere2ForCausalLM", "rotary_pct"),
            ] {
                let path = try broken {
                    $0["architectures"] = [modelClass]
                    $0[field] = share
                    $0["layer_norm_eps"] = 1e-5
                    $0["hidden_act"] = modelClass == "GPTNeoXForCausalLM" ? "gelu" : "silu"
                    $0["logit_scale"] = 1.0
                }
                fails(path, .unsupported, "config.json", field)
            }
        }
        for layers in [4097, 1 << 30] {
            fails(try broken { $0["num_hidden_layers"] = layers }, .unsupported, "num_hidden_layers", "\(layers)")
        }
        for layers in [1 << 40, Int.max] {
            fails(try broken { $0["num_hidden_layers"] = layers }, .wrongType, "num_hidden_layers", "\(layers)")
        }
        let heads = try broken {
            $0["architectures"] = ["FalconForCausalLM"]
            $0["new_decoder_architecture"] = true
            $0["num_kv_heads"] = Int(Int32.max)
            $0["num_attention_heads"] = Int(Int32.max)
            $0["layer_norm_epsilon"] = 1e-5
        }
        XCTAssertThrowsError(try GGUFFile.open(heads)) { XCTAssertTrue($0 is GGUFError, "\($0)") }
    }

    /// What the configuration asks for, by its fields or its class's defaults (transformers' PretrainedConfig classes), and no file has.
    func testMissingTensors() throws {
        let (path, _) = try write("llama-gqa", .llama, heads: (6, 2)) { $0["tie_word_embeddings"] = false }
        XCTAssertNoThrow(try GGUFFile.open(path))
        func without(_ removed: String, _ change: @escaping (inout [String: Any]) -> Void) throws -> String {
            let folder = try write("llama-gqa", .llama, heads: (6, 2), config: change).folder
            let whole = try SafetensorsFile(path: folder + "/model.safetensors")
            let names = whole.names.filter { $0 != removed }
            let tensors = names.compactMap { name in whole.tensor(name).map { (name, $0.dtype, $0.shape) } }
            let writer = try SafetensorsWriter(path: folder + "/model.safetensors", tensors: tensors)
            for name in names { if let tensor = whole.tensor(name) { try writer.append(tensor.bytes, to: name) } }
            try writer.finish()
            return folder
        }
        fails(
            try without("lm_head.weight") { $0["tie_word_embeddings"] = false }, .missingKey, "lm_head.weight",
            "tie_word_embeddings")
        // Llama's default is false, Cohere's true.
        fails(try without("lm_head.weight") { $0["tie_word_embeddings"] = nil }, .missingKey, "lm_head.weight")
        XCTAssertNil(try GGUFFile.open(without("lm_head.weight") { $0["tie_word_embeddings"] = true }).tensor("output.weight"))
        let cohere = try without("lm_head.weight") {
            $0["architectures"] = ["CohereForCausalLM"]
            $0["tie_word_embeddings"] = nil
            $0["layer_norm_eps"] = 1e-5
            $0["logit_scale"] = 1.0
        }
        XCTAssertNoThrow(try GGUFFile.open(cohere))
        for (field, tensor) in [
            ("attention_bias", "model.layers.0.self_attn.q_proj.bias"), ("mlp_bias", "model.layers.0.mlp.gate_proj.bias"),
        ] {
            fails(try broken { $0[field] = true }, .missingKey, tensor, field)
        }
        // Qwen 2 has biases without any field.
        fails(
            try broken { $0["architectures"] = ["Qwen2ForCausalLM"] }, .missingKey, "model.layers.0.self_attn.q_proj.bias")
    }

    /// An index that leaves out what its shards hold.
    func testForgottenTensor() throws {
        let (path, _) = try write("llama-gqa", .llama, heads: (6, 2), shards: 2)
        let index = path + "/model.safetensors.index.json"
        var object = try XCTUnwrap(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: index))) as? [String: Any])
        var map = try XCTUnwrap(object["weight_map"] as? [String: String])
        map["lm_head.weight"] = nil
        object["weight_map"] = map
        try JSONSerialization.data(withJSONObject: object).write(to: URL(fileURLWithPath: index))
        fails(path, .malformed, "index.json", "lm_head.weight")
    }

    func testFiles() throws {
        let (path, _) = try write("llama-gqa", .llama, heads: (6, 2), shards: 2)
        let shard = "model-00002-of-00002.safetensors"
        let index = path + "/model.safetensors.index.json"
        let good = try String(contentsOfFile: index, encoding: .utf8)
        try put(index, good.replacingOccurrences(of: "model.norm.weight", with: "model.other.weight"))
        fails(path, .malformed, "index.json", "model.other.weight", shard)
        for name in ["../\(shard)", "/etc/passwd", "..", ""] {
            try put(index, "{\"weight_map\": {\"lm_head.weight\": \"\(name)\"}}")
            fails(path, .malformed, "index.json", "lm_head.weight")
        }
        try put(index, "{}")
        fails(path, .missingKey, "index.json", "weight_map")
        try put(index, String(repeating: "[", count: 100_000))
        fails(path, .malformed, "index.json")
        try put(index, good)
        try FileManager.default.removeItem(atPath: path + "/" + shard)
        fails(path, .missingShard, "index.json", shard)
        try put(path + "/" + shard, "????????")
        fails(path, .malformed, shard)
        try FileManager.default.removeItem(atPath: index)
        fails(path, .notFound, "neither model.safetensors nor model.safetensors.index.json")
        try put(path + "/config.json", "not JSON")
        fails(path, .malformed, "config.json")
        try put(path + "/config.json", String(repeating: " ", count: 5 << 20))
        fails(path, .malformed, "config.json", "5242880 bytes")
        try FileManager.default.removeItem(atPath: path + "/config.json")
        try put(path + "/model.gguf", "GGUF")
        fails(path, .notFound, "no config.json", "model.gguf")
    }

    /// Rows of one tensor that lie apart must all be there.
    func testRowsApart() throws {
        let path = try broken {
            $0["architectures"] = ["StableLmForCausalLM"]
            $0["layer_norm_eps"] = 1e-5
            $0["tie_word_embeddings"] = true
        }
        func put(_ rows: [(number: Int, length: Int)]) throws {
            let tensors = rows.map { ("model.layers.0.self_attn.q_layernorm.norms.\($0.number).weight", "F32", [$0.length]) }
            let writer = try SafetensorsWriter(path: path + "/model.safetensors", tensors: tensors)
            for (tensor, row) in zip(tensors, rows) {
                try [Float](repeating: Float(row.number), count: row.length).withUnsafeBytes { try writer.append($0, to: tensor.0) }
            }
            try writer.finish()
        }
        try put([(1, 2), (10, 2), (0, 2), (2, 2)])
        fails(path, .malformed, "row 3 of tensor blk.0.attn_q_norm.weight")
        try put([(0, 2), (1, 3)])
        fails(path, .malformed, "row 1 of tensor blk.0.attn_q_norm.weight")
        try put([(1, 2), (0, 2)])
        let file = try GGUFFile.open(path)
        let tensor = try XCTUnwrap(file.tensor("blk.0.attn_q_norm.weight"))
        XCTAssertEqual(tensor.dimensions, [2, 2])
        XCTAssertEqual(try floats(tensor, file), [0, 0, 1, 1])
    }

    /// A model file with one tensor more, or of another type.
    func testTensors() throws {
        let (path, _) = try write("llama-gqa", .llama, heads: (6, 2)) { $0["tie_word_embeddings"] = true }
        let file = path + "/model.safetensors"
        func replace(_ name: String, _ dtype: String, _ shape: [Int], _ bytes: Int) throws {
            let writer = try SafetensorsWriter(path: file, tensors: [(name, dtype, shape)])
            try [UInt8](repeating: 0, count: bytes).withUnsafeBytes { try writer.append($0, to: name) }
            try writer.finish()
        }
        try replace("model.layers.0.self_attn.sinks", "F32", [4], 16)
        fails(path, .unsupported, "model.layers.0.self_attn.sinks")
        try replace("model.layers.00.mlp.up_proj.weight", "F32", [4, 4], 64)
        fails(path, .unsupported, "model.layers.00.mlp")
        try replace("model.layers.0.mlp.up_proj.weight", "I8", [4, 4], 16)
        fails(path, .unsupported, "model.layers.0.mlp.up_proj.weight", "I8")
        try replace("model.layers.0.mlp.up_proj.weight", "F32", [1, 1, 1, 4, 4], 64)
        fails(path, .malformed, "blk.0.ffn_up.weight")
        try replace("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [4], 16)
        XCTAssertEqual(try GGUFFile.open(path).tensors.count, 0)
    }
}
