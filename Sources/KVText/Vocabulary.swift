/// A model's tokens as plain values, whatever file they came from.
package struct Vocabulary: Sendable {
    /// What a token is (`tokenizer.ggml.token_type`).
    package enum TokenType: UInt8, Sendable {
        case undefined, normal, unknown, control, userDefined, unused, byte

        /// Whether the token is a signal to the model and no text: not printed, and found in text only where asked for.
        package var isSpecial: Bool { self == .control || self == .unknown }
    }

    /// The tokens with a meaning of their own (`tokenizer.ggml.*_token_id`).
    package struct Roles: Sendable {
        package var beginning: Int32?
        package var end: Int32?
        package var endOfTurn: Int32?
        package var endOfMessage: Int32?
        package var unknown: Int32?
        package var padding: Int32?
        /// Padding, repository and separator of tokens that fill in the middle of a program: they end a generation.
        package var fillPadding: Int32?
        package var fillRepository: Int32?
        package var fillSeparator: Int32?

        package init() {}
    }

    /// Where the values came from, for errors; empty where they were made in memory.
    package var source = ""
    /// The kind of tokenizer (`tokenizer.ggml.model`): "gpt2" for byte-level BPE, "llama" for SentencePiece's, "t5" for
    /// unigrams.
    package let model: String
    /// The name of the rule that cuts text into pieces (`tokenizer.ggml.pre`); empty where the file names none.
    package let preTokenizer: String
    /// The tokens as they are written in the file, UTF-8: byte-level ones in their alphabet, special ones as they are.
    package let tokens: PackedBytes
    /// One for each token.
    package let types: [TokenType]
    /// One for each token, or none.
    package let scores: [Float]
    /// "left right" in order of application, both written like `tokens`.
    package let merges: PackedBytes
    package let roles: Roles
    /// Whether encoding adds BOS and EOS (`add_bos_token`, `add_eos_token`); nil where the file does not say.
    package var addsBOS: Bool?
    package var addsEOS: Bool?
    /// Whether a text begins with a space more (`add_space_prefix`); nil where the file does not say.
    package var addsSpacePrefix: Bool?
    /// Whether runs of spaces become one and those at the ends none (`remove_extra_whitespaces`).
    package var removesExtraSpaces = false
    /// SentencePiece's normalisation rules (`precompiled_charsmap`); empty where there are none.
    package var characterMap: [UInt8] = []
    /// The steps between text and ids, where the file spells them out (tokenizer.json).
    var pipeline: TokenizerPipeline?
    /// How added tokens stand in the text that a pipeline's model sees, where that is not how they are written.
    var written: [Int32: [UInt8]] = [:]
    /// Special tokens that take the white space before or behind them.
    package var strips: [Int32: Strip] = [:]
    /// The model's chat template, in Jinja; nil where the file has none.
    package var chatTemplate: String?
    /// Tokens at which generation ends.
    package var stopIDs: Set<Int32>

    /// Which sides of a special token lose their white space.
    package struct Strip: Sendable {
        package var before = false
        package var behind = false

        package init(before: Bool = false, behind: Bool = false) {
            self.before = before
            self.behind = behind
        }
    }

    package var count: Int { tokens.count }
    package var bosID: Int32? { roles.beginning }
    package var eosID: Int32? { roles.end }

    /// - Parameter types: one for each token, or none: then all are normal.
    /// - Throws: where lengths disagree or a role names a token that does not exist.
    package init(
        source: String = "", model: String, preTokenizer: String, tokens: PackedBytes, types: [TokenType] = [],
        scores: [Float] = [], merges: PackedBytes = PackedBytes(), roles: Roles = Roles()
    ) throws(TokenizerError) {
        let count = tokens.count
        for (field, length) in [("token_type", types.count), ("scores", scores.count)]
        where length != 0 && length != count {
            throw TokenizerError(
                .malformed, file: source, field: "tokenizer.ggml.\(field)", value: "\(length) values",
                expected: "one for each of the \(count) tokens")
        }
        let named = [
            ("bos_token_id", roles.beginning), ("eos_token_id", roles.end), ("eot_token_id", roles.endOfTurn),
            ("eom_token_id", roles.endOfMessage), ("unknown_token_id", roles.unknown),
            ("padding_token_id", roles.padding), ("fim_pad_token_id", roles.fillPadding),
            ("fim_rep_token_id", roles.fillRepository), ("fim_sep_token_id", roles.fillSeparator),
        ]
        for case (let field, let id?) in named where id < 0 || Int(id) >= count {
            throw TokenizerError(
                .malformed, file: source, field: "tokenizer.ggml.\(field)", value: "\(id)",
                expected: "a token of the \(count) there are")
        }
        self.source = source
        self.model = model
        self.preTokenizer = preTokenizer
        self.tokens = tokens
        let ends = EndOfGeneration(tokens, types.isEmpty ? Array(repeating: .normal, count: count) : types, roles)
        self.types = ends.types
        self.scores = scores
        self.merges = merges
        self.roles = roles
        stopIDs = ends.ids
    }

    /// The bytes that each token stands for, by id; `append` makes them of how it is written.
    func texts(_ append: (_ written: ArraySlice<UInt8>, _ type: TokenType, _ bytes: inout [UInt8]) -> Void) -> PackedBytes {
        var texts = PackedBytes()
        texts.reserveCapacity(count: count, bytes: tokens.bytes.count)
        var bytes: [UInt8] = []
        for id in 0..<count {
            bytes.removeAll(keepingCapacity: true)
            append(tokens[id], types[id], &bytes)
            texts.append(bytes)
        }
        return texts
    }
}
