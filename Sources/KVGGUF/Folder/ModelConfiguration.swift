/// A folder's `config.json`: fields by name, with errors that name the file and the field.
struct ModelConfiguration {
    let path: String
    private let fields: [String: JSONValue]
    /// The rotary embedding's fields: `rope_parameters`, before transformers 5 `rope_scaling` with `rope_theta` beside it.
    private let rope: [String: JSONValue]

    /// - Parameter path: the file.
    init(path: String) throws(GGUFError) {
        self.path = path
        let fields = try JSONValue.object(of: path, limit: 4 << 20)
        self.fields = fields
        var rope: [String: JSONValue] = [:]
        for name in ["rope_scaling", "rope_parameters"] {
            switch fields[name] {
            case .object(let object): rope.merge(object) { $1 }
            case nil, .null: continue
            case let value?:
                throw GGUFError(kind: .wrongType, file: path, reason: "field \(name) is \(value.short), not an object")
            }
        }
        if rope["rope_theta"] == nil { rope["rope_theta"] = fields["rope_theta"] }
        self.rope = rope
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
        guard case .integer(let integer) = value, integer > 0, integer < 1 << 40 else {
            throw fail(.wrongType, "field \(name) is \(value.short), not a whole number above 0")
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

    func has(_ name: String) -> Bool { value([name], in: false) != nil }

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

    func headDimension() throws(GGUFError) -> Int {
        if let dimension = try optionalInteger("head_dim") { return dimension }
        return max(1, try integer("hidden_size", "n_embd") / (try integer("num_attention_heads", "n_head")))
    }
}
