/// Makes tokenizer.json files as the tokenizers library writes them, of all its kinds of steps, small and mostly valid.
struct TokenizerGrammar {
    private static let pieces: [String] = [
        "a", "b", "c", "d", "e", "h", "l", "o", "w", "r", "1", "2", "3", " ", "Ġ", "\u{2581}", "é", "e\u{301}", "\u{301}", "日", "本",
        "ab", "he", "ll", "llo", "Ġw", "\u{2581}w", "or", "##a", "##b", "a</w>", "!", ",", "Ċ", "ĠĠ", "Ã", "©", "İ", "ﬁ",
    ]
    private static let specials = [
        "<s>", "</s>", "<unk>", "<pad>", "[CLS]", "[SEP]", "[UNK]", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "  ", "a", "é",
        "e\u{301}",
        "\u{301}", "<mask>", "word", "\u{F0}", "\u{2581}",
    ]
    private static let regexes = [
        "\\s+", "\\p{L}+", "(?i:'s|'t)|\\p{N}{1,3}", " ?[^\\s\\p{L}\\p{N}]+", "(a|b)+", "\\s", "", "^", "$", "(?=a)", "a*",
        "(a+)+$",
        "(?:(?:a|a?)*)*b", "[", "(", "\\p{Zzz}", "(?<x>a)\\k<x>", "\\X", ".", "\\R", "(?<=a)b", "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
        "\\u0041",
        "\\h", "(?#c)a", "a{1000000}", "[\\p{L}&&[^a]]", "[[:alpha:]]+", "\\b", "(((((((((((a)))))))))))\\11", "\\G", "(?>a+)b",
    ]

    func tokenizer(_ random: inout RandomSource) -> JSONDocument {
        let kind = random.pick([
            "BPE", "BPE", "BPE", "BPE", "BPE", "BPE", "BPE", "BPE", "Unigram", "Unigram", "Unigram", "WordPiece", "WordLevel",
        ])
        let bytes = random.oneIn(3)
        var vocabulary = ["<unk>"]
        if bytes { for byte in 0..<256 { vocabulary.append("<0x" + hexadecimal(byte) + ">") } }
        if kind == "BPE", !bytes, !random.oneIn(6) { vocabulary += Self.byteAlphabet }
        for _ in 0..<4 + random.below(40) { vocabulary.append(random.pick(Self.pieces)) }
        if random.oneIn(8) { vocabulary.append(String(decoding: ExtremeValues.text(&random), as: UTF8.self)) }
        var seen = Set<[UInt8]>()
        vocabulary = vocabulary.filter { seen.insert(Array($0.utf8)).inserted }
        var members: [JSONDocument.Member] = []
        func add(_ key: String, _ value: JSONDocument) { members.append(.init(key: Array(key.utf8), value: value)) }
        add("version", .text("1.0"))
        add("added_tokens", addedTokens(vocabulary, &random))
        add("normalizer", random.oneIn(2) ? .null : normalizer(&random, depth: 0))
        add("pre_tokenizer", random.oneIn(5) ? .null : preTokenizer(&random, depth: 0))
        add("post_processor", random.oneIn(2) ? .null : postProcessor(&random, depth: 0))
        add(
            "decoder",
            random.oneIn(2) ? .null : .object(["type": .text(random.pick(["ByteLevel", "Metaspace", "ByteFallback", "Fuse"]))]))
        add("model", model(kind, vocabulary, bytes, &random))
        return .object(members)
    }

    /// tokenizer_config.json.
    func settings(_ random: inout RandomSource) -> JSONDocument {
        var decoder: [JSONDocument.Member] = []
        for _ in 0..<random.below(3) {
            decoder.append(.init(key: Array("\(random.below(80))".utf8), value: addedToken(random.below(80), &random)))
        }
        return .object([
            "bos_token": random.oneIn(2) ? .text(random.pick(Self.specials)) : .object(["content": .text("<s>")]),
            "eos_token": random.oneIn(4) ? .null : .text(random.pick(Self.specials)), "add_bos_token": .bool(random.oneIn(2)),
            "add_eos_token": .bool(random.oneIn(2)), "legacy": .bool(random.oneIn(2)), "added_tokens_decoder": .object(decoder),
            "tokenizer_class": .text(random.pick(["LlamaTokenizer", "GPT2Tokenizer", "PreTrainedTokenizerFast", "T5Tokenizer"])),
            "chat_template": random.oneIn(2)
                ? .text("{% for m in messages %}{{ m.content }}{% endfor %}")
                : .array([.object(["name": .text("default"), "template": .text("{{ messages[0].content }}")])]),
            "model_max_length": .number(random.pick(ExtremeValues.numbers)),
        ])
    }

    // MARK: Model

