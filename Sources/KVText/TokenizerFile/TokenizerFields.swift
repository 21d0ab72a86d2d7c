/// An object of a tokenizer.json with its place, so that errors name file, field and value.
struct TokenizerFields {
    let file: String
    /// Where the object stands, as "pre_tokenizer.pretokenizers[1]"; empty at the top.
    let path: String
    let json: JSON

    private func place(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    func malformed(_ name: String, _ value: String, _ expected: String) -> TokenizerError {
        TokenizerError(.malformed, file: file, field: place(name), value: value, expected: expected)
    }

    /// Refuses what a field asks for, by name.
    func unsupported(_ name: String, _ value: String) -> TokenizerError {
        TokenizerError(
            .unsupportedModel, file: file, field: place(name), value: value, expected: "a step that this library knows")
    }

    func missing(_ name: String, _ expected: String) -> TokenizerError {
        TokenizerError(.missing, file: file, field: place(name), value: "", expected: expected)
    }

    func type() throws(TokenizerError) -> String { try string("type") }

    func bytes(_ name: String) throws(TokenizerError) -> [UInt8]? {
        guard let value = json[name] else { return nil }
        guard case .string(let bytes) = value else { throw malformed(name, value.shown, "a string") }
        return bytes
    }

    func requiredBytes(_ name: String) throws(TokenizerError) -> [UInt8] {
        guard let bytes = try bytes(name) else { throw missing(name, "a string") }
        return bytes
    }

    func string(_ name: String) throws(TokenizerError) -> String {
        String(decoding: try requiredBytes(name), as: UTF8.self)
    }

    /// A string of one character.
    func character(_ name: String) throws(TokenizerError) -> [UInt8] {
        let bytes = try requiredBytes(name)
        guard String(decoding: bytes, as: UTF8.self).unicodeScalars.count == 1 else {
            throw malformed(name, String(decoding: bytes, as: UTF8.self), "one character")
        }
        return bytes
    }

    func bool(_ name: String, default fallback: Bool? = nil) throws(TokenizerError) -> Bool {
        guard let value = json[name] else {
            guard let fallback else { throw missing(name, "true or false") }
            return fallback
        }
        guard case .bool(let flag) = value else { throw malformed(name, value.shown, "true or false") }
        return flag
    }

    /// A whole number that is not negative.
    func count(_ name: String) throws(TokenizerError) -> Int? {
        guard let value = json[name] else { return nil }
        guard case .integer(let number) = value, number >= 0 else {
            throw malformed(name, value.shown, "a whole number that is not negative")
        }
        return number
    }

    func fields(_ name: String) throws(TokenizerError) -> TokenizerFields? {
        guard let value = json[name] else { return nil }
        guard case .object = value else { throw malformed(name, value.shown, "an object") }
        return TokenizerFields(file: file, path: place(name), json: value)
    }

    /// The objects of an array; none where there is no array.
    func list(_ name: String) throws(TokenizerError) -> [TokenizerFields] {
        guard let value = json[name] else { return [] }
        guard case .array(let items) = value else { throw malformed(name, value.shown, "an array") }
        return items.enumerated().map { TokenizerFields(file: file, path: place("\(name)[\($0)]"), json: $1) }
    }

    /// The steps under a name, those of sequences in their order; none where there is none.
    /// - Parameter items: the field in which a sequence has its steps.
    func steps(_ name: String, _ items: String) throws(TokenizerError) -> [TokenizerFields] {
        guard let step = try fields(name) else { return [] }
        return try step.flat(items)
    }

    private func flat(_ items: String) throws(TokenizerError) -> [TokenizerFields] {
        guard try type() == "Sequence" else { return [self] }
        var all: [TokenizerFields] = []
        for step in try list(items) { all += try step.flat(items) }
        return all
    }

    /// The regular expression of a field {"String": …} or {"Regex": …}; a string in quotes of its own.
    func pattern(_ name: String) throws(TokenizerError) -> Pattern {
        guard let pattern = try fields(name) else { throw missing(name, "a String or a Regex") }
        do throws(TokenizerError) {
            if let literal = try pattern.bytes("String") {
                guard !literal.isEmpty else { throw unsupported("\(name).String", "an empty string") }
                return try Pattern(literal: literal)
            }
            guard let expression = try pattern.bytes("Regex") else { throw missing(name, "a String or a Regex") }
            return try Pattern(oniguruma: String(decoding: expression, as: UTF8.self))
        } catch {
            guard error.file.isEmpty else { throw error }
            throw TokenizerError(
                error.reason, file: file, field: place(name), value: error.value, expected: error.expected)
        }
    }
}
