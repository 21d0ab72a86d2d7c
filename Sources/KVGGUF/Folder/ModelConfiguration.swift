/// A folder's `config.json`: fields by name, with errors that name the file and the field.
struct ModelConfiguration {
    let path: String
    /// Read from it.
    let file: MappedFile
    private let fields: [String: JSONValue]
    /// The rotary embedding's fields: `rope_parameters`, before transformers 5 `rope_scaling` with `rope_theta` beside it; where layers of
    /// different kinds have their own, those of the layers that see all.
    private let rope: [String: JSONValue]
    /// Those of the layers that slide, where they have their own.
    private let slidingRope: [String: JSONValue]

    /// - Parameter path: the file.
    init(path: String) throws(GGUFError) {
        let (fields, file) = try JSONValue.read(path, limit: 4 << 20)
        try self.init(path, file, fields)
    }

    private init(_ path: String, _ file: MappedFile, _ fields: [String: JSONValue]) throws(GGUFError) {
        self.path = path
        self.file = file
        self.fields = fields
        var rope: [String: JSONValue] = [:]
        for name in ["rope_scaling", "rope_parameters"] { rope.merge(try Self.object(name, fields, path) ?? [:]) { $1 } }
        slidingRope = try Self.object("sliding_attention", rope, path) ?? [:]
        if let own = try Self.object("full_attention", rope, path) { rope = own }
        if rope["rope_theta"] == nil { rope["rope_theta"] = fields["rope_theta"] }
        self.rope = rope
    }

    private static func object(
        _ name: String, _ fields: [String: JSONValue], _ path: String
    ) throws(GGUFError) -> [String: JSONValue]? {
        switch fields[name] {
        case .object(let object): return object
        case nil, .null: return nil
        case let value?:
            throw GGUFError(kind: .wrongType, file: path, reason: "field \(name) is \(value.short), not an object")
        }
    }

    /// With what a part's own configuration says above that of the whole, and `defaults` below both.
    /// - Parameter part: a field's name; nil for the whole.
    func completed(part: String?, defaults: [String: JSONValue]) throws(GGUFError) -> ModelConfiguration {
        var all = defaults.merging(fields) { $1 }
        if let part {
            guard let own = try Self.object(part, fields, path) else { throw missing([part]) }
            all.merge(own) { $1 }
        }
        return try ModelConfiguration(path, file, all)
    }

    func fail(_ kind: GGUFError.Kind, _ reason: String) -> GGUFError { GGUFError(kind: kind, file: path, reason: reason) }

    /// The first of these fields that is there and not null.
    private func value(_ names: [String], in rope: Bool) -> (name: String, value: JSONValue)? {
        let fields = rope ? self.rope : self.fields
        for name in names {
            if let value = fields[name], value != .null { return (name, value) }
        }
        return nil
    }

