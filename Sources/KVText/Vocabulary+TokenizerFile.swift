import Foundation

extension Vocabulary {
    /// The vocabulary of a folder as Hugging Face keeps models: `tokenizer.json`, and where they are there
    /// `tokenizer_config.json`, `generation_config.json` (else `config.json`, for the ids that end a text) and `chat_template.jinja`.
    ///
    /// Byte-level BPE, SentencePiece's BPE with byte fall-back, and Unigram.
    /// - Parameter path: the folder, or its `tokenizer.json`.
    /// - Throws: where a file cannot be read, or asks for a step that this library does not have, naming it.
    package init(tokenizerFile path: String) throws(TokenizerError) {
        var file = URL(fileURLWithPath: path)
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
            file.appendPathComponent("tokenizer.json")
        }
        let folder = file.deletingLastPathComponent()
        guard FileManager.default.fileExists(atPath: file.path) else { throw Self.missing(file, folder) }
        func decode<T: Decodable>(_ type: T.Type, _ url: URL) throws(TokenizerError) -> T {
            do { return try JSONDecoder().decode(type, from: Data(contentsOf: url)) } catch {
                let reason = (error as? DecodingError).map { "\($0)" } ?? (error as NSError).localizedDescription
                throw TokenizerError(
                    .malformed, file: url.path, field: url.lastPathComponent, value: reason,
                    expected: "a file as Hugging Face's tokenizers write it")
            }
        }
        func optional<T: Decodable>(_ type: T.Type, _ name: String) throws(TokenizerError) -> T? {
            let url = folder.appendingPathComponent(name)
            return FileManager.default.fileExists(atPath: url.path) ? try decode(type, url) : nil
        }
        let settings = try optional(TokenizerSettings.self, "tokenizer_config.json")
        var stops = try optional(GenerationSettings.self, "generation_config.json")?.stopIDs ?? []
        if stops.isEmpty { stops = try optional(GenerationSettings.self, "config.json")?.stopIDs ?? [] }
        var tokenizer = try decode(TokenizerFile.self, file)
        tokenizer.add(settings?.addedTokens ?? [:])
        var builder = VocabularyBuilder(path: file.path, tokenizer)
        self = try builder.vocabulary(settings)
        for id in stops where id >= 0 && id < count { stopIDs.insert(Int32(truncatingIfNeeded: id)) }
        let template = folder.appendingPathComponent("chat_template.jinja")
        chatTemplate = (try? String(contentsOf: template, encoding: .utf8)) ?? settings?.chatTemplate?.text
    }

    /// Says what the folder has instead.
    private static func missing(_ file: URL, _ folder: URL) -> TokenizerError {
        let others = ["tokenizer.model", "tekken.json", "vocab.json", "spiece.model"].filter {
            FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path)
        }
        let instead =
            others.first.map {
                "the folder has \($0) alone, which is not read: AutoTokenizer's save_pretrained writes tokenizer.json"
            } ?? "the file that says how text becomes tokens"
        return TokenizerError(.missing, file: folder.path, field: file.lastPathComponent, value: "", expected: instead)
    }
}

/// Turns a decoded tokenizer.json into a vocabulary.
private struct VocabularyBuilder {
    let path: String
    let file: TokenizerFile
    private var tokens: [String] = []
    private var scores: [Float] = []
    private var types: [Vocabulary.TokenType] = []
    private var ids: [String: Int] = [:]

    init(path: String, _ file: TokenizerFile) {
        self.path = path
        self.file = file
    }

    private func unsupported(_ field: String, _ value: String) -> TokenizerError {
        TokenizerError(
            .unsupportedModel, file: path, field: field, value: value, expected: "a step that this library knows")
    }

    mutating func vocabulary(_ settings: TokenizerSettings?) throws(TokenizerError) -> Vocabulary {
        try readTokens()
        let steps = file.preTokenizer?.flat ?? []
        let normalizers = file.normalizer?.flat ?? []
        let kind: String
        switch file.model.vocabulary {
        case .scores: kind = "t5"
        case .ids:
            guard file.model.type ?? "BPE" == "BPE" else { throw unsupported("model.type", file.model.type ?? "") }
            kind = steps.contains { $0.type == "ByteLevel" } ? "gpt2" : "llama"
        }
        markTokens(byteTokens: kind == "llama" || file.model.byteFallback ?? false)
        var roles = Vocabulary.Roles()
        func id(_ text: String?) -> Int32? { text.flatMap { ids[$0] }.map { Int32(truncatingIfNeeded: $0) } }
        let (bos, eos) = specials()
        roles.beginning = id(settings?.bosToken?.content) ?? id(bos)
        roles.end = id(settings?.eosToken?.content) ?? id(eos)
        roles.unknown = id(file.model.unknownToken) ?? file.model.unknownID.map { Int32(truncatingIfNeeded: $0) }
        var vocabulary = try Vocabulary(
            source: path, model: kind, preTokenizer: "", tokens: PackedBytes(tokens), types: types, scores: scores,
            merges: PackedBytes((file.model.merges ?? []).map(\.text)), roles: roles)
        // What the file does wins: the settings' flags are for tokenizers that do not read it.
        vocabulary.addsBOS = bos != nil
        vocabulary.addsEOS = eos != nil
        if kind == "gpt2" {
            vocabulary.rule = try rule(steps)
            for step in normalizers {
                guard step.type == "NFC" else { throw unsupported("normalizer", step.type) }
                vocabulary.normalises = true
            }
        } else {
            try readSpaces(steps, normalizers, &vocabulary)
        }
        for token in file.addedTokens ?? [] where token.lstrip == true || token.rstrip == true {
            vocabulary.strips[Int32(truncatingIfNeeded: token.id)] = Vocabulary.Strip(
                before: token.lstrip ?? false, behind: token.rstrip ?? false)
        }
        return vocabulary
    }

