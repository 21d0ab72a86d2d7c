import CKVKernels
package import KVGGUF

/// Why a synthetic model's description is refused.
package struct SyntheticError: Error, CustomStringConvertible, Sendable, Equatable {
    /// The key at fault ("layers"; "model" for the preset's name).
    package let field: String
    package let value: String
    package let reason: String

    package var description: String { "synthetic model: \(field) is \"\(value)\": \(reason)" }
}

/// A model of a known geometry with random weights, so that measurements need no download: `llama-7b,layers=4,type=q4_0`.
///
/// Its header is a GGUF header without data; `Weights` then makes every row from the seed, in the tensor's format, by the workers that
/// pack it. Weights have mean 0 and the standard deviation 1 / √columns, norms are 1: each layer adds about as much to the residual
/// stream, whatever the depth. It answers nonsense, and has no tokenizer.
package struct Synthetic: Sendable, Equatable {
    /// What the architecture's buffers and costs depend on. The head dimension is width / heads, if the preset has none of its own.
    package struct Sizes: Sendable, Equatable {
        package var layers, width, heads, keyValueHeads, feedForward, vocabulary, context: Int
    }

    package var preset: Preset
    package var sizes: Sizes
    /// Of all matrices, the embedding's too.
    package var type = TensorType.q4_0
    package var seed: UInt64 = 1

    /// - Parameter text: a preset's name, then any of layers, width, heads, kv, ffn, vocab, context, type and seed as `,key=value`.
    /// - Throws: `SyntheticError` naming the key and value at fault.
    package init(parsing text: String) throws(SyntheticError) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        guard let preset = Preset.all.first(where: { $0.name == parts[0] }) else {
            let known = Preset.all.map(\.name).joined(separator: ", ")
            throw SyntheticError(field: "model", value: parts[0], reason: "the known ones are \(known)")
        }
        self.preset = preset
        sizes = preset.sizes
        var given: Set<String> = []
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard pair.count == 2 else {
                throw SyntheticError(field: pair[0], value: "", reason: "write key=value, with a key of \(Self.keys)")
            }
            guard given.insert(pair[0]).inserted else {
                throw SyntheticError(field: pair[0], value: pair[1], reason: "it is given twice")
            }
            try set(pair[0], to: pair[1])
        }
        // As many as heads where the preset has as many.
        if given.contains("heads"), !given.contains("kv"), preset.sizes.keyValueHeads == preset.sizes.heads {
            sizes.keyValueHeads = sizes.heads
        }
        try validate()
    }

    /// Key, place and greatest value of what can be overridden. Even the greatest model's bytes are below 2^63.
    private static let fields: [(key: String, path: any WritableKeyPath<Sizes, Int> & Sendable, limit: Int)] = [
        ("layers", \.layers, 1024), ("width", \.width, 1 << 17), ("heads", \.heads, 1 << 12), ("kv", \.keyValueHeads, 1 << 12),
        ("ffn", \.feedForward, 1 << 18), ("vocab", \.vocabulary, 1 << 20), ("context", \.context, 1 << 30),
    ]
    private static var keys: String { (fields.map(\.key) + ["type", "seed"]).joined(separator: ", ") }

    private mutating func set(_ key: String, to value: String) throws(SyntheticError) {
        func fail(_ reason: String) -> SyntheticError { SyntheticError(field: key, value: value, reason: reason) }
        switch key {
        case "type":
            guard let type = TensorType(named: value), ckv_format_of(type.rawValue) != nil else {
                throw fail("the known ones are \(Kernels.formatNames.joined(separator: ", ").lowercased())")
            }
            self.type = type
        case "seed":
            guard let seed = UInt64(value) else { throw fail("it must be a number from 0 to \(UInt64.max)") }
            self.seed = seed
        default:
            guard let field = Self.fields.first(where: { $0.key == key }) else { throw fail("the keys are \(Self.keys)") }
            guard let number = Int(value), (1...field.limit).contains(number) else {
                throw fail("it must be 1 to \(field.limit)")
            }
            sizes[keyPath: field.path] = number
        }
    }

    private func validate() throws(SyntheticError) {
        func require(_ holds: Bool, _ field: String, _ value: Int, _ reason: String) throws(SyntheticError) {
            if !holds { throw SyntheticError(field: field, value: "\(value)", reason: reason) }
        }
        let block = type.block ?? 1
        try require(sizes.width % block == 0, "width", sizes.width, "type \(typeName) needs a multiple of \(block)")
        try require(sizes.feedForward % block == 0, "ffn", sizes.feedForward, "type \(typeName) needs a multiple of \(block)")
        try require(
            preset.headDimension != nil || sizes.width % (2 * sizes.heads) == 0, "heads", sizes.heads,
            "the width, \(sizes.width), must be an even number for each head")
        try require(
            sizes.heads * headDimension % block == 0, "heads", sizes.heads,
            "each has \(headDimension) elements, type \(typeName) needs a multiple of \(block)")
        try require(
            headDimension <= 256, "heads", sizes.heads, "each would have \(headDimension) elements of the width, more than 256")
        try require(
            sizes.heads % sizes.keyValueHeads == 0, "kv", sizes.keyValueHeads,
            "\(sizes.heads) heads must share the key/value heads evenly")
    }

    package var headDimension: Int { preset.head(sizes) }
    private var typeName: String { type.name.lowercased() }

    /// Sizes that are not the preset's, as `,key=value`.
    private var overrides: [String] {
        Self.fields.filter { sizes[keyPath: $0.path] != preset.sizes[keyPath: $0.path] }
            .map { "\($0.key)=\(sizes[keyPath: $0.path])" }
    }

    /// What fully describes the model, so that its weights can be made again.
    package var description: String {
        ([preset.name] + overrides + ["type=\(typeName)", "seed=\(seed)"]).joined(separator: ",")
    }

    // MARK: The header

    private static let seedKey = "kvcpu.synthetic.seed"

    /// The GGUF header of such a model, without data.
    /// - Throws: `GGUFError`; not for a description that was parsed.
    package func header() throws(GGUFError) -> GGUFFile {
        let tensors = preset.tensors(sizes)
        let metadata: [(key: String, value: MetadataValue)] = [
            ("general.architecture", .string(preset.architecture)),
            ("general.name", .string("synthetic \(preset.name)")),
            ("general.size_label", .string(([preset.label] + overrides).joined(separator: " "))),
            (Self.seedKey, .unsigned(seed)),
        ]
        return try GGUFFile(
            header: "synthetic \(description)", metadata: metadata + preset.metadata(sizes),
            // Vectors are floats in every file.
            tensors: tensors.map { ($0.name, $0.dimensions, $0.dimensions.count == 1 ? .f32 : type) })
    }

    /// The seed of a header without data; 0 where it names none.
    static func seed(of file: GGUFFile) -> UInt64 {
        if case .unsigned(let seed) = file.metadata[seedKey] { seed } else { 0 }
    }

    /// A norm's weights, 1, or a bias, 0.
    static func vector(_ name: String, count: Int) -> [Float] {
        [Float](repeating: name.hasSuffix(".bias") ? 0 : 1, count: count)
    }
}