    private func missing(_ names: [String]) -> GGUFError {
        fail(.missingKey, "field \(names.joined(separator: " (or ")) is missing" + String(repeating: ")", count: names.count - 1))
    }

    /// An integer above 0; nil where no such field is there.
    func optionalInteger(_ names: String..., rope: Bool = false) throws(GGUFError) -> Int? {
        guard let (name, value) = value(names, in: rope) else { return nil }
        guard case .integer(let integer) = value, integer > 0, integer < 1 << 31 else {
            throw fail(.wrongType, "field \(name) is \(value.short), not a whole number above 0 and below 2^31")
        }
        return integer
    }

    /// An integer of 0 or above; nil where no such field is there.
    func optionalCount(_ names: String...) throws(GGUFError) -> Int? {
        guard let (name, value) = value(names, in: false) else { return nil }
        guard case .integer(let integer) = value, integer >= 0, integer < 1 << 31 else {
            throw fail(.wrongType, "field \(name) is \(value.short), not a whole number below 2^31")
        }
        return integer
    }

    func integer(_ names: String...) throws(GGUFError) -> Int {
        for name in names {
            if let integer = try optionalInteger(name) { return integer }
        }
        throw missing(names)
    }

    func optionalNumber(_ names: String..., rope: Bool = false) throws(GGUFError) -> Double? {
        guard let (name, value) = value(names, in: rope) else { return nil }
        guard let number = value.number, number.isFinite else {
            throw fail(.wrongType, "field \(name) is \(value.short), not a number")
        }
        return number
    }

    func number(_ names: String..., rope: Bool = false) throws(GGUFError) -> Double {
        for name in names {
            if let number = try optionalNumber(name, rope: rope) { return number }
        }
        throw missing(names)
    }

    func optionalBool(_ name: String) throws(GGUFError) -> Bool? {
        guard let (name, value) = value([name], in: false) else { return nil }
        guard case .bool(let bool) = value else { throw fail(.wrongType, "field \(name) is \(value.short), not true or false") }
        return bool
    }

    func optionalString(_ names: String..., rope: Bool = false) throws(GGUFError) -> String? {
        guard let (name, value) = value(names, in: rope) else { return nil }
        guard case .string(let string) = value else { throw fail(.wrongType, "field \(name) is \(value.short), not a string") }
        return string
    }

    private func list(_ name: String, in rope: Bool) throws(GGUFError) -> [JSONValue]? {
        guard let (name, value) = value([name], in: rope) else { return nil }
        guard case .array(let values) = value else { throw fail(.wrongType, "field \(name) is \(value.short), not a list") }
        return values
    }

    func optionalStrings(_ name: String) throws(GGUFError) -> [String]? {
        try list(name, in: false)?.map { value throws(GGUFError) in
            guard case .string(let string) = value else {
                throw fail(.wrongType, "field \(name) holds \(value.short), not strings")
            }
            return string
        }
    }

    func optionalIntegers(_ name: String) throws(GGUFError) -> [Int]? {
        try list(name, in: false)?.map { value throws(GGUFError) in
            guard case .integer(let integer) = value else {
                throw fail(.wrongType, "field \(name) holds \(value.short), not integers")
            }
            return integer
        }
    }

    func numbers(_ name: String, rope: Bool = false) throws(GGUFError) -> [Double] {
        guard let values = try list(name, in: rope) else { throw missing([name]) }
        return try values.map { value throws(GGUFError) in
            guard let number = value.number else { throw fail(.wrongType, "field \(name) holds \(value.short), not numbers") }
            return number
        }
    }

    /// The rotary base of the layers that slide; nil where they have none of their own.
    func slidingRopeBase() throws(GGUFError) -> Double? {
        if case .string(let type)? = slidingRope["rope_type"], type != "default" {
            throw fail(.unsupported, "field sliding_attention.rope_type is \"\(type)\"; only default is supported")
        }
        if let base = slidingRope["rope_theta"]?.number { return base }
        return try optionalNumber("rope_local_base_freq")
    }

    /// Positions that the model was trained for before its rotary embedding was stretched.
    func originalContext() throws(GGUFError) -> Int? {
        let top = try optionalInteger("original_max_position_embeddings")
        return try optionalInteger("original_max_position_embeddings", rope: true) ?? top
    }

    /// Who quantised the weights; nil for nobody.
    func quantisation() throws(GGUFError) -> String? {
        for name in ["quantization_config", "compression_config"] {
            guard let object = try Self.object(name, fields, path) else { continue }
            guard case .string(let method)? = object["quant_method"] else { return name }
            return "\(name), quant_method \"\(method)\""
        }
        return nil
    }

    func isNull(_ name: String) -> Bool { fields[name] == .null }

    func has(_ name: String, rope: Bool = false) -> Bool { value([name], in: rope) != nil }

    /// The model's class, of which there is one.
    func modelClass() throws(GGUFError) -> String {
        guard let (name, value) = value(["architectures"], in: false) else { throw missing(["architectures"]) }
        guard case .array(let classes) = value, case .string(let first)? = classes.first else {
            throw fail(.wrongType, "field \(name) is \(value.short), not a list of class names")
        }
        return first
    }

    /// A feature that the architecture does not compute is an error, not something to skip silently.
    func require(_ name: String, _ allowed: [String]) throws(GGUFError) {
        guard let found = try optionalString(name), !allowed.contains(found) else { return }
        throw fail(.unsupported, "field \(name) is \"\(found)\"; this build computes \(allowed.joined(separator: ", "))")
    }

    /// As many as any program computes, so that nothing is made for more.
    func layers(_ names: String...) throws(GGUFError) -> Int {
        for name in names {
            guard let layers = try optionalInteger(name) else { continue }
            guard layers <= 4096 else { throw fail(.unsupported, "field \(name) is \(layers); it must be 1 to 4096") }
            return layers
        }
        throw missing(names)
    }

    /// How many of a head's elements turn.
    /// - Parameters:
    ///   - names: of the field at the top, where the rotary embedding's own is not there.
    ///   - fallback: of the share without any.
    func rotaryDimension(_ names: [String], inRope: Bool = true, default fallback: Double) throws(GGUFError) -> Int {
        var name = "partial_rotary_factor"
        var part = inRope ? try optionalNumber(name, rope: true) : nil
        for other in names where part == nil {
            name = other
            part = try optionalNumber(other)
        }
        let head = try headDimension()
        let turned = (part ?? fallback) * Double(head)
        guard let dimension = Int(checking: turned), (1...head).contains(dimension) else {
            throw fail(
                .unsupported, "field \(name) is \(part ?? fallback): of a head's \(head) elements \(turned) cannot be rotated")
        }
        return dimension
    }

    func headDimension() throws(GGUFError) -> Int {
        if let dimension = try optionalInteger("head_dim") { return dimension }
        return max(1, try integer("hidden_size", "n_embd") / (try integer("num_attention_heads", "n_head")))
    }
}
