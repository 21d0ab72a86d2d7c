/// Turns a tokenizer.json into a vocabulary with its pipeline.
struct TokenizerFileReader {
    private let file: TokenizerFields
    private let model: TokenizerFields
    private let settings: TokenizerSettings
    /// Tokens of the model and, behind or in between, the added ones; empty where an id has no token.
    private var texts: [[UInt8]] = []
    private var types: [Vocabulary.TokenType] = []
    private var added: [AddedTokens.Token] = []

    /// How many ids without a token a vocabulary may have, beside as many as it has tokens.
    private static let gapLimit = 1 << 16

    init(_ file: TokenizerFields, _ settings: TokenizerSettings) throws(TokenizerError) {
        self.file = file
        self.settings = settings
        guard let model = try file.fields("model") else { throw file.missing("model", "the model's vocabulary") }
        self.model = model
    }

    mutating func vocabulary() throws(TokenizerError) -> Vocabulary {
        let (isUnigram, scores) = try readModel()
        var packed = PackedBytes()
        for text in texts { packed.append(text) }
        let table = TokenTable(packed)
        for id in texts.indices where !texts[id].isEmpty && table.id(of: texts[id]) != id && !isUnigram {
            throw model.malformed("vocab", String(decoding: texts[id], as: UTF8.self), "every token once")
        }
        let unknown = try unknownID(table)
        var normalizers: [Normalizer] = []
        for step in try file.steps("normalizer", "normalizers") { normalizers.append(try Normalizer(step)) }
        try readAddedTokens(table)
        let written = try normalised(normalizers)
        let tokens = try AddedTokens(added, written: written)
        var steps: [PreTokenization] = []
        for step in try file.steps("pre_tokenizer", "pretokenizers") {
            let more = try PreTokenization.steps(step)
            // Which pieces then stem from the text's first character depends on how it was changed.
            let changes = !normalizers.isEmpty || steps.contains(where: \.changesText)
            if case .metaspace(_, .first, _)? = more.first, !steps.isEmpty, changes {
                throw step.unsupported("prepend_scheme", "first, behind steps that cut and change the text")
            }
            steps += more
        }
        let pieces: TokenizerPipeline.Model
        if isUnigram {
            pieces = .unigram(try PieceUnigram(model, packed, table, scores: scores))
        } else {
            pieces = Self.simplified(try PieceBPE(model, packed, table), steps)
        }
        let pipeline = TokenizerPipeline(
            added: tokens, normalizers: normalizers, steps: steps, model: pieces,
            post: try PostProcessing(try file.steps("post_processor", "processors")),
            decoder: try TokenDecoder(try file.steps("decoder", "decoders"), isAbsent: file.json["decoder"] == nil))
        return try vocabulary(pipeline, written, unknown, isUnigram)
    }

    private func vocabulary(
        _ pipeline: TokenizerPipeline, _ written: [Int32: [UInt8]], _ unknown: Int32?, _ isUnigram: Bool
    ) throws(TokenizerError) -> Vocabulary {
        var all = PackedBytes()
        for text in texts { all.append(text) }
        for id in pipeline.post.before + pipeline.post.behind where Int(id) >= texts.count {
            throw file.malformed("post_processor", "\(id)", "one of the \(texts.count) tokens")
        }
        let table = TokenTable(all)
        func id(_ text: [UInt8]?) -> Int32? { text.map { table.id(of: $0) }.flatMap { $0 < 0 ? nil : $0 } }
        var roles = Vocabulary.Roles()
        roles.beginning = id(settings.beginning) ?? pipeline.post.before.first
        roles.end = id(settings.end) ?? pipeline.post.behind.last
        roles.unknown = unknown
        var types = types
        for token in added { types[Int(token.id)] = token.isSpecial ? .control : .userDefined }
        if let unknown { types[Int(unknown)] = .unknown }
        let isByteLevel = pipeline.steps.contains { if case .byteLevel = $0 { true } else { false } }
        var vocabulary = try Vocabulary(
            source: file.file, model: isUnigram ? "t5" : isByteLevel ? "gpt2" : "llama", preTokenizer: "", tokens: all,
            types: types, roles: roles)
        // What the file does wins: the settings' flags are for tokenizers that do not read it.
        vocabulary.addsBOS = !pipeline.post.before.isEmpty
        vocabulary.addsEOS = !pipeline.post.behind.isEmpty
        vocabulary.pipeline = pipeline
        vocabulary.written = written
        return vocabulary
    }

    /// The model for pieces that patterns alone cut and the byte-level alphabet writes: no step between changes the text.
    private static func simplified(_ model: PieceBPE, _ steps: [PreTokenization]) -> TokenizerPipeline.Model {
        guard model.isByteLevel, case .byteLevel(addsSpace: false, let last)? = steps.last else { return .pairs(model) }
        let isolating = steps.dropLast().map(\.isolating)
        guard isolating.allSatisfy({ $0 != nil }) else { return .pairs(model) }
        let patterns = isolating.compactMap { $0 } + (last.map { [$0] } ?? [])
        return .byteLevel(
            ByteLevelBPE(model.tokens, model.merges, PreTokenizer(patterns), wholePieces: model.wholePieces))
    }

    // MARK: The model's tokens

    /// - Returns: whether the model is Unigram, and then its scores.
    private mutating func readModel() throws(TokenizerError) -> (isUnigram: Bool, scores: [Double]) {
        guard let vocabulary = model.json["vocab"] else { throw model.missing("vocab", "the tokens") }
        let type: String
        if model.json["type"] != nil {
            type = try model.type()
        } else if case .array = vocabulary {
            type = "Unigram"
        } else {
            type = model.json["merges"] == nil ? "WordPiece" : "BPE"
        }
        switch (type, vocabulary) {
        case ("BPE", .object(let entries)):
            try readEntries(entries)
            return (false, [])
        case ("Unigram", .array(let items)): return (true, try readScores(items))
        case ("BPE", _), ("Unigram", _): throw model.malformed("vocab", vocabulary.shown, "the tokens of a \(type) model")
        default: throw model.unsupported("type", type)
        }
    }

