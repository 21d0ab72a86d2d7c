/// What the classes call their tensors, and in which order they keep rows.
extension FolderArchitecture {
    /// What Llama's file and most after it call their parts.
    static let decoder = [
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "model.layers.*.input_layernorm": "blk.*.attn_norm", "model.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "model.layers.*.self_attn.q_proj": "blk.*.attn_q", "model.layers.*.self_attn.k_proj": "blk.*.attn_k",
        "model.layers.*.self_attn.v_proj": "blk.*.attn_v", "model.layers.*.self_attn.o_proj": "blk.*.attn_output",
        "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm", "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
        "model.layers.*.mlp.gate_proj": "blk.*.ffn_gate", "model.layers.*.mlp.up_proj": "blk.*.ffn_up",
        "model.layers.*.mlp.down_proj": "blk.*.ffn_down",
    ]
    /// `mlp.experts.gate_up_proj`: [experts, gate's rows, then up's, width], as transformers 5 holds them.
    static let experts = [
        "model.layers.*.mlp.gate": "blk.*.ffn_gate_inp", "model.layers.*.mlp.experts.*.gate_proj": "blk.*.ffn_gate.*",
        "model.layers.*.mlp.experts.*.up_proj": "blk.*.ffn_up.*", "model.layers.*.mlp.experts.*.down_proj": "blk.*.ffn_down.*",
        "model.layers.*.mlp.experts.gate_up_proj": "blk.*.ffn_gate_up_exps",
        "model.layers.*.mlp.experts.down_proj": "blk.*.ffn_down_exps",
        "model.layers.*.mlp.shared_expert_gate": "blk.*.ffn_gate_inp_shexp",
        "model.layers.*.mlp.shared_expert.gate_proj": "blk.*.ffn_gate_shexp",
        "model.layers.*.mlp.shared_expert.up_proj": "blk.*.ffn_up_shexp",
        "model.layers.*.mlp.shared_expert.down_proj": "blk.*.ffn_down_shexp",
    ]
    static let mixtralExperts = [
        "model.layers.*.block_sparse_moe.gate": "blk.*.ffn_gate_inp",
        "model.layers.*.block_sparse_moe.experts.*.w1": "blk.*.ffn_gate.*",
        "model.layers.*.block_sparse_moe.experts.*.w2": "blk.*.ffn_down.*",
        "model.layers.*.block_sparse_moe.experts.*.w3": "blk.*.ffn_up.*",
    ]
    /// Gate's rows, then up's, in one matrix: of each expert, and of the shared one.
    static let graniteExperts = [
        "model.layers.*.block_sparse_moe.router.layer": "blk.*.ffn_gate_inp",
        "model.layers.*.block_sparse_moe.input_linear": "blk.*.ffn_gate_up_exps",
        "model.layers.*.block_sparse_moe.output_linear": "blk.*.ffn_down_exps",
        "model.layers.*.shared_mlp.input_linear": "blk.*.ffn_up_shexp",
        "model.layers.*.shared_mlp.output_linear": "blk.*.ffn_down_shexp",
    ]
    /// Of those hybrids that have neither experts nor state-space layers.
    static let graniteFeedForward = [
        "model.layers.*.shared_mlp.input_linear": "blk.*.ffn_up", "model.layers.*.shared_mlp.output_linear": "blk.*.ffn_down",
    ]
    static let fusedProjections = [
        "model.layers.*.self_attn.qkv_proj": "blk.*.attn_qkv", "model.layers.*.mlp.gate_up_proj": "blk.*.ffn_up",
    ]
    static let plainFeedForward = ["model.layers.*.mlp.c_fc": "blk.*.ffn_up", "model.layers.*.mlp.c_proj": "blk.*.ffn_down"]
    /// Each head's own.
    static let headNorms = [
        "model.layers.*.self_attn.q_layernorm.norms.*": "blk.*.attn_q_norm",
        "model.layers.*.self_attn.k_layernorm.norms.*": "blk.*.attn_k_norm",
    ]
    static let postNorms = [
        "model.layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
        "model.layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
    ]
    static let gemmaNorms = postNorms + ["model.layers.*.pre_feedforward_layernorm": "blk.*.ffn_norm"]
    static let falcon = [
        "transformer.word_embeddings": "token_embd", "transformer.ln_f": "output_norm", "lm_head": "output",
        "transformer.h.*.input_layernorm": "blk.*.attn_norm", "transformer.h.*.ln_mlp": "blk.*.attn_norm",
        "transformer.h.*.ln_attn": "blk.*.attn_norm_2",
        "transformer.h.*.self_attention.query_key_value": "blk.*.attn_qkv",
        "transformer.h.*.self_attention.dense": "blk.*.attn_output", "transformer.h.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "transformer.h.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    ]
    static let neox = [
        "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output",
        "lm_head": "output", "gpt_neox.layers.*.input_layernorm": "blk.*.attn_norm",
        "gpt_neox.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "gpt_neox.layers.*.attention.query_key_value": "blk.*.attn_qkv",
        "gpt_neox.layers.*.attention.dense": "blk.*.attn_output", "gpt_neox.layers.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "gpt_neox.layers.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    ]
    // MARK: Optional tensors