    private mutating func readTokens() throws(TokenizerError) {
        var named: [(id: Int, text: String)] = (file.addedTokens ?? []).map { ($0.id, $0.content) }
        switch file.model.vocabulary {
        case .ids(let entries): named += entries.map { ($0.value, $0.key) }
        case .scores(let entries):
            named += entries.enumerated().map { ($0.offset, $0.element.token) }
            scores = entries.map { Float($0.score) }
        }
        let count = (named.map(\.id).max() ?? -1) + 1
        guard count <= 1 << 24, named.allSatisfy({ $0.id >= 0 }) else {
            throw TokenizerError(
                .malformed, file: path, field: "model.vocab", value: "\(count) tokens", expected: "ids from 0 to 2^24")
        }
        // Ids that no token has keep names that no text gives.
        tokens = (0..<count).map { "\u{0}[\($0)]" }
        types = Array(repeating: .unused, count: count)
        for (id, text) in named {
            tokens[id] = text
            types[id] = .normal
            ids[text] = id
        }
        if !scores.isEmpty { scores += Array(repeating: 0, count: count - scores.count) }
    }

    private mutating func markTokens(byteTokens: Bool) {
        if byteTokens {
            for id in tokens.indices where tokens[id].utf8.count == 6 && tokens[id].hasPrefix("<0x") && tokens[id].hasSuffix(">") {
                types[id] = .byte
            }
        }
        for token in file.addedTokens ?? [] { types[token.id] = token.special ?? false ? .control : .userDefined }
        let unknown = file.model.unknownToken.flatMap { ids[$0] } ?? file.model.unknownID
        if let unknown, types.indices.contains(unknown) { types[unknown] = .unknown }
    }

    /// The special tokens that the file puts before and behind a text.
    private func specials() -> (before: String?, behind: String?) {
        guard let processor = file.postProcessor else { return (nil, nil) }
        for one in processor.processors ?? [processor] {
            guard let pieces = one.single else { continue }
            return (
                pieces.first?.special?.id, pieces.count > 1 ? pieces.last?.special?.id : nil
            )
        }
        return (nil, nil)
    }

    /// The patterns of a byte-level vocabulary.
    private func rule(_ steps: [TokenizerFile.Component]) throws(TokenizerError) -> PreTokenizerRule {
        var patterns: [String] = []
        for step in steps {
            switch step.type {
            case "ByteLevel":
                if step.addPrefixSpace == true { throw unsupported("pre_tokenizer", "ByteLevel with add_prefix_space") }
                if step.useRegex ?? true { patterns.append(PreTokenizerRule.gpt2) }
            case "Split":
                guard step.behavior == "Isolated" || step.behavior == "Removed" && step.invert == true else {
                    throw unsupported("pre_tokenizer", "Split, \(step.behavior ?? "")")
                }
                let literal = step.pattern?.string.map { NSRegularExpression.escapedPattern(for: $0) }
                guard let pattern = step.pattern?.regex ?? literal else { throw unsupported("pre_tokenizer", "Split") }
                patterns.append(pattern)
            case "Digits": patterns.append(step.individualDigits ?? false ? #"\p{N}"# : #"\p{N}+"#)
            case "Punctuation":
                let one = #"[\p{P}$+<=>^`|~]"#
                patterns.append(step.behavior == "Contiguous" ? one + "+" : one)
            default: throw unsupported("pre_tokenizer", step.type)
            }
        }
        return PreTokenizerRule(names: [], patterns: patterns, wholePieces: file.model.ignoreMerges ?? false)
    }

    /// How a SentencePiece vocabulary treats spaces.
    private func readSpaces(
        _ steps: [TokenizerFile.Component], _ normalizers: [TokenizerFile.Component], _ vocabulary: inout Vocabulary
    ) throws(TokenizerError) {
        vocabulary.addsSpacePrefix = false
        for step in normalizers {
            switch step.type {
            case "Prepend": vocabulary.addsSpacePrefix = true
            case "NFC": vocabulary.normalises = true
            // Spaces to ▁, runs of them to one: what a SentencePiece vocabulary does anyway.
            case "Replace" where step.pattern?.string == " ": continue
            case "Replace" where step.pattern?.regex == " {2,}": vocabulary.removesExtraSpaces = true
            case "Strip": vocabulary.removesExtraSpaces = true
            case "Precompiled":
                let data = step.precompiledCharsmap.flatMap { Data(base64Encoded: $0) } ?? Data()
                vocabulary.characterMap = [UInt8](data)
            default: throw unsupported("normalizer", step.type)
            }
        }
        for step in steps {
            switch step.type {
            case "Metaspace":
                let scheme = step.prependScheme ?? (step.addPrefixSpace ?? true ? "always" : "never")
                vocabulary.addsSpacePrefix = scheme != "never"
            case "WhitespaceSplit": vocabulary.removesExtraSpaces = true
            case "Split" where step.pattern?.string == " ": continue
            default: throw unsupported("pre_tokenizer", step.type)
            }
        }
    }
}
