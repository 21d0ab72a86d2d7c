/// How a model class of Hugging Face's is laid out, and under which names and in which order of rows a GGUF file holds the same.
struct FolderArchitecture: Sendable {
    /// The class in `config.json`.
    let modelClass: String
    /// `general.architecture`.
    let name: String
    /// The further keys' values.
    let keys: @Sendable (inout FolderKeys) throws(GGUFError) -> Void
    /// A tensor's name without its ending (weight, bias), `*` for the layer's number, to GGUF's.
    let tensors: [String: String]
    /// Tensors (GGUF's names) whose rows a GGUF file has in another order.
    var rows: @Sendable (ModelConfiguration) throws(GGUFError) -> [String: RowLayout] = { _ in [:] }
    /// Norms' weights are kept less 1.
    var addsOneToNorms = false

    /// How rows lie in the folder's tensor.
    enum RowLayout {
        /// Each head's pairs to be rotated lie apart by half a head, GGUF's side by side.
        case halves(heads: Int)
        /// Each group of so many query heads is followed by its key's and its value's head; GGUF has all queries, all keys, all values.
        case groups(Int, queries: Int)

        /// The folder's row for each of GGUF's `count`; nil where they are not whole heads.
        func order(of count: Int) -> [Int32]? {
            guard count < Int(Int32.max) else { return nil }
            switch self {
            case .halves(let heads):
                guard heads > 0, count % (2 * heads) == 0 else { return nil }
                let head = count / heads
                return (0..<count).map { Int32($0 / head * head + $0 % head / 2 + $0 % 2 * (head / 2)) }
            case .groups(let groups, let queries):
                guard groups > 0, queries > 0, count % (groups * (queries + 2)) == 0 else { return nil }
                let head = count / (groups * (queries + 2))
                func rows(_ first: Int, _ heads: Int) -> [Int32] {
                    (0..<groups).flatMap { group in
                        let start = (group * (queries + 2) + first) * head
                        return (start..<start + heads * head).map { Int32($0) }
                    }
                }
                return rows(0, queries) + rows(queries, 1) + rows(queries + 1, 1)
            }
        }
    }

    /// Every class known: one row each.
    static let all: [FolderArchitecture] = [
        FolderArchitecture(
            modelClass: "LlamaForCausalLM", name: "llama", keys: llamaKeys, tensors: decoder, rows: rotatedPairs),
        FolderArchitecture(
            modelClass: "MistralForCausalLM", name: "llama", keys: llamaKeys, tensors: decoder, rows: rotatedPairs),
        FolderArchitecture(modelClass: "Qwen2ForCausalLM", name: "qwen2", keys: qwenKeys, tensors: decoder),
        FolderArchitecture(modelClass: "Qwen3ForCausalLM", name: "qwen3", keys: qwenKeys, tensors: decoder),
        FolderArchitecture(
            modelClass: "Olmo2ForCausalLM", name: "olmo2", keys: { keys throws(GGUFError) in try keys.decoder() },
            tensors: decoder.merging(postNorms) { $1 }),
        FolderArchitecture(
            modelClass: "Phi3ForCausalLM", name: "phi3", keys: phi3Keys,
            tensors: decoder.merging([
                "model.layers.*.self_attn.qkv_proj": "blk.*.attn_qkv", "model.layers.*.mlp.gate_up_proj": "blk.*.ffn_up",
            ]) { $1 }),
        FolderArchitecture(
            modelClass: "Gemma2ForCausalLM", name: "gemma2", keys: gemmaKeys, tensors: decoder.merging(gemmaNorms) { $1 },
            addsOneToNorms: true),
        FolderArchitecture(
            modelClass: "FalconForCausalLM", name: "falcon", keys: falconKeys, tensors: falcon, rows: falconRows),
        FolderArchitecture(
            modelClass: "GPTNeoXForCausalLM", name: "gptneox", keys: neoxKeys, tensors: neox,
            rows: { config throws(GGUFError) in
                ["blk.*.attn_qkv": .groups(try config.integer("num_attention_heads"), queries: 1)]
            }),
    ]

