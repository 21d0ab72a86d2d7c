import KVGGUF

/// Reads an architecture's keys (`llama.block_count`, …) with range checks that name the key, and knows which have been read.
final class HyperparameterReader {
    let file: GGUFFile
    let prefix: String
    private var read: Set<String> = []

    init(_ file: GGUFFile, prefix: String) {
        self.file = file
        self.prefix = prefix
    }

    func has(_ key: String) -> Bool { file.metadata["\(prefix).\(key)"] != nil }

    private func value<T>(
        _ key: String, _ fallback: T?, _ get: (_ key: String, _ fallback: T?) throws(GGUFError) -> T
    ) throws(ModelError) -> T {
        read.insert(key)
        do { return try get("\(prefix).\(key)", fallback) } catch { throw ModelError(.badMetadata, "\(error)") }
    }

    private func bad(_ key: String, _ value: String, _ reason: String) -> ModelError {
        ModelError(.badMetadata, "\(file.path): \(prefix).\(key) is \(value); \(reason)")
    }

    // MARK: Values

    /// An integer in 1 ... limit.
    func integer(_ key: String, default fallback: Int? = nil, limit: Int = 1 << 24) throws(ModelError) -> Int {
        let value = try value(key, fallback, file.metadata.integer)
        guard (1...limit).contains(value) else { throw bad(key, "\(value)", "it must be 1 to \(limit)") }
        return value
    }

    /// An integer in 0 ... limit, 0 where there is none.
    func count(_ key: String, limit: Int = 1 << 30) throws(ModelError) -> Int {
        let value = try value(key, 0, file.metadata.integer)
        guard (0...limit).contains(value) else { throw bad(key, "\(value)", "it must be 0 to \(limit)") }
        return value
    }

    /// A number above 0.
    func float(_ key: String, default fallback: Double? = nil) throws(ModelError) -> Float {
        let value = try value(key, fallback, file.metadata.float)
        guard value.isFinite, value > 0, Float(value).isNormal else { throw bad(key, "\(value)", "it must be above 0") }
        return Float(value)
    }

    /// A number above 0; `fallback` where there is none, or 0, which stands for none.
    func float(_ key: String, orZero fallback: Float) throws(ModelError) -> Float {
        let value = try value(key, 0, file.metadata.float)
        return value == 0 ? fallback : try float(key)
    }

    func bool(_ key: String, default fallback: Bool) throws(ModelError) -> Bool {
        try value(key, fallback, file.metadata.bool)
    }

    func string(_ key: String, default fallback: String) throws(ModelError) -> String {
        try value(key, fallback, file.metadata.string)
    }

    func array(_ key: String) throws(ModelError) -> MetadataArray {
        try value(key, nil) { key, _ throws(GGUFError) in try file.metadata.array(key) }
    }

    /// A feature that we cannot compute is an error, not something to skip silently.
    func refuse(_ key: String, otherThan allowed: String, because reason: String) throws(ModelError) {
        let value = try string(key, default: allowed)
        if value != allowed { throw ModelError(.unsupported, "\(file.path): \(prefix).\(key) is \"\(value)\": \(reason)") }
    }

    // MARK: What nobody read

    /// Keys that change what a model computes, by their values that change nothing.
    private static let decisive: [(key: String, neutral: Double?)] = [
        ("attention.alibi_bias_max", 0), ("attention.max_alibi_bias", 0), ("attention.clamp_kqv", 0), ("attention.causal", 1),
        ("attention.scale", 0), ("attention.output_scale", 0), ("attention.sliding_window", 0),
        ("attention.sliding_window_pattern", nil), ("attention.chunk_size", 0), ("attention.temperature_scale", 0),
        ("attention.temperature_length", 0), ("attention.q_lora_rank", 0), ("attention.kv_lora_rank", 0),
        ("attention.key_length_mla", 0), ("attention.value_length_mla", 0), ("attention.key_length_swa", nil),
        ("attention.value_length_swa", nil), ("attention.shared_kv_layers", 0), ("attention.indexer.head_count", 0),
        ("attn_logit_softcapping", 0), ("final_logit_softcapping", 0), ("router_logit_softcapping", 0), ("logit_scale", 1),
        ("embedding_scale", 1), ("residual_scale", 1), ("use_parallel_residual", nil), ("swin_norm", 0),
        ("full_attention_interval", 0),
        ("expert_count", 0),
        ("expert_used_count", 0), ("expert_gating_func", 1), ("expert_weights_norm", nil),
        ("expert_weights_scale", 1), ("expert_group_count", 0), ("expert_group_used_count", 0), ("leading_dense_block_count", 0),
        ("expert_feed_forward_length", 0), ("expert_shared_feed_forward_length", 0),
        ("interleave_moe_layer_step", 0), ("moe_every_n_layers", 0), ("nextn_predict_layers", 0), ("altup.num_inputs", 0),
        ("embedding_length_per_layer_input", 0), ("activation_sparsity_scale", nil), ("rope.dimension_sections", nil),
        ("rope.freq_base_swa", nil), ("rope.dimension_count_swa", nil), ("rope.scaling.yarn_log_multiplier", 0),
        ("rope.scaling.yarn_ext_factor", 1), ("no_rope_layer_step", 0), ("ssm.state_size", 0), ("wkv.head_size", 0),
    ]

    /// - Throws: `ModelError` naming the first key that would change the result and that nobody has read.
    func refuseUnread() throws(ModelError) {
        for (key, neutral) in Self.decisive where !read.contains(key) {
            guard let value = file.metadata["\(prefix).\(key)"] else { continue }
            switch value {
            case .bool(let value) where neutral == (value ? 1 : 0): continue
            case .float(let value) where value == neutral: continue
            case .signed(let value) where Double(value) == neutral: continue
            case .unsigned(let value) where Double(value) == neutral: continue
            default:
                throw ModelError(
                    .unsupported,
                    "\(file.path): \(prefix).\(key) is \(value.short): the architecture \(prefix) is not computed with that here")
            }
        }
    }
}
