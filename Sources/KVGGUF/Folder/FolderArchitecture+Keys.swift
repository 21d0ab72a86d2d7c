/// The metadata that each class's `config.json` stands for, and the fields that the architectures do not compute.
extension FolderArchitecture {
    @Sendable static func llamaKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder()
        try keys.experts()
        keys.set("vocab_size", try keys.config.integer("vocab_size"))
        keys.set("rope.dimension_count", try keys.config.headDimension())
        keys.set("attention.sliding_window", try keys.config.optionalCount("sliding_window"))
    }

    @Sendable static func graniteKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try llamaKeys(&keys)
        keys.set("attention.scale", try keys.config.optionalNumber("attention_multiplier"))
        keys.set("embedding_scale", try keys.config.optionalNumber("embedding_multiplier"))
        keys.set("residual_scale", try keys.config.optionalNumber("residual_multiplier"))
        keys.set("logit_scale", try keys.config.optionalNumber("logits_scaling"))
    }

    /// Granite 4's small models, hybrids by their class alone.
    @Sendable static func graniteHybridKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        let types = try keys.config.optionalStrings("layer_types") ?? []
        // As transformers 4 and 5 write it.
        guard !types.isEmpty, types.allSatisfy({ ["attention", "full_attention"].contains($0) }) else {
            throw keys.config.fail(.unsupported, "field layer_types: only layers of attention are supported")
        }
        if let experts = try keys.config.optionalCount("num_local_experts"), experts > 0 {
            throw keys.config.fail(.unsupported, "field num_local_experts is \(experts): experts of this class are not supported")
        }
        try keys.config.require("position_embedding_type", ["rope"])
        try graniteKeys(&keys)
        keys.set("feed_forward_length", try keys.config.integer("shared_intermediate_size"))
    }

    @Sendable static func smolLM3Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try refuseWindows(keys.config)
        try llamaKeys(&keys)
        // GGUF files do not say which layers turn: every fourth does not.
        let turns = try keys.config.optionalIntegers("no_rope_layers")
        let interval = try keys.config.optionalInteger("no_rope_layer_interval") ?? 4
        guard turns?.enumerated().allSatisfy({ ($0.offset % 4 == 3) == ($0.element == 0) }) ?? (interval == 4) else {
            throw keys.config.fail(
                .unsupported, "field no_rope_layers: only every fourth layer without rotary embedding is supported")
        }
    }

    @Sendable static func qwenKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try refuseWindows(keys.config)
        try keys.decoder()
        try keys.experts()
    }

    private static func refuseWindows(_ config: ModelConfiguration) throws(GGUFError) {
        if try config.optionalBool("use_sliding_window") ?? false {
            throw config.fail(.unsupported, "field use_sliding_window is true: windows of some layers are not supported")
        }
    }

    @Sendable static func olmoKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder()
        try keys.slidingWindow(every: 4)
    }

    @Sendable static func phi3Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder(headCount: false)
        keys.set("rope.dimension_count", try keys.config.rotaryDimension(["partial_rotary_factor"], default: 1))
        keys.set("rope.scaling.original_context_length", try keys.config.originalContext())
        // 0 for none, as GGUF files have it.
        keys.set("attention.sliding_window", try keys.config.optionalCount("sliding_window") ?? 0)
    }

    // MARK: Gemma

    @Sendable static func gemmaKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        // Its first files call the tanh form "gelu".
        try keys.config.require("hidden_act", ["gelu_pytorch_tanh", "gelu"])
        try keys.config.require("hidden_activation", ["gelu_pytorch_tanh"])
        try keys.decoder()
    }

    @Sendable static func gemma2Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_activation", ["gelu_pytorch_tanh"])
        try keys.decoder()
        for name in ["attn_logit_softcapping", "final_logit_softcapping"] {
            // Null is no cap; without the field it is the usual one.
            keys.set(name, keys.config.isNull(name) ? 0 : try keys.config.optionalNumber(name))
        }
        try keys.slidingWindow(every: 2)
        try keys.gemmaScale()
    }

    @Sendable static func gemma3Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        let config = keys.config
        try config.require("hidden_activation", ["gelu_pytorch_tanh"])
        if let cap = try config.optionalNumber("attn_logit_softcapping"), cap != 0 {
            throw config.fail(.unsupported, "field attn_logit_softcapping is \(cap): scores of this architecture are not capped")
        }
        if try config.optionalBool("use_bidirectional_attention") ?? false {
            throw config.fail(.unsupported, "field use_bidirectional_attention is true: only causal attention is supported")
        }
        try keys.decoder()
        keys.set("final_logit_softcapping", try config.optionalNumber("final_logit_softcapping"))
        try keys.slidingWindow(every: 6)
        try keys.gemmaScale()
    }

    /// Gemma 3's files of text and images leave most of `text_config` out.
    static let gemma3Defaults: [String: JSONValue] = [
        "head_dim": .integer(256), "hidden_size": .integer(2304), "intermediate_size": .integer(9216),
        "max_position_embeddings": .integer(131_072), "num_attention_heads": .integer(8), "num_hidden_layers": .integer(26),
        "num_key_value_heads": .integer(4), "query_pre_attn_scalar": .integer(256), "rms_norm_eps": .float(1e-6),
        "rope_local_base_freq": .integer(10_000), "rope_theta": .integer(1_000_000), "sliding_window": .integer(4096),
    ]

    // MARK: With LayerNorm

    @Sendable static func cohereKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder(layerNorm: true)
        // Its files' max_position_embeddings is less than the models were trained for.
        if let length = try keys.config.optionalInteger("model_max_length") { keys.set("context_length", length) }
        keys.set("logit_scale", try keys.config.number("logit_scale"))
    }

    @Sendable static func cohere2Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder(layerNorm: true)
        keys.set("logit_scale", try keys.config.number("logit_scale"))
        keys.set("rope.dimension_count", try keys.config.rotaryDimension(["rotary_pct"], inRope: false, default: 1))
        try keys.slidingWindow(every: 4)
    }

    @Sendable static func starCoder2Keys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["gelu_pytorch_tanh"])
        try keys.config.require("norm_type", ["layer_norm"])
        try keys.config.require("mlp_type", ["default"])
        try keys.decoder(layerNorm: true)
        keys.set("attention.sliding_window", try keys.config.optionalCount("sliding_window"))
    }

    @Sendable static func stableLMKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        try keys.config.require("hidden_act", ["silu"])
        try keys.decoder(layerNorm: true)
        keys.set(
            "rope.dimension_count", try keys.config.rotaryDimension(["partial_rotary_factor", "rope_pct"], default: 0.25))
        keys.set("use_parallel_residual", try keys.config.optionalBool("use_parallel_residual") ?? true)
    }

    // MARK: With GELU

    @Sendable static func falconKeys(_ keys: inout FolderKeys) throws(GGUFError) {
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
        keys.set("block_count", try config.layers("num_hidden_layers", "n_layer"))
        keys.set("attention.head_count", heads)
        keys.set("attention.head_count_kv", try falconGroups(config, heads))
        keys.set("attention.layer_norm_epsilon", try config.number("layer_norm_epsilon"))
        keys.set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true))
        try keys.ropeScaling()
    }

    @Sendable static func neoxKeys(_ keys: inout FolderKeys) throws(GGUFError) {
        let config = keys.config
        // GPT-NeoX 20B's is the tanh form, of which GGUF files do not tell.
        try config.require("hidden_act", ["gelu", "gelu_fast"])
        keys.set("hidden_act", try config.optionalString("hidden_act") ?? "gelu")
        keys.set("context_length", try config.integer("max_position_embeddings"))
        keys.set("embedding_length", try config.integer("hidden_size"))
        keys.set("block_count", try config.layers("num_hidden_layers"))
        keys.set("feed_forward_length", try config.integer("intermediate_size"))
        keys.set("rope.dimension_count", try config.rotaryDimension(["rotary_pct"], default: 0.25))
        let topBase = try config.optionalNumber("rotary_emb_base")
        keys.set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true) ?? topBase)
        keys.set("attention.head_count", try config.integer("num_attention_heads"))
        keys.set("use_parallel_residual", try config.optionalBool("use_parallel_residual") ?? true)
        keys.set("attention.layer_norm_epsilon", try config.number("layer_norm_eps"))
    }
}
