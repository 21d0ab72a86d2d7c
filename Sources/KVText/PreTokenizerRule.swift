/// How text is cut into pieces before byte-pair encoding.
package struct PreTokenizerRule: Sendable {
    /// The names under which files ask for this rule (`tokenizer.ggml.pre`).
    let names: [String]
    /// Regular expressions, applied one after another, each to the pieces that the one before it left. In them `\s` is
    /// Unicode's White_Space.
    let patterns: [String]
    /// Whether a piece that is a token as a whole is that token, whatever the merges say.
    var wholePieces = false
    /// Whether BOS is added where the file does not say.
    var addsBOS = false
    /// Whether text is brought into Unicode's normal form C first.
    var normalises = false
}

extension PreTokenizerRule {
    /// Every rule known. A name that is not here is an error: a near match would give ids that look right and are not.
    static let all: [PreTokenizerRule] = [
        PreTokenizerRule(
            names: [
                "gpt-2", "mpt", "olmo", "phi-2", "jais", "trillion", "granite-docling", "exaone4", "modern-bert", "mellum",
                "a.x-4.0", "gigachat", "roberta-bpe", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de",
                "jina-v2-code",
            ], patterns: [gpt2]),
        // Files that say nothing, of the GPT-NeoX architecture: as their own tokenizer.json.
        PreTokenizerRule(names: ["gpt-neox"], patterns: [gpt2], normalises: true),
        PreTokenizerRule(
            names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
            patterns: [#"\p{N}"#, gpt2]),
        PreTokenizerRule(names: ["falcon"], patterns: [#"[\p{P}$+<=>^~|`]+"#, gpt2, "[0-9][0-9][0-9]"]),
        // Other files that say nothing.
        PreTokenizerRule(names: ["default"], patterns: [#"[\p{P}$+<=>^~|]+"#, gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"]),
        PreTokenizerRule(
            names: [
                "qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "solar-open", "megrez", "grok-2", "kormo", "f2llmv2",
            ], patterns: [cl100k(digits: #"\p{N}"#)]),
        PreTokenizerRule(
            names: ["qwen35"],
            patterns: [
                contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"# + space
            ]),
        PreTokenizerRule(
            names: [
                "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
            ], patterns: [cl100k(digits: #"\p{N}{1,3}"#)], wholePieces: true, addsBOS: true),
        PreTokenizerRule(
            names: ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], patterns: [cl100k(digits: #"\p{N}{1,3}"#)]),
        PreTokenizerRule(
            names: ["minicpm5"], patterns: [#"\p{N}{1,3}"#, cl100k(digits: #"\p{N}+"#)], wholePieces: true),
        PreTokenizerRule(
            names: ["tekken"], patterns: [o200k(ending: "", digits: #"\p{N}"#)], wholePieces: true, addsBOS: true),
        PreTokenizerRule(
            names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
            patterns: [o200k(ending: "(?:" + contractions + ")?", digits: #"\p{N}{1,3}"#)]),
        PreTokenizerRule(
            names: ["tiny_aya", "cohere2moe"],
            patterns: [
                #"\d{1,3}(?=(?:\d{3})*\b)"#, o200k(ending: "(?:" + contractions + ")?", digits: #"\p{N}{1,3}"#),
            ]),
        PreTokenizerRule(
            names: ["deepseek-llm"],
            patterns: [
                #"[\r\n]"#, #"\s?["# + casedLetters + "]+",
                #"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+"#, #"\s+$"#, eastAsian,
                #"\p{N}+"#,
            ]),
        PreTokenizerRule(
            names: ["deepseek-coder"], patterns: [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, eastAsian, #"\p{N}"#]),
        PreTokenizerRule(
            names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
            patterns: [
                #"\p{N}{1,3}"#, #"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"#,
                ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"##
                    + #" ?[\p{P}\p{S}]+[\r\n]*|"# + space,
            ]),
        PreTokenizerRule(names: ["poro-chat", "bloom", "gpt3-finnish"], patterns: [bloom]),
        PreTokenizerRule(names: ["viking"], patterns: [bloom, #"\p{N}"#]),
        PreTokenizerRule(
            names: ["bailingmoe", "bailingmoe2", "llada-moe"],
            patterns: [
                #"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
                    + #"\s*[\r\n]|\s+(?!\S)|\s+"#
            ]),
        PreTokenizerRule(
            names: ["seed-coder"],
            patterns: [contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|"# + space]),
        PreTokenizerRule(
            names: ["exaone-moe"],
            patterns: [
                contractions + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|"#
                    + #"\s*[\r\n]|\s+(?!\S)|\s+"#
            ]),
        PreTokenizerRule(names: ["superbpe"], patterns: [#"\p{N}+"#, #"\d{1,3}(?=(?:\d{3})*(?!\d))"#]),
        PreTokenizerRule(
            names: ["chameleon"],
            patterns: [
                "<sentinel:[0-9]+>", "(?:IMGIMG)[A-I]{1,4}Z", #"[\t\n]|    |  "#, #"\p{N}"#,
                #"[\p{P}!-/:-@\[-`{-~]"#, gpt2,
            ], addsBOS: true),
        PreTokenizerRule(names: ["gemma4"], patterns: [#"[^\n]+|\n+"#], addsBOS: true),
    ]

    /// The rule under a name.
    static func named(_ name: String) throws(TokenizerError) -> PreTokenizerRule {
        guard let rule = all.first(where: { $0.names.contains(name) }) else {
            throw TokenizerError(
                .unknownPreTokenizer, field: "tokenizer.ggml.pre", value: name,
                expected: "one of \(all.flatMap(\.names).joined(separator: ", "))")
        }
        return rule
    }

    // MARK: What the rules share

    /// White space: up to the last line break, else all but the last, which begins the next word.
    private static let space = #"\s*[\r\n]+|\s+(?!\S)|\s+"#

    private static let contractions = "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"

    /// English contractions, words, numbers, other signs, each with at most one space before it; then space.
    static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

    /// The cl100k family; its members differ in how many digits make a number.
    private static func cl100k(digits: String) -> String {
        contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + space
    }

    /// The o200k family: words end where lower case turns to upper.
    private static func o200k(ending: String, digits: String) -> String {
        let upper = #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"#
        let lower = #"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"#
        let start = #"[^\r\n\p{L}\p{N}]?"#
        return start + upper + "*" + lower + "+" + ending + "|" + start + upper + "+" + lower + "*" + ending + "|" + digits
            + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + space
    }

    private static let bloom = #" ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+"#

    private static let eastAsian = #"[\x{800}-\x{9FA5}\x{AC00}-\x{D7FF}]+"#

    /// The letters with case that DeepSeek's first tokenizer lists.
    private static let casedLetters =
        #"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}"#
        + #"\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}"#
        + #"\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}"#
        + #"\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}"#
        + #"\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}"#
        + #"\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}"#
        + #"\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}"#
        + #"\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}"#
        + #"\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}"#
        + #"\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}"#
        + #"\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}"#
        + #"\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}"#
        + #"\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}"#
        + #"\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}"#
}