    private mutating func readEntries(_ entries: [(key: [UInt8], value: JSON)]) throws(TokenizerError) {
        var count = 0
        for (key, value) in entries {
            guard case .integer(let id) = value, id >= 0, id < 2 * entries.count + Self.gapLimit else {
                throw model.malformed(
                    "vocab", "\(String(decoding: key.prefix(60), as: UTF8.self)): \(value.shown)",
                    "ids from 0, with few gaps between them")
            }
            count = max(count, id + 1)
        }
        texts = Array(repeating: [], count: count)
        types = Array(repeating: .unused, count: count)
        for (key, value) in entries {
            guard case .integer(let id) = value else { continue }
            guard types[id] == .unused || texts[id] == key else {
                throw model.malformed(
                    "vocab", "\(String(decoding: key.prefix(60), as: UTF8.self)): \(id)", "an id for every token alone")
            }
            texts[id] = key
            types[id] = .normal
        }
    }

    private mutating func readScores(_ items: [JSON]) throws(TokenizerError) -> [Double] {
        var scores: [Double] = []
        for (index, item) in items.enumerated() {
            guard case .array(let pair) = item, pair.count == 2, case .string(let token) = pair[0] else {
                throw model.malformed("vocab[\(index)]", item.shown, "a token and its score")
            }
            switch pair[1] {
            case .integer(let score): scores.append(Double(score))
            case .number(let score) where score.isFinite: scores.append(score)
            default: throw model.malformed("vocab[\(index)]", pair[1].shown, "a score that is a finite number")
            }
            texts.append(token)
            types.append(.normal)
        }
        return scores
    }

    private func unknownID(_ table: TokenTable) throws(TokenizerError) -> Int32? {
        if let text = try model.bytes("unk_token") {
            let id = table.id(of: text)
            return id < 0 ? nil : id
        }
        guard let id = try model.count("unk_id"), id < texts.count else { return nil }
        return Int32(truncatingIfNeeded: id)
    }

    // MARK: Added tokens

    /// Gives every added token its id as the library does: the model's, that of the same text added before, or the next
    /// free one, whatever the file says. Tokens that only the settings have keep the ids that they have there.
    private mutating func readAddedTokens(_ table: TokenTable) throws(TokenizerError) {
        var ids: [[UInt8]: Int32] = [:]
        let size = types.count { $0 != .unused }
        var next = size
        for token in try file.list("added_tokens") {
            let text = try token.requiredBytes("content")
            guard let named = token.json["id"], case .integer(let asked) = named, UInt32(exactly: asked) != nil else {
                throw token.malformed("id", token.json["id"]?.shown ?? "", "a token's id, 0 to 2^32 - 1")
            }
            if text.isEmpty { continue }
            let known = table.id(of: text)
            let id = known >= 0 ? known : ids[text] ?? Int32(truncatingIfNeeded: next)
            if known < 0, ids[text] == nil { next += 1 }
            ids[text] = id
            try add(token, id, text)
        }
        // Once for all of them: a bound that grows with what it admits is none.
        let limit = 2 * (texts.count + settings.added.count) + Self.gapLimit
        for (id, token) in settings.added {
            guard let text = try token.bytes("content"), !text.isEmpty, ids[text] == nil else { continue }
            let known = table.id(of: text)
            guard known >= 0 || id >= 0 && id < limit else {
                throw token.malformed("content", String(decoding: text, as: UTF8.self), "an id from 0, with few gaps before it")
            }
            ids[text] = known >= 0 ? known : Int32(truncatingIfNeeded: id)
            try add(token, known >= 0 ? known : Int32(truncatingIfNeeded: id), text)
        }
    }

    private mutating func add(_ token: TokenizerFields, _ id: Int32, _ text: [UInt8]) throws(TokenizerError) {
        let isSpecial = try token.bool("special", default: false)
        added.append(
            AddedTokens.Token(
                id: id, content: text, isSpecial: isSpecial,
                isNormalized: try token.bool("normalized", default: !isSpecial),
                isSingleWord: try token.bool("single_word", default: false),
                stripsLeft: try token.bool("lstrip", default: false),
                stripsRight: try token.bool("rstrip", default: false)))
        while texts.count <= Int(id) {
            texts.append([])
            types.append(.unused)
        }
        texts[Int(id)] = text
    }

    /// How the added tokens that are normalised are written then, where that differs.
    private func normalised(_ normalizers: [Normalizer]) throws(TokenizerError) -> [Int32: [UInt8]] {
        var written: [Int32: [UInt8]] = [:]
        guard !normalizers.isEmpty else { return written }
        var owners: [[UInt8]: Int32] = [:]
        let state = try MatchState()
        for token in added where token.isNormalized {
            var text = token.content
            state.begin(text.count)
            for step in normalizers { _ = try step.apply(&text, state) }
            guard !text.isEmpty else {
                throw file.unsupported(
                    "added_tokens", "\(String(decoding: token.content, as: UTF8.self)), of which normalisation leaves nothing")
            }
            // Of several the library takes now one, now another.
            guard owners.updateValue(token.id, forKey: text) ?? token.id == token.id else {
                throw file.unsupported(
                    "added_tokens",
                    "\(String(decoding: token.content, as: UTF8.self)), which normalisation makes the same as another")
            }
            if text != token.content { written[token.id] = text }
        }
        return written
    }
}
