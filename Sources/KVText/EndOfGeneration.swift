/// Which tokens end a generation, and which others are signals to the model, by llama.cpp's rules: by their roles, and by
/// their texts whatever their type (converters have left many of them user-defined or normal).
struct EndOfGeneration {
    private(set) var ids: Set<Int32> = []
    private(set) var types: [Vocabulary.TokenType]

    /// Texts of tokens that end a turn, a message or a text.
    private static let markers = set([
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
        "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
        "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<\u{FF5C}end\u{2581}of\u{2581}sentence\u{FF5C}>", "[e~[",
    ])

    /// Texts of the tokens between a program's parts that end what is filled in between, in the order of
    /// `Vocabulary.Roles`: padding, repository, separator.
    private static let fillEnds = [
        set(["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"]),
        set(["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"]), set(["<|file_sep|>"]),
    ]

    /// Texts of the tokens before, behind and between what is given.
    private static let fillMarkers = set([
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\u{FF5C}fim\u{2581}begin\u{FF5C}>", "<PRE>", "\u{2581}<PRE>",
        "<|code_prefix|>", "<|prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>",
        "<\u{FF5C}fim\u{2581}hole\u{FF5C}>", "<SUF>", "\u{2581}<SUF>", "<|code_suffix|>", "<|suffix|>", "<|fim_middle|>",
        "<fim-middle>", "<fim_middle>", "<\u{FF5C}fim\u{2581}end\u{FF5C}>", "<MID>", "\u{2581}<MID>", "<|code_middle|>",
        "<|middle|>",
    ])

    private static func set(_ texts: [String]) -> Set<[UInt8]> { Set(texts.map { Array($0.utf8) }) }

    private static let longest = 48

    /// - Parameter types: one for each token.
    init(_ tokens: PackedBytes, _ types: [Vocabulary.TokenType], _ roles: Vocabulary.Roles) {
        self.types = types
        var fill = [roles.fillPadding, roles.fillRepository, roles.fillSeparator]
        var texts: [[UInt8]: Int32] = [:]
        for index in 0..<tokens.count where tokens.range(index).count <= Self.longest {
            let text = Array(tokens[index])
            let id = Int32(truncatingIfNeeded: index)
            if Self.markers.contains(text) {
                ids.insert(id)
                texts[text] = id
                signal(index)
            }
            if Self.fillMarkers.contains(text) { signal(index) }
            for (kind, ends) in Self.fillEnds.enumerated() where fill[kind] == nil && ends.contains(text) {
                fill[kind] = id
                signal(index)
            }
        }
        for case let id? in fill + [roles.end, roles.endOfTurn, roles.endOfMessage] { ids.insert(id) }
        func id(_ text: String) -> Int32? { texts[Array(text.utf8)] }
        // The harmony format ends a message with <|end|> and goes on with the next; <|return|> or <|call|> end the turn.
        let calls = id("<|call|>") ?? id("<|calls|>")
        if let end = id("<|end|>"), calls != nil, id("<|return|>") ?? id("<|flush|>") != nil { ids.remove(end) }
        // Gemma 4 has </s> as plain text.
        if id("<|tool_response>") != nil, let end = id("</s>") {
            ids.remove(end)
            self.types[Int(end)] = .normal
        }
    }

    private mutating func signal(_ index: Int) {
        if types[index] != .unknown { types[index] = .control }
    }
}