    private func model(_ kind: String, _ vocabulary: [String], _ bytes: Bool, _ random: inout RandomSource) -> JSONDocument {
        let ids = JSONDocument.object(
            vocabulary.enumerated().map { .init(key: Array($0.element.utf8), value: .integer($0.offset)) })
        switch kind {
        case "Unigram":
            let scored = vocabulary.map {
                JSONDocument.array([.text($0), .number(random.pick(["-1.5", "-3", "0", "-0.25", "-1e30", "5"]))])
            }
            return .object([
                "type": .text(kind), "unk_id": random.oneIn(6) ? .null : .integer(random.below(3)), "vocab": .array(scored),
                "byte_fallback": .bool(bytes),
            ])
        case "WordPiece":
            return .object([
                "type": .text(kind), "unk_token": .text("<unk>"), "continuing_subword_prefix": .text("##"),
                "max_input_chars_per_word": .integer(random.pick([0, 1, 100])), "vocab": ids,
            ])
        case "WordLevel": return .object(["type": .text(kind), "vocab": ids, "unk_token": .text("<unk>")])
        default:
            var merges: [JSONDocument] = []
            for text in vocabulary where text.count > 1 && !text.hasPrefix("<") {
                let cut = text.index(text.startIndex, offsetBy: 1 + random.below(text.count - 1))
                let (left, right) = (String(text[..<cut]), String(text[cut...]))
                merges.append(random.oneIn(2) ? .text(left + " " + right) : .array([.text(left), .text(right)]))
            }
            // A merge of tokens that are not there is an error of the library.
            if !random.oneIn(12) {
                let known = Set(vocabulary.map { Array($0.utf8) })
                merges = merges.filter { Self.parts($0).allSatisfy { known.contains($0) } }
            }
            return .object([
                "type": random.oneIn(10) ? .null : .text("BPE"), "dropout": random.oneIn(12) ? .number("0.5") : .null,
                "unk_token": random.oneIn(3) ? .null : .text("<unk>"),
                "continuing_subword_prefix": random.oneIn(8) ? .text("##") : .null,
                "end_of_word_suffix": random.oneIn(8) ? .text("</w>") : .null, "fuse_unk": .bool(random.oneIn(2)),
                "byte_fallback": .bool(bytes), "ignore_merges": .bool(random.oneIn(3)), "vocab": ids, "merges": .array(merges),
            ])
        }
    }

    private static func parts(_ merge: JSONDocument) -> [[UInt8]] {
        switch merge {
        case .string(let text): text.split(separator: 0x20, maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
        case .array(let items): items.flatMap { parts($0) }
        default: []
        }
    }

    /// The characters that stand for bytes in byte-level vocabularies (GPT-2's table).
    private static let byteAlphabet: [String] = {
        let printed = Set(Array(33...126) + Array(161...172) + Array(174...255))
        var next: UInt32 = 256
        return (0..<256).map { (byte: UInt32) in
            if printed.contains(Int(byte)) { return String(Character(Unicode.Scalar(UInt8(byte)))) }
            defer { next += 1 }
            return Unicode.Scalar(next).map { String(Character($0)) } ?? ""
        }
    }()

    private func hexadecimal(_ byte: Int) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return digits.count < 2 ? "0" + digits : digits
    }

    private func addedTokens(_ vocabulary: [String], _ random: inout RandomSource) -> JSONDocument {
        var tokens = (0..<random.below(5)).map { addedToken(vocabulary.count + $0, &random) }
        if random.oneIn(10) { tokens.append(addedToken(random.below(vocabulary.count), &random)) }
        return .array(tokens)
    }

    private func addedToken(_ id: Int, _ random: inout RandomSource) -> JSONDocument {
        .object([
            "id": random.oneIn(30) ? .number(random.pick(ExtremeValues.numbers)) : .integer(id),
            "content": .text(random.pick(Self.specials)),
            "single_word": .bool(random.oneIn(4)), "lstrip": .bool(random.oneIn(4)), "rstrip": .bool(random.oneIn(4)),
            "normalized": .bool(random.oneIn(3)), "special": .bool(random.oneIn(2)),
        ])
    }

    // MARK: Steps

    private func pattern(_ random: inout RandomSource) -> JSONDocument {
        random.oneIn(3)
            ? .object(["String": .text(random.pick([" ", "a", "", "\u{2581}", "ab", "é"]))])
            : .object(["Regex": .text(random.pick(Self.regexes))])
    }