    private static func biases(_ field: String?, _ parts: [String], isDefault: Bool = false) -> [OptionalTensors] {
        [OptionalTensors(field: field, isDefault: isDefault, names: parts.map { "blk.*.\($0).bias" })]
    }
    static let attentionBiases = biases("attention_bias", ["attn_q", "attn_k", "attn_v", "attn_output"])
    static let gatedBiases = biases("mlp_bias", ["ffn_gate", "ffn_up", "ffn_down"])
    static let qwen2Biases = biases(nil, ["attn_q", "attn_k", "attn_v"], isDefault: true)
    static let qwen2MoEBiases = biases("qkv_bias", ["attn_q", "attn_k", "attn_v"], isDefault: true)
    static let starCoderBiases = biases(
        "use_bias", ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"], isDefault: true)
    static let falconBiases = biases("bias", ["attn_qkv", "attn_output", "ffn_up", "ffn_down"])
    static let neoxBiases =
        biases("attention_bias", ["attn_qkv", "attn_output"], isDefault: true)
        + biases(nil, ["ffn_up", "ffn_down"], isDefault: true)
    private static let bothHeadNorms = ["blk.*.attn_q_norm.weight", "blk.*.attn_k_norm.weight"]
    static let headNormsWhereAsked = [OptionalTensors(field: "use_qk_norm", isDefault: false, names: bothHeadNorms)]
    static let stableLMParts =
        biases("use_qkv_bias", ["attn_q", "attn_k", "attn_v"])
        + [OptionalTensors(field: "qk_layernorm", isDefault: false, names: bothHeadNorms)]

    /// Hugging Face's name of a tensor that GGUF calls `name`; nil where there is none.
    func folderName(_ name: String) -> String? {
        var parts = name.split(separator: ".").map(String.init)
        guard parts.count > 1 else { return nil }
        let ending = parts.removeLast()
        var numbers: [String] = []
        for (index, part) in parts.enumerated() where Int(part) != nil {
            numbers.append(part)
            parts[index] = "*"
        }
        let pattern = parts.joined(separator: ".")
        // Of several names the last by the alphabet (lm_head, not embed_out), so that it is always the same one.
        guard let own = tensors.filter({ $0.value == pattern }).map(\.key).max() else { return nil }
        var pieces = own.split(separator: "*", omittingEmptySubsequences: false).map(String.init)
        guard pieces.count == numbers.count + 1 else { return "\(own).\(ending)" }
        var target = pieces.removeFirst()
        for (number, piece) in zip(numbers, pieces) { target += number + piece }
        return "\(target).\(ending)"
    }

    /// Tables that old files hold and every program computes by itself.
    static func isIgnored(_ name: String) -> Bool {
        [".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias", ".attn.masked_bias"].contains { name.hasSuffix($0) }
    }

    /// A tensor's name in the model of text alone; nil for what is no part of it.
    static func textName(_ name: String) -> String? {
        let prefixes = [
            ("language_model.model.", "model."), ("language_model.lm_head.", "lm_head."), ("model.language_model.", "model."),
        ]
        for (prefix, own) in prefixes where name.hasPrefix(prefix) { return own + name.dropFirst(prefix.count) }
        return name.hasPrefix("lm_head.") ? name : nil
    }

    // MARK: Rows

    @Sendable static func rotatedPairs(_ config: ModelConfiguration) throws(GGUFError) -> [String: RowLayout] {
        let heads = try config.integer("num_attention_heads")
        return [
            "blk.*.attn_q": .halves(heads: heads),
            "blk.*.attn_k": .halves(heads: try config.optionalInteger("num_key_value_heads") ?? heads),
        ]
    }

    @Sendable static func falconRows(_ config: ModelConfiguration) throws(GGUFError) -> [String: RowLayout] {
        let heads = try config.integer("num_attention_heads", "n_head")
        let groups = try falconGroups(config, heads)
        return ["blk.*.attn_qkv": .groups(groups, queries: max(1, heads / groups))]
    }

    /// Key/value heads: one where the older layout has multi-query attention.
    static func falconGroups(_ config: ModelConfiguration, _ heads: Int) throws(GGUFError) -> Int {
        if try config.optionalBool("new_decoder_architecture") ?? false {
            return try config.integer("num_kv_heads", "n_head_kv")
        }
        return try config.optionalBool("multi_query") ?? true ? 1 : heads
    }
}

extension [String: String] {
    /// Both; where both have a name, the second's.
    static func + (first: Self, second: Self) -> Self { first.merging(second) { $1 } }
}
