package import Foundation
package import KVGGUF

/// Writes folders as Hugging Face keeps models, from a GGUF file's tensors: names, order of rows and norms as transformers has them, stated
/// here once more and apart from what reads them.
package struct HuggingFaceFolder {
    /// Removed by `remove`.
    package let path: String

    package enum Family {
        /// Llama and Mistral, whose GGUF files pair rotated rows side by side; Qwen and others, whose do not.
        case llama, plain, olmo2, phi3, gemma2
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
        let tensors = file.tensors.filter { $0.name != "rope_freqs.weight" }
        var map: [String: String] = [:]
        for shard in 0..<shards {
            let part = tensors[tensors.count * shard / shards..<tensors.count * (shard + 1) / shards]
            let name = shards == 1 ? "model.safetensors" : "model-0000\(shard + 1)-of-0000\(shards).safetensors"
            let writer = try SafetensorsWriter(
                path: path + "/" + name,
                tensors: part.map { (Self.name($0.name, family), dtype, Array($0.dimensions.reversed())) })
            for tensor in part {
                let target = Self.name(tensor.name, family)
                var values = try floats(tensor)
                if let order = Self.order(tensor, family, heads) {
                    let width = tensor.dimensions.count == 1 ? 1 : tensor.columns
                    values = order.flatMap { values[$0 * width..<($0 + 1) * width] }
                }
                if case .gemma2 = family, tensor.name.hasSuffix("norm.weight") { values = values.map { $0 - 1 } }
                if dtype == "BF16" {
                    let halves = values.map { UInt16($0.bitPattern >> 16) }
                    try halves.withUnsafeBytes { try writer.append($0, to: target) }
                } else {
                    try values.withUnsafeBytes { try writer.append($0, to: target) }
                }
                map[target] = name
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
        case (.llama, "attn_q"), (.llama, "attn_k"):
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
