#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// GGUF's metadata of a folder's configuration, under an architecture's prefix; and the rotary frequencies' divisors, where there are some,
/// which GGUF keeps as tensors.
struct FolderKeys {
    let config: ModelConfiguration
    private let prefix: String
    private(set) var keys: [String] = []
    private(set) var values: [String: MetadataValue] = [:]
    private(set) var tensors: [(name: String, values: [Float])] = []

    init(_ config: ModelConfiguration, prefix: String) {
        self.config = config
        self.prefix = prefix
    }

    mutating func general(_ key: String, _ value: MetadataValue) {
        if values.updateValue(value, forKey: "general.\(key)") == nil { keys.append("general.\(key)") }
    }

    private mutating func set(_ key: String, to value: MetadataValue) {
        if values.updateValue(value, forKey: "\(prefix).\(key)") == nil { keys.append("\(prefix).\(key)") }
    }
    mutating func set(_ key: String, _ value: Int?) {
        if let value { set(key, to: .unsigned(UInt64(max(0, value)))) }
    }
    /// Rounded to float32, as a GGUF file has it.
    mutating func set(_ key: String, _ value: Double?) {
        if let value { set(key, to: .float(Double(Float(value)))) }
    }
    mutating func set(_ key: String, _ value: String) { set(key, to: .string(value)) }
    mutating func set(_ key: String, _ value: Bool) { set(key, to: .bool(value)) }