    // MARK: Tensors

    /// What Llama's file and most after it call their parts.
    private static let decoder = [
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "model.layers.*.input_layernorm": "blk.*.attn_norm", "model.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "model.layers.*.self_attn.q_proj": "blk.*.attn_q", "model.layers.*.self_attn.k_proj": "blk.*.attn_k",
        "model.layers.*.self_attn.v_proj": "blk.*.attn_v", "model.layers.*.self_attn.o_proj": "blk.*.attn_output",
        "model.layers.*.self_attn.q_norm": "blk.*.attn_q_norm", "model.layers.*.self_attn.k_norm": "blk.*.attn_k_norm",
        "model.layers.*.mlp.gate_proj": "blk.*.ffn_gate", "model.layers.*.mlp.up_proj": "blk.*.ffn_up",
        "model.layers.*.mlp.down_proj": "blk.*.ffn_down",
    ]
    private static let postNorms = [
        "model.layers.*.post_attention_layernorm": "blk.*.post_attention_norm",
        "model.layers.*.post_feedforward_layernorm": "blk.*.post_ffw_norm",
    ]
    private static let gemmaNorms = postNorms.merging(["model.layers.*.pre_feedforward_layernorm": "blk.*.ffn_norm"]) { $1 }
    private static let falcon = [
        "transformer.word_embeddings": "token_embd", "transformer.ln_f": "output_norm", "lm_head": "output",
        "transformer.h.*.input_layernorm": "blk.*.attn_norm", "transformer.h.*.ln_mlp": "blk.*.attn_norm",
        "transformer.h.*.ln_attn": "blk.*.attn_norm_2",
        "transformer.h.*.self_attention.query_key_value": "blk.*.attn_qkv",
        "transformer.h.*.self_attention.dense": "blk.*.attn_output", "transformer.h.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "transformer.h.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    ]
    private static let neox = [
        "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output",
        "lm_head": "output", "gpt_neox.layers.*.input_layernorm": "blk.*.attn_norm",
        "gpt_neox.layers.*.post_attention_layernorm": "blk.*.ffn_norm",
        "gpt_neox.layers.*.attention.query_key_value": "blk.*.attn_qkv",
        "gpt_neox.layers.*.attention.dense": "blk.*.attn_output", "gpt_neox.layers.*.mlp.dense_h_to_4h": "blk.*.ffn_up",
        "gpt_neox.layers.*.mlp.dense_4h_to_h": "blk.*.ffn_down",
    ]
    /// Tables that old files hold and every program computes by itself.
    static func isIgnored(_ name: String) -> Bool {
        [".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias", ".attn.masked_bias"].contains { name.hasSuffix($0) }
    }

    // MARK: Rows

    @Sendable private static func rotatedPairs(_ config: ModelConfiguration) throws(GGUFError) -> [String: RowLayout] {
        let heads = try config.integer("num_attention_heads")
        return [
            "blk.*.attn_q": .halves(heads: heads),
            "blk.*.attn_k": .halves(heads: try config.optionalInteger("num_key_value_heads") ?? heads),
        ]
    }

    @Sendable private static func falconRows(_ config: ModelConfiguration) throws(GGUFError) -> [String: RowLayout] {
        let heads = try config.integer("num_attention_heads", "n_head")
        let groups = try falconGroups(config, heads)
        return ["blk.*.attn_qkv": .groups(groups, queries: max(1, heads / groups))]
    }

    /// Key/value heads: one where the older layout has multi-query attention.
    private static func falconGroups(_ config: ModelConfiguration, _ heads: Int) throws(GGUFError) -> Int {
        if try config.optionalBool("new_decoder_architecture") ?? false {
            return try config.integer("num_kv_heads", "n_head_kv")
        }
        return try config.optionalBool("multi_query") ?? true ? 1 : heads
    }

    // MARK: Keys