    private func normalizer(_ random: inout RandomSource, depth: Int) -> JSONDocument {
        let type = random.pick([
            "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents", "Replace", "Prepend", "BertNormalizer", "Nmt",
            "ByteLevel",
            "Precompiled", depth < 3 ? "Sequence" : "NFC", depth < 3 ? "Sequence" : "Lowercase",
        ])
        switch type {
        case "Strip":
            return .object(["type": .text(type), "strip_left": .bool(random.oneIn(2)), "strip_right": .bool(random.oneIn(2))])
        case "Replace":
            return .object([
                "type": .text(type), "pattern": pattern(&random),
                "content": .text(random.pick(["", "\u{2581}", "aa", "$1", "\\1"])),
            ])
        case "Prepend": return .object(["type": .text(type), "prepend": .text(random.pick(["\u{2581}", "", "x"]))])
        case "BertNormalizer":
            return .object([
                "type": .text(type), "clean_text": .bool(random.oneIn(2)), "handle_chinese_chars": .bool(random.oneIn(2)),
                "strip_accents": .null, "lowercase": .bool(random.oneIn(2)),
            ])
        case "Precompiled":
            return .object([
                "type": .text(type), "precompiled_charsmap": .text(random.pick(["", "AAAA", "BAAAAAEAAAAA", "////////", "!"])),
            ])
        case "Sequence":
            return .object([
                "type": .text(type),
                "normalizers": .array((0..<random.below(4)).map { _ in normalizer(&random, depth: depth + 1) }),
            ])
        default: return .object(["type": .text(type)])
        }
    }

    private func preTokenizer(_ random: inout RandomSource, depth: Int) -> JSONDocument {
        let type = random.pick([
            "ByteLevel", "ByteLevel", "Metaspace", "Metaspace", "Split", "Split", "Whitespace", "WhitespaceSplit", "Punctuation",
            "Digits",
            "CharDelimiterSplit", "UnicodeScripts", "BertPreTokenizer", "FixedLength", depth < 3 ? "Sequence" : "Whitespace",
            depth < 3 ? "Sequence" : "Digits",
        ])
        let behaviour = JSONDocument.text(
            random.pick(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]))
        switch type {
        case "ByteLevel":
            return .object([
                "type": .text(type), "add_prefix_space": .bool(random.oneIn(3)), "trim_offsets": .bool(true),
                "use_regex": .bool(random.oneIn(2)),
            ])
        case "Metaspace":
            return .object([
                "type": .text(type), "replacement": .text(random.oneIn(8) ? "_" : "\u{2581}"),
                "prepend_scheme": .text(random.pick(["always", "first", "never"])), "split": .bool(random.oneIn(2)),
            ])
        case "Split":
            return .object([
                "type": .text(type), "pattern": pattern(&random), "behavior": behaviour, "invert": .bool(random.oneIn(3)),
            ])
        case "Punctuation": return .object(["type": .text(type), "behavior": behaviour])
        case "Digits": return .object(["type": .text(type), "individual_digits": .bool(random.oneIn(2))])
        case "CharDelimiterSplit": return .object(["type": .text(type), "delimiter": .text("b")])
        case "FixedLength": return .object(["type": .text(type), "length": .number(random.pick(ExtremeValues.numbers))])
        case "Sequence":
            return .object([
                "type": .text(type),
                "pretokenizers": .array((0..<random.below(4)).map { _ in preTokenizer(&random, depth: depth + 1) }),
            ])
        default: return .object(["type": .text(type)])
        }
    }

    private func postProcessor(_ random: inout RandomSource, depth: Int) -> JSONDocument {
        let special = { (text: String) in
            JSONDocument.object(["SpecialToken": .object(["id": .text(text), "type_id": .integer(0)])])
        }
        let sequence = JSONDocument.object(["Sequence": .object(["id": .text("A"), "type_id": .integer(0)])])
        switch random.below(depth < 2 ? 6 : 5) {
        case 0, 1:
            var single = (0..<random.below(3)).map { _ in special(random.pick(["<s>", "<unk>", "[CLS]", "nowhere"])) }
            if !random.oneIn(10) { single.append(sequence) }
            single += (0..<random.below(3)).map { _ in special(random.pick(["</s>", "<unk>", "[SEP]"])) }
            let ids = JSONDocument.array(
                random.oneIn(10) ? [] : [.number(random.oneIn(8) ? random.pick(ExtremeValues.numbers) : "0")])
            let tokens = JSONDocument.object(
                ["<s>", "</s>", "<unk>", "[CLS]", "[SEP]"].map {
                    .init(key: Array($0.utf8), value: .object(["id": .text($0), "ids": ids, "tokens": .array([.text($0)])]))
                })
            return .object([
                "type": .text("TemplateProcessing"), "single": .array(single), "pair": .array([]), "special_tokens": tokens,
            ])
        case 2:
            return .object([
                "type": .text("ByteLevel"), "add_prefix_space": .bool(true), "trim_offsets": .bool(false), "use_regex": .bool(true),
            ])
        case 3, 4:
            return .object([
                "type": .text(random.pick(["RobertaProcessing", "BertProcessing"])),
                "sep": .array([.text("</s>"), .integer(random.below(4))]),
                "cls": .array([.text("<s>"), .number(random.oneIn(8) ? random.pick(ExtremeValues.numbers) : "0")]),
                "trim_offsets": .bool(true), "add_prefix_space": .bool(random.oneIn(2)),
            ])
        default:
            return .object([
                "type": .text("Sequence"),
                "processors": .array((0..<random.below(3)).map { _ in postProcessor(&random, depth: depth + 1) }),
            ])
        }
    }
}