    /// What the configurations of Llama and most after it have in common.
    /// - Parameters:
    ///   - headCount: whether a head's size, where it is given, is written.
    ///   - layerNorm: the norms are LayerNorm, not RMSNorm.
    mutating func decoder(headCount: Bool = true, layerNorm: Bool = false) throws(GGUFError) {
        let heads = try config.integer("num_attention_heads")
        set("block_count", try config.layers("num_hidden_layers"))
        set("context_length", try config.integer("max_position_embeddings"))
        set("embedding_length", try config.integer("hidden_size"))
        set("feed_forward_length", try config.integer("intermediate_size"))
        set("attention.head_count", heads)
        set("attention.head_count_kv", try config.optionalInteger("num_key_value_heads") ?? heads)
        set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true))
        if layerNorm {
            set("attention.layer_norm_epsilon", try config.number("layer_norm_eps", "norm_epsilon", "norm_eps"))
        } else {
            set("attention.layer_norm_rms_epsilon", try config.number("rms_norm_eps"))
        }
        if headCount, let head = try config.optionalInteger("head_dim") {
            set("attention.key_length", head)
            set("attention.value_length", head)
        }
        try ropeScaling()
    }

    /// Where there are any.
    mutating func experts() throws(GGUFError) {
        guard let count = try config.optionalCount("num_local_experts", "num_experts"), count > 0 else { return }
        set("expert_count", count)
        set("expert_used_count", try config.integer("num_experts_per_tok"))
        set("expert_feed_forward_length", try config.optionalInteger("moe_intermediate_size"))
        let shared = try config.optionalCount("shared_expert_intermediate_size", "shared_intermediate_size")
        set("expert_shared_feed_forward_length", shared)
        if let sumsToOne = try config.optionalBool("norm_topk_prob") { set("expert_weights_norm", sumsToOne) }
    }

    /// The window of those layers that have one, and their rotary base.
    /// - Parameter usual: every so many layers one sees all, as GGUF files do not say.
    /// - Throws: `GGUFError` where the configuration's windows are not periodic.
    mutating func slidingWindow(every usual: Int) throws(GGUFError) {
        set("rope.freq_base_swa", try config.slidingRopeBase())
        guard let window = try config.optionalCount("sliding_window") else { return }
        set("attention.sliding_window", window)
        let layers = try config.layers("num_hidden_layers")
        func seesAll(_ layer: Int, _ period: Int) -> Bool { (layer + 1) % period == 0 }
        var period = try config.optionalInteger("sliding_window_pattern", "_sliding_window_pattern") ?? usual
        if let types = try config.optionalStrings("layer_types") {
            // Beyond the last layer where all slide.
            period = (types.firstIndex(of: "full_attention") ?? types.count) + 1
            let periodic = types.enumerated().allSatisfy {
                $0.element == (seesAll($0.offset, period) ? "full_attention" : "sliding_attention")
            }
            guard types.count == layers, periodic else {
                throw config.fail(
                    .unsupported,
                    "field layer_types: \(types.count) types for \(layers) layers; only full_attention at every so many, else "
                        + "sliding_attention, is supported")
            }
        }
        if (0..<layers).contains(where: { seesAll($0, period) != seesAll($0, usual) }) {
            set("attention.sliding_window_pattern", period)
        }
    }

    /// The scores' factor, 1 / √query_pre_attn_scalar: GGUF files leave it to the reader.
    mutating func gemmaScale() throws(GGUFError) {
        guard let scalar = try config.optionalNumber("query_pre_attn_scalar") else { return }
        set("attention.scale", Double(1 / Float(scalar).squareRoot()))
    }

    mutating func ropeScaling() throws(GGUFError) {
        let type = try config.optionalString("rope_type", "type", rope: true) ?? "default"
        switch type {
        case "default", "none": return
        case "linear":
            set("rope.scaling.type", "linear")
            set("rope.scaling.factor", try config.number("factor", rope: true))
        case "yarn":
            for name in ["mscale", "mscale_all_dim", "truncate"] where config.has(name, rope: true) {
                throw config.fail(.unsupported, "field \(name) of rope_type yarn is not supported")
            }
            let factor = try config.number("factor", rope: true)
            set("rope.scaling.type", "yarn")
            set("rope.scaling.factor", factor)
            set("rope.scaling.original_context_length", try config.originalContext())
            set("rope.scaling.yarn_beta_fast", try config.optionalNumber("beta_fast", rope: true))
            set("rope.scaling.yarn_beta_slow", try config.optionalNumber("beta_slow", rope: true))
            set("rope.scaling.yarn_attn_factor", try config.optionalNumber("attention_factor", "attn_factor", rope: true))
            set("rope.scaling.yarn_ext_factor", try config.optionalNumber("extrapolation_factor", rope: true))
        case "longrope", "su": try longRope()
        case "llama3": tensors.append(("rope_freqs.weight", try llama3Divisors()))
        default:
            throw config.fail(
                .unsupported,
                "field rope_type is \"\(type)\"; this build knows default, linear, yarn, longrope and llama3 from a folder")
        }
    }

    /// Phi's: divisors for contexts up to the original length, and for longer ones.
    private mutating func longRope() throws(GGUFError) {
        guard let original = try config.originalContext(), original > 1 else {
            throw config.fail(.missingKey, "field original_max_position_embeddings is missing or 1, which rope_type longrope needs")
        }
        let factor = Double(try config.integer("max_position_embeddings")) / Double(original)
        let usual = factor > 1 ? (1 + log(factor) / log(Double(original))).squareRoot() : 1
        set("rope.scaling.attn_factor", try config.optionalNumber("attention_factor", rope: true) ?? usual)
        for kind in ["short", "long"] {
            let factors = try config.numbers("\(kind)_factor", rope: true)
            tensors.append(("rope_factors_\(kind).weight", factors.map { Float($0) }))
        }
    }

    /// Llama 3's: high frequencies stay, low ones are divided by the factor, with a ramp between. Operation by operation in float32, as
    /// the divisors that GGUF files hold were computed.
    private func llama3Divisors() throws(GGUFError) -> [Float] {
        let factor = Float(try config.optionalNumber("factor", rope: true) ?? 8)
        let low = Float(try config.optionalNumber("low_freq_factor", rope: true) ?? 1)
        let high = Float(try config.optionalNumber("high_freq_factor", rope: true) ?? 4)
        let original = Float(try config.optionalNumber("original_max_position_embeddings", rope: true) ?? 8192)
        let base = try config.optionalNumber("rope_theta", rope: true) ?? 10_000
        let dimension = try config.headDimension()
        guard factor > 0, high > low, low > 0, original > 0, base > 0, dimension <= 1 << 16 else {
            throw config.fail(
                .unsupported,
                "rope_type llama3 with factor \(factor), low_freq_factor \(low), high_freq_factor \(high), "
                    + "original_max_position_embeddings \(original), rope_theta \(base)")
        }
        return stride(from: 0, to: dimension, by: 2).map { index in
            let power = Float(pow(Double(Float(base)), Double(Float(index) / Float(dimension))))
            let frequency = 1 / power
            let wavelength = 1 / frequency * Float(2 * Double.pi)
            if wavelength < original / high { return 1 }
            if wavelength > original / low { return factor }
            let smooth = (1 / wavelength * original - low) / (high - low)
            return 1 / ((1 - smooth) / factor + smooth)
        }
    }
}