    @Sendable private static func llamaKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder()
        keys.set("vocab_size", try keys.config.integer("vocab_size"))
        keys.set("rope.dimension_count", try keys.config.headDimension())
        keys.set("attention.sliding_window", try keys.config.optionalInteger("sliding_window"))
    }

    @Sendable private static func qwenKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        if try keys.config.optionalBool("use_sliding_window") ?? false {
            throw keys.config.fail(.unsupported, "field use_sliding_window is true: windows of some layers are not supported")
        }
        try keys.decoder()
    }

    @Sendable private static func phi3Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder(headCount: false)
        let part = try keys.config.optionalNumber("partial_rotary_factor") ?? 1
        keys.set("rope.dimension_count", Int((part * Double(try keys.config.headDimension())).rounded(.down)))
        keys.set("attention.sliding_window", try keys.config.optionalInteger("sliding_window"))
    }

    @Sendable private static func gemmaKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_activation", ["gelu_pytorch_tanh"])
        try keys.decoder()
        keys.set("attn_logit_softcapping", try keys.config.optionalNumber("attn_logit_softcapping"))
        keys.set("final_logit_softcapping", try keys.config.optionalNumber("final_logit_softcapping"))
        keys.set("attention.sliding_window", try keys.config.optionalInteger("sliding_window"))
        // The scores' factor is 1 / √query_pre_attn_scalar, which a GGUF file does not say: it must be the head's.
        let scalar = try keys.config.optionalNumber("query_pre_attn_scalar")
        let head = try keys.config.headDimension()
        if let scalar, scalar != Double(head) {
            throw keys.config.fail(
                .unsupported, "field query_pre_attn_scalar is \(scalar); only the head dimension, \(head), is supported")
        }
    }

    @Sendable private static func falconKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        let config = keys.config
        if try config.optionalBool("alibi") ?? false {
            throw config.fail(.unsupported, "field alibi is true: only rotary positions are supported")
        }
        guard try config.optionalBool("parallel_attn") ?? true else {
            throw config.fail(.unsupported, "field parallel_attn is false: only attention beside feed-forward is supported")
        }
        try config.require("activation", ["gelu"])
        let width = try config.integer("hidden_size", "n_embed")
        let heads = try config.integer("num_attention_heads", "n_head")
        // The files do not say; the models were trained for 2,048 positions.
        keys.set("context_length", try config.optionalInteger("max_position_embeddings") ?? 2048)
        keys.set("tensor_data_layout", "jploski")
        keys.set("embedding_length", width)
        keys.set("feed_forward_length", try config.optionalInteger("ffn_hidden_size") ?? 4 * width)
        keys.set("block_count", try config.integer("num_hidden_layers", "n_layer"))
        keys.set("attention.head_count", heads)
        keys.set("attention.head_count_kv", try falconGroups(config, heads))
        keys.set("attention.layer_norm_epsilon", try config.number("layer_norm_epsilon"))
        keys.set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true))
        try keys.ropeScaling()
    }

    @Sendable private static func neoxKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        let config = keys.config
        try config.require("hidden_act", ["gelu"])
        keys.set("context_length", try config.integer("max_position_embeddings"))
        keys.set("embedding_length", try config.integer("hidden_size"))
        keys.set("block_count", try config.integer("num_hidden_layers"))
        keys.set("feed_forward_length", try config.integer("intermediate_size"))
        let topPart = try config.optionalNumber("rotary_pct")
        let part = try config.optionalNumber("partial_rotary_factor", rope: true) ?? topPart ?? 0.25
        keys.set("rope.dimension_count", Int((part * Double(try config.headDimension())).rounded(.down)))
        let topBase = try config.optionalNumber("rotary_emb_base")
        keys.set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true) ?? topBase)
        keys.set("attention.head_count", try config.integer("num_attention_heads"))
        keys.set("use_parallel_residual", try config.optionalBool("use_parallel_residual") ?? true)
        keys.set("attention.layer_norm_epsilon", try config.number("layer_norm_eps"))
    }
}
