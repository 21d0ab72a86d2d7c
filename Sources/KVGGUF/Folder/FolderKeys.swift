#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// GGUF's metadata of a folder's configuration, under an architecture's prefix; and the rotary frequencies' divisors, where there are some.
struct FolderKeys {
    let config: ModelConfiguration
    private let prefix: String
    private(set) var keys: [String] = []
    private(set) var values: [String: MetadataValue] = [:]
    /// `rope_freqs.weight`; empty for none.
    private(set) var frequencyDivisors: [Float] = []

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
    /// - Parameter headCount: whether a head's size, where it is given, is written.
    mutating func decoder(headCount: Bool = true) throws(GGUFError) {
        let heads = try config.integer("num_attention_heads")
        set("block_count", try config.integer("num_hidden_layers"))
        set("context_length", try config.integer("max_position_embeddings"))
        set("embedding_length", try config.integer("hidden_size"))
        set("feed_forward_length", try config.integer("intermediate_size"))
        set("attention.head_count", heads)
        set("attention.head_count_kv", try config.optionalInteger("num_key_value_heads") ?? heads)
        set("rope.freq_base", try config.optionalNumber("rope_theta", rope: true))
        set("attention.layer_norm_rms_epsilon", try config.number("rms_norm_eps"))
        if headCount, let head = try config.optionalInteger("head_dim") {
            set("attention.key_length", head)
            set("attention.value_length", head)
        }
        try ropeScaling()
    }

    mutating func ropeScaling() throws(GGUFError) {
        let type = try config.optionalString("rope_type", "type", rope: true) ?? "default"
        switch type {
        case "default", "none": return
        case "linear":
            set("rope.scaling.type", "linear")
            set("rope.scaling.factor", try config.number("factor", rope: true))
        case "yarn":
            let factor = try config.number("factor", rope: true)
            set("rope.scaling.type", "yarn")
            set("rope.scaling.factor", factor)
            set("rope.scaling.original_context_length", try config.optionalInteger("original_max_position_embeddings", rope: true))
            set("rope.scaling.yarn_beta_fast", try config.optionalNumber("beta_fast", rope: true))
            set("rope.scaling.yarn_beta_slow", try config.optionalNumber("beta_slow", rope: true))
            // GGUF's is a factor of the usual one.
            if let attention = try config.optionalNumber("attention_factor", rope: true) {
                set("rope.scaling.attn_factor", attention / (1 + 0.1 * log(factor)))
            }
        case "llama3": frequencyDivisors = try llama3Divisors()
        default:
            throw config.fail(
                .unsupported, "field rope_type is \"\(type)\"; this build knows default, linear, yarn and llama3 from a folder")
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
