import Foundation
import KVText

/// tokenizer.json with the files beside it: vocabulary, merges, steps, special tokens; then texts to ids and back.
struct TokenizerTarget: FuzzTarget {
    static let name = "tokenizer"
    private let grammar = TokenizerGrammar()
    private let corpus: [JSONDocument]
    private let mutation: JSONMutation

    init(_ context: TargetContext) throws {
        corpus = ((try? context.corpus.contents(ending: "/tokenizer.json", limit: 1 << 20)) ?? []).compactMap { JSONDocument($0) }
        mutation = JSONMutation(learning: Array(corpus.prefix(20)))
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        var document = corpus.isEmpty || random.oneIn(2) ? grammar.tokenizer(&random) : random.pick(corpus)
        var settings = grammar.settings(&random)
        let mutates = random.oneIn(2)
        if mutates { for _ in 0...random.below(2) { mutation.apply(to: &document, &random) } }
        if mutates, random.oneIn(4) { mutation.apply(to: &settings, &random) }
        var bytes = document.serialised()
        if random.oneIn(12) { ByteMutation.apply(to: &bytes, &random) }
        try Corpus.write(bytes, to: folder + "/tokenizer.json")
        if random.oneIn(2) { try Corpus.write(settings.serialised(), to: folder + "/tokenizer_config.json") }
        let texts = (0..<4).map { _ in Self.text(&random) }
        for (index, text) in texts.enumerated() { try Corpus.write(text, to: folder + "/text-\(index)") }
        let tokenizer = try Tokenizer(try Vocabulary(tokenizerFile: folder))
        for text in texts {
            for special in [false, true] {
                let ids = try tokenizer.encode(text, addSpecial: special, parseSpecial: special)
                guard try ids == tokenizer.encode(text, addSpecial: special, parseSpecial: special) else {
                    throw Fault("the same text has other ids the second time")
                }
                if let wrong = ids.first(where: { $0 < 0 || Int($0) >= tokenizer.vocabulary.count }) {
                    throw Fault("id \(wrong) of a text is none of the vocabulary's \(tokenizer.vocabulary.count)")
                }
                _ = tokenizer.decode(ids, special: special)
                try stream(ids, of: tokenizer, special)
            }
        }
        _ = tokenizer.decode([0, -1, .max, .min, Int32(truncatingIfNeeded: tokenizer.vocabulary.count)], special: true)
        return "encoded"
    }

    /// Ids decoded one by one, as they are generated.
    private func stream(_ ids: [Int32], of tokenizer: Tokenizer, _ special: Bool) throws {
        var bytes = 0
        for id in ids { bytes += tokenizer.bytes(of: id).count }
        guard bytes < 1 << 30 else { throw Fault("\(ids.count) tokens stand for \(bytes) bytes") }
    }

    private static let words = [
        "hello", "world", " ", "  ", "\n", "\t", "a", "aaaaaaaa", "1234567", "'s", "é", "e\u{301}", "\u{301}\u{301}", "日本語",
        "İstanbul", "ﬁ",
        "\u{1F469}\u{200D}\u{1F469}", "\u{2581}", "Ġ", "<s>", "</s>", "<|im_end|>", "[CLS]", "<0x0A>", "\u{0}", "\u{A0}",
        "\u{3000}", "!?,.",
        "word", "words", "\r\n", "\u{FEFF}", "\u{FFFD}", "ｱ", "Å", "\u{1100}\u{1161}\u{11A8}",
    ]

    private static func text(_ random: inout RandomSource) -> [UInt8] {
        switch random.below(8) {
        case 0: return ExtremeValues.text(&random)
        case 1: return (0..<random.below(60)).map { _ in UInt8(random.below(256)) }
        case 2: return Array(repeatElement(Array(random.pick(words).utf8), count: 1 << random.below(13)).joined())
        default: return (0..<random.below(24)).flatMap { _ in Array(random.pick(words).utf8) }
        }
    }
}
