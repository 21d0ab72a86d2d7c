package import KVGGUF

extension Vocabulary {
    /// The vocabulary of a GGUF file (`tokenizer.*`), or of the folder that stands for one (`tokenizer.json`).
    ///
    /// Cost: one copy of the tokens' and merges' bytes, some 5 ms for 50,000 tokens.
    /// - Throws: where a key is missing or holds something else than it should, naming it.
    package init(_ file: GGUFFile) throws(TokenizerError) {
        if let folder = file.folder {
            self = try Vocabulary(tokenizerFile: folder)
            return
        }
        let reader = VocabularyReader(metadata: file.metadata, path: file.path)
        let model = try reader.string("model")
        var roles = Roles()
        if model == "llama" { (roles.unknown, roles.beginning, roles.end) = (0, 1, 2) }
        if reader.has("bos_token_id") { roles.beginning = try reader.id("bos_token_id") }
        if reader.has("eos_token_id") { roles.end = try reader.id("eos_token_id") }
        if reader.has("eot_token_id") { roles.endOfTurn = try reader.id("eot_token_id") }
        if reader.has("eom_token_id") { roles.endOfMessage = try reader.id("eom_token_id") }
        if reader.has("unknown_token_id") { roles.unknown = try reader.id("unknown_token_id") }
        if reader.has("padding_token_id") { roles.padding = try reader.id("padding_token_id") }
        if reader.has("fim_pad_token_id") { roles.fillPadding = try reader.id("fim_pad_token_id") }
        if reader.has("fim_rep_token_id") { roles.fillRepository = try reader.id("fim_rep_token_id") }
        if reader.has("fim_sep_token_id") { roles.fillSeparator = try reader.id("fim_sep_token_id") }
        try self.init(
            source: file.path, model: model == "gemma4" ? "llama" : model, preTokenizer: reader.preTokenizer(model),
            tokens: reader.strings("tokens"), types: reader.types(), scores: reader.scores(),
            merges: reader.has("merges") ? reader.strings("merges") : PackedBytes(), roles: roles)
        addsBOS = try reader.flag("add_bos_token")
        addsEOS = try reader.flag("add_eos_token")
        addsSpacePrefix = model == "gemma4" ? false : try reader.flag("add_space_prefix")
        removesExtraSpaces = try reader.flag("remove_extra_whitespaces") ?? false
        characterMap = try reader.bytes("precompiled_charsmap")
        chatTemplate = try reader.chatTemplate()
        // Files do not say which tokens take white space; Phi-3's do, all but these.
        if try reader.general("name").lowercased().matches(anyOf: ["phi-3", "phi3"]) {
            let plain: Set<String> = ["<unk>", "<s>", "<|endoftext|>"]
            for id in 0..<count where types[id].isSpecial || types[id] == .userDefined {
                if !plain.contains(tokens.string(id)) { strips[Int32(truncatingIfNeeded: id)] = Strip(behind: true) }
            }
        }
    }
}

/// Reads values under `tokenizer.ggml.` and says in the tokenizer's terms what is wrong with them.
private struct VocabularyReader {
    let metadata: Metadata
    let path: String

    private func key(_ name: String) -> String { "tokenizer.ggml.\(name)" }

    func has(_ name: String) -> Bool { metadata[key(name)] != nil }

    /// The reader's refusal of a value under `key`, with the value.
    private func refusal(_ key: String, _ error: GGUFError) -> TokenizerError {
        TokenizerError(
            error.kind == .missingKey ? .missing : .malformed, file: path, field: key,
            value: metadata[key]?.short ?? "", expected: error.reason)
    }

    private func malformed(_ name: String, _ value: String, _ expected: String) -> TokenizerError {
        TokenizerError(.malformed, file: path, field: key(name), value: value, expected: expected)
    }

    func string(_ name: String, default fallback: String? = nil) throws(TokenizerError) -> String {
        do { return try metadata.string(key(name), default: fallback) } catch { throw refusal(key(name), error) }
    }

    func general(_ name: String) throws(TokenizerError) -> String {
        do { return try metadata.string("general.\(name)", default: "") } catch { throw refusal("general.\(name)", error) }
    }

    /// The rule's name; where the file gives none, the one for its architecture.
    func preTokenizer(_ model: String) throws(TokenizerError) -> String {
        let name = try string("pre", default: "")
        if model == "gemma4" { return model }
        guard name.isEmpty else { return name }
        return try general("architecture") == "gptneox" ? "gpt-neox" : "default"
    }

    func bytes(_ name: String) throws(TokenizerError) -> [UInt8] {
        guard has(name) else { return [] }
        let array = try array(name)
        let numbers = array.integers()
        guard numbers.count == array.count else {
            throw malformed(name, "\(array.elementType)", "an array of bytes")
        }
        return numbers.map { UInt8(truncatingIfNeeded: $0) }
    }

    func flag(_ name: String) throws(TokenizerError) -> Bool? {
        guard has(name) else { return nil }
        do { return try metadata.bool(key(name)) } catch { throw refusal(key(name), error) }
    }

    func chatTemplate() throws(TokenizerError) -> String? {
        let key = "tokenizer.chat_template"
        guard metadata[key] != nil else { return nil }
        do { return try metadata.string(key) } catch { throw refusal(key, error) }
    }

    /// A token's id; nil where the key is absent or says "none" (-1, in 32 bits with or without a sign).
    func id(_ name: String) throws(TokenizerError) -> Int32? {
        guard has(name) else { return nil }
        let value: Int
        do { value = try metadata.integer(key(name)) } catch { throw refusal(key(name), error) }
        if value == -1 || value == Int(UInt32.max) { return nil }
        guard let id = Int32(exactly: value) else { throw malformed(name, "\(value)", "a token's id") }
        return id
    }

    private func array(_ name: String) throws(TokenizerError) -> MetadataArray {
        do { return try metadata.array(key(name)) } catch { throw refusal(key(name), error) }
    }

    func strings(_ name: String) throws(TokenizerError) -> PackedBytes {
        let array = try array(name)
        guard array.elementType == .string else {
            throw malformed(name, "\(array.elementType)", "an array of strings")
        }
        var strings = PackedBytes()
        // Most strings are short; what is too little grows.
        strings.reserveCapacity(count: array.count, bytes: array.count * 8)
        array.forEachStringBytes { strings.append($0) }
        return strings
    }

    func types() throws(TokenizerError) -> [Vocabulary.TokenType] {
        guard has("token_type") else { return [] }
        let array = try array("token_type")
        let numbers = array.integers()
        guard numbers.count == array.count else {
            throw malformed("token_type", "\(array.elementType)", "an array of integers")
        }
        var types: [Vocabulary.TokenType] = []
        types.reserveCapacity(numbers.count)
        for (index, number) in numbers.enumerated() {
            guard let type = UInt8(exactly: number).flatMap(Vocabulary.TokenType.init(rawValue:)) else {
                throw malformed("token_type[\(index)]", "\(number)", "a token type, 0 to 6")
            }
            types.append(type)
        }
        return types
    }

    func scores() throws(TokenizerError) -> [Float] {
        guard has("scores") else { return [] }
        let array = try array("scores")
        let numbers = array.floats()
        guard numbers.count == array.count else {
            throw malformed("scores", "\(array.elementType)", "an array of floats")
        }
        return numbers.map { Float($0) }
    }
}

extension String {
    fileprivate func matches(anyOf parts: [String]) -> Bool { parts.contains { contains($0) } }
}
