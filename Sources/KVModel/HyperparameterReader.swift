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

    /// An integer in 1 ... limit; a list of one for each layer counts as one if they are equal.
    func integer(_ key: String, default fallback: Int? = nil, limit: Int = 1 << 24) throws(ModelError) -> Int {
        let value = if let same = try equal(key) { same } else { try value(key, fallback, file.metadata.integer) }
        guard (1...limit).contains(value) else { throw bad(key, "\(value)", "it must be 1 to \(limit)") }
        return value
    }

    private func equal(_ key: String) throws(ModelError) -> Int? {
        guard case .array(let array)? = file.metadata["\(prefix).\(key)"] else { return nil }
        read.insert(key)
        let values = array.integers()
        guard let first = values.first, values.count == array.count, values.allSatisfy({ $0 == first }) else {
            throw ModelError(
                .unsupported, "\(file.path): \(prefix).\(key) is not the same number for all layers, which is not supported")
        }
        return first
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

    /// A number above 0, or 0 for none.
    func floatOrZero(_ key: String, default fallback: Double) throws(ModelError) -> Float {
        try value(key, fallback, file.metadata.float) == 0 ? 0 : try float(key, default: fallback)
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

    /// Keys that change what a model computes, unless their value is one of these.
    private static let decisive: [(key: String, neutral: [Double])] = [
        ("activation_sparsity_scale", []), ("altup.num_inputs", [0]), ("attention.alibi_bias_max", [0]), ("attention.causal", [1]),
        ("attention.chunk_size", [0]), ("attention.clamp_kqv", [0]), ("attention.indexer.head_count", [0]),
        ("attention.key_length_mla", [0]), ("attention.key_length_swa", []), ("attention.kv_lora_rank", [0]),
        ("attention.max_alibi_bias", [0]), ("attention.output_scale", [0, 1]), ("attention.q_lora_rank", [0]),
        ("attention.shared_kv_layers", [0]), ("attention.sliding_window", [0]), ("attention.sliding_window_pattern", [0]),
        ("attention.temperature_length", [0]), ("attention.temperature_scale", [0]), ("attention.value_length_mla", [0]),
        ("attention.value_length_swa", []), ("attn_logit_softcapping", [0]), ("embedding_length_per_layer_input", [0]),
        ("embedding_scale", [0, 1]), ("expert_count", [0]), ("expert_group_count", [0, 1]), ("expert_group_used_count", [0, 1]),
        ("expert_weights_norm", [0, 1]), ("expert_weights_scale", [0, 1]), ("final_logit_softcapping", [0]),
        ("full_attention_interval", [0, 1]), ("interleave_moe_layer_step", [0, 1]), ("leading_dense_block_count", [0]),
        ("logit_scale", [0, 1]), ("moe_every_n_layers", [0, 1]), ("nextn_predict_layers", [0]), ("residual_scale", [0, 1]),
        ("rope.dimension_count_swa", []), ("rope.dimension_sections", []), ("rope.freq_base_swa", []),
        ("rope.scaling.yarn_attn_factor", [0, 1]), ("rope.scaling.yarn_ext_factor", [0, 1]),
        ("rope.scaling.yarn_log_multiplier", [0]), ("router_logit_softcapping", [0]), ("ssm.state_size", [0]), ("swin_norm", [0]),
        ("use_parallel_residual", []), ("wkv.head_size", [0]),
    ]
    /// Sliding layers' own values, which are none where they are those of all.
    private static let counterparts = [
        "attention.key_length_swa": "attention.key_length", "attention.value_length_swa": "attention.value_length",
        "rope.dimension_count_swa": "rope.dimension_count", "rope.freq_base_swa": "rope.freq_base",
    ]

    /// - Throws: `ModelError` naming the first key that would change the result and that nobody has read.
    func refuseUnread() throws(ModelError) {
        for (key, neutral) in Self.decisive where !read.contains(key) {
            guard let value = file.metadata["\(prefix).\(key)"] else { continue }
            if let number = value.number {
                if neutral.contains(number) { continue }
                if let other = Self.counterparts[key], file.metadata["\(prefix).\(other)"]?.number == number { continue }
            }
            throw ModelError(
                .unsupported,
                "\(file.path): \(prefix).\(key) is \(value.short): the architecture \(prefix) is not computed with that here")
        }
    }
}

extension MetadataValue {
    /// A number or bool as a number.
    fileprivate var number: Double? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .float(let value): value
        case .signed(let value): Double(value)
        case .unsigned(let value): Double(value)
        case .string, .array: nil
        }
    }
}
