package import Foundation
package import KVGGUF

/// Writes folders as Hugging Face keeps models, from a GGUF file's tensors: names, order of rows and norms as transformers has them, stated
/// here once more and apart from what reads them.
package struct HuggingFaceFolder {
    /// Removed by `remove`.
    package let path: String

    package enum Family {
        /// Llama and Mistral, whose GGUF files pair rotated rows side by side; Qwen and others, whose do not.
        case llama, plain, olmo2, phi3, gemma, gemma2, starcoder2, stablelm
        /// Llama's; each expert's matrices apart, or all experts' in one tensor with gate and up together.
        case mixtral, granitemoe
        /// Granite 4: Llama's, with gate and up in one matrix.
        case granite4
        /// As Qwen's; with all experts' matrices in one tensor, as transformers 5 holds them.
        case experts(fused: Bool)
        /// Gemma 3 with a tensor of its image part; the names' beginnings changed with time.
        case gemma3Images(old: Bool)
        case falcon(groups: Int, queries: Int)
        case neox(heads: Int)
    }

    /// - Parameters:
    ///   - shards: above 1, with an index.
    ///   - floats: a tensor's values, in GGUF's order.
    package init(
        _ file: GGUFFile, config: Data, family: Family, heads: (query: Int, key: Int) = (1, 1), dtype: String = "F32",
        shards: Int = 1,
        floats: (TensorInfo) throws -> [Float]
    ) throws {
        path = NSTemporaryDirectory() + "kvfolder-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try config.write(to: URL(fileURLWithPath: path + "/config.json"))
        let parts = try file.tensors.flatMap { try Self.parts($0, file, family, heads, floats) }
        var map: [String: String] = [:]
        for shard in 0..<shards {
            let own = parts[parts.count * shard / shards..<parts.count * (shard + 1) / shards]
            let name = shards == 1 ? "model.safetensors" : "model-0000\(shard + 1)-of-0000\(shards).safetensors"
            let writer = try SafetensorsWriter(path: path + "/" + name, tensors: own.map { ($0.name, dtype, $0.shape) })
            for part in own {
                if dtype == "BF16" {
                    let halves = part.values.map { UInt16($0.bitPattern >> 16) }
                    try halves.withUnsafeBytes { try writer.append($0, to: part.name) }
                } else {
                    try part.values.withUnsafeBytes { try writer.append($0, to: part.name) }
                }
                map[part.name] = name
            }
            try writer.finish()
        }
        if shards > 1 {
            let index: [String: Any] = ["metadata": ["total_size": 0], "weight_map": map]
            try JSONSerialization.data(withJSONObject: index)
                .write(to: URL(fileURLWithPath: path + "/model.safetensors.index.json"))
        }
    }

    package func remove() { try? FileManager.default.removeItem(atPath: path) }

    /// A tensor of the folder.
    private typealias Part = (name: String, shape: [Int], values: [Float])

    /// What transformers has instead of a GGUF file's tensor.
    private static func parts(
        _ tensor: TensorInfo, _ file: GGUFFile, _ family: Family, _ heads: (query: Int, key: Int),
        _ floats: (TensorInfo) throws -> [Float]
    ) throws -> [Part] {
        // Divisors of frequencies are fields of the configuration.
        if tensor.name.hasPrefix("rope_f") { return [] }
        let shape = Array(tensor.dimensions.reversed())
        var values = try floats(tensor)
        if let order = order(tensor, family, heads) {
            let width = tensor.dimensions.count == 1 ? 1 : tensor.columns
            values = order.flatMap { values[$0 * width..<($0 + 1) * width] }
        }
        switch family {
        case .gemma, .gemma2, .gemma3Images: if tensor.name.hasSuffix("norm.weight") { values = values.map { $0 - 1 } }
        default: break
        }
        if let parts = try experts(tensor, shape, values, file, family, floats) { return parts }
        let (block, part) = place(tensor.name)
        switch (family, part) {
        case (.stablelm, "attn_q_norm"): return split(shape, values) { "\(block).self_attn.q_layernorm.norms.\($0).weight" }
        case (.stablelm, "attn_k_norm"): return split(shape, values) { "\(block).self_attn.k_layernorm.norms.\($0).weight" }
        case (.gemma3Images(let old), _):
            let name = name(tensor.name, .gemma2)
            let image: [Part] = part == "attn_q" ? [("vision_tower\(block.dropFirst(5)).q_proj.weight", [1, 1], [1])] : []
            let prefixed = old ? "language_model." + name : "model.language_model." + name.dropFirst("model.".count)
            return image + [(prefixed, shape, values)]
        default: return [(name(tensor.name, family), shape, values)]
        }
    }

    /// The layer's name, and what comes behind it.
    private static func place(_ name: String) -> (block: String, part: String) {
        let parts = name.split(separator: ".").map(String.init)
        return parts.count < 3 ? ("", "") : ("model.layers.\(parts[1])", parts[2])
    }

    /// Each of a tensor's rows or matrices by itself.
    private static func split(_ shape: [Int], _ values: [Float], _ names: (Int) -> String) -> [Part] {
        let size = values.count / shape[0]
        return (0..<shape[0]).map { (names($0), Array(shape.dropFirst()), Array(values[$0 * size..<($0 + 1) * size])) }
    }

    /// What there is instead of a tensor of experts' matrices; nil where it is none, or has another name only.
    private static func experts(
        _ tensor: TensorInfo, _ shape: [Int], _ values: [Float], _ file: GGUFFile, _ family: Family,
        _ floats: (TensorInfo) throws -> [Float]
    ) throws -> [Part]? {
        let (block, part) = place(tensor.name)
        /// Behind each matrix of this tensor, gate's, the same one of up's.
        func fused(_ name: String) throws -> [Part] {
            guard let info = file.tensor(tensor.name.replacingOccurrences(of: "_gate", with: "_up")) else { return [] }
            let count = shape.count == 3 ? shape[0] : 1
            let (more, size) = (try floats(info), values.count / count)
            var both: [Float] = []
            for range in (0..<count).map({ $0 * size..<($0 + 1) * size }) {
                both += values[range]
                both += more[range]
            }
            var shape = shape
            shape[shape.count - 2] *= 2
            return [(name, shape, both)]
        }
        switch (family, part) {
        case (.mixtral, "ffn_gate_exps"): return split(shape, values) { "\(block).block_sparse_moe.experts.\($0).w1.weight" }
        case (.mixtral, "ffn_down_exps"): return split(shape, values) { "\(block).block_sparse_moe.experts.\($0).w2.weight" }
        case (.mixtral, "ffn_up_exps"): return split(shape, values) { "\(block).block_sparse_moe.experts.\($0).w3.weight" }
        case (.experts(false), "ffn_gate_exps"): return split(shape, values) { "\(block).mlp.experts.\($0).gate_proj.weight" }
        case (.experts(false), "ffn_down_exps"): return split(shape, values) { "\(block).mlp.experts.\($0).down_proj.weight" }
        case (.experts(false), "ffn_up_exps"): return split(shape, values) { "\(block).mlp.experts.\($0).up_proj.weight" }
        case (.experts(true), "ffn_gate_exps"): return try fused("\(block).mlp.experts.gate_up_proj")
        case (.experts(true), "ffn_down_exps"): return [("\(block).mlp.experts.down_proj", shape, values)]
        case (.granitemoe, "ffn_gate_exps"): return try fused("\(block).block_sparse_moe.input_linear.weight")
        case (.granitemoe, "ffn_gate_shexp"), (.granite4, "ffn_gate"):
            return try fused("\(block).shared_mlp.input_linear.weight")
        case (.granite4, "ffn_up"): return []
        case (.granite4, "ffn_down"): return [("\(block).shared_mlp.output_linear.weight", shape, values)]
        case (.experts(true), "ffn_up_exps"), (.granitemoe, "ffn_up_exps"), (.granitemoe, "ffn_up_shexp"): return []
        default: return nil
        }
    }

    /// transformers' name of a tensor.
    private static func name(_ gguf: String, _ family: Family) -> String {
        let parts = gguf.split(separator: ".").map(String.init)
        let ending = parts[parts.count - 1]
        if parts[0] != "blk" {
            let names =
                switch family {
                case .falcon: ["token_embd": "transformer.word_embeddings", "output_norm": "transformer.ln_f", "output": "lm_head"]
                case .neox: ["token_embd": "gpt_neox.embed_in", "output_norm": "gpt_neox.final_layer_norm", "output": "embed_out"]
                default: ["token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"]
                }
            return "\(names[parts[0]] ?? parts[0]).\(ending)"
        }
        let part = parts[2]
        switch family {
        case .falcon(let groups, _):
            let names = [
                "attn_norm": groups == 1 ? "input_layernorm" : "ln_mlp", "attn_norm_2": "ln_attn",
                "attn_qkv": "self_attention.query_key_value", "attn_output": "self_attention.dense",
                "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
            ]
            return "transformer.h.\(parts[1]).\(names[part] ?? part).\(ending)"
        case .neox:
            let names = [
                "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_qkv": "attention.query_key_value",
                "attn_output": "attention.dense", "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h",
            ]
            return "gpt_neox.layers.\(parts[1]).\(names[part] ?? part).\(ending)"
        default:
            var names = [
                "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
                "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
                "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "attn_qkv": "self_attn.qkv_proj",
                "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
            ]
            switch family {
            case .phi3: names["ffn_up"] = "mlp.gate_up_proj"
            case .starcoder2: (names["ffn_up"], names["ffn_down"]) = ("mlp.c_fc", "mlp.c_proj")
            case .mixtral: names["ffn_gate_inp"] = "block_sparse_moe.gate"
            case .granitemoe:
                names["ffn_gate_inp"] = "block_sparse_moe.router.layer"
                names["ffn_down_exps"] = "block_sparse_moe.output_linear"
                names["ffn_down_shexp"] = "shared_mlp.output_linear"
            case .experts:
                names["ffn_gate_inp"] = "mlp.gate"
                names["ffn_gate_inp_shexp"] = "mlp.shared_expert_gate"
                for part in ["gate", "up", "down"] { names["ffn_\(part)_shexp"] = "mlp.shared_expert.\(part)_proj" }
            case .olmo2, .gemma2:
                names["post_attention_norm"] = "post_attention_layernorm"
                names["post_ffw_norm"] = "post_feedforward_layernorm"
                names["ffn_norm"] = "pre_feedforward_layernorm"
            default: break
            }
            return "model.layers.\(parts[1]).\(names[part] ?? part).\(ending)"
        }
    }

    /// GGUF's row for each row of transformers'; nil where they are the same.
    private static func order(_ tensor: TensorInfo, _ family: Family, _ heads: (query: Int, key: Int)) -> [Int]? {
        let part = tensor.name.split(separator: ".").dropFirst(2).first ?? ""
        let count = tensor.dimensions[tensor.dimensions.count - 1]
        func split(_ groups: Int, _ queries: Int) -> [Int] {
            let head = count / (groups * (queries + 2))
            let keys = groups * queries * head
            let values = keys + groups * head
            var order: [Int] = []
            for group in 0..<groups {
                order += group * queries * head..<(group + 1) * queries * head
                order += keys + group * head..<keys + (group + 1) * head
                order += values + group * head..<values + (group + 1) * head
            }
            return order
        }
        switch (family, part) {
        case (.llama, "attn_q"), (.llama, "attn_k"), (.mixtral, "attn_q"), (.mixtral, "attn_k"), (.granitemoe, "attn_q"),
            (.granitemoe, "attn_k"), (.granite4, "attn_q"), (.granite4, "attn_k"):
            let head = count / (part == "attn_q" ? heads.query : heads.key)
            // First all even rows of a head, then all odd ones.
            var order: [Int] = []
            for start in stride(from: 0, to: count, by: head) {
                order += stride(from: start, to: start + head, by: 2)
                order += stride(from: start + 1, to: start + head, by: 2)
            }
            return order
        case (.falcon(let groups, let queries), "attn_qkv"): return split(groups, queries)
        case (.neox(let heads), "attn_qkv"): return split(heads, 1)
        default: return nil
        }
    }
}
