import XCTest

import KVText

/// Small vocabularies and texts that would cost hours or gigabytes, or break an assumption.
final class HostileVocabularyTests: XCTestCase {
    private func tokenizer(
        _ model: String, rule: String = "", _ tokens: [(bytes: [UInt8], type: Vocabulary.TokenType)], characterMap: [UInt8] = []
    ) throws -> Tokenizer {
        var packed = PackedBytes()
        for token in tokens { packed.append(token.bytes) }
        var roles = Vocabulary.Roles()
        roles.unknown = 0
        var vocabulary = try Vocabulary(
            model: model, preTokenizer: rule, tokens: packed, types: tokens.map(\.type),
            scores: (0..<tokens.count).map { -Float($0) }, roles: roles)
        vocabulary.characterMap = characterMap
        vocabulary.addsBOS = false
        vocabulary.addsEOS = false
        return try Tokenizer(vocabulary)
    }

    private func repeated(_ text: String, _ count: Int) -> [UInt8] { [UInt8](String(repeating: text, count: count).utf8) }

    /// A token of a megabyte: every way to cut it was looked up.
    func testHugeSentencePieceToken() throws {
        let tokens: [(bytes: [UInt8], type: Vocabulary.TokenType)] = [
            (Array("<unk>".utf8), .unknown), (repeated("a", 1 << 20), .normal), (repeated("a", 1), .normal),
            (repeated("a", 2), .normal),
        ]
        let tokenizer = try tokenizer("llama", tokens)
        XCTAssertEqual(try tokenizer.encode("aaaaa", addSpecial: false, parseSpecial: false).suffix(3), [3, 3, 2])
    }

    /// Long tokens of one letter in a long text of that letter: every place begins one, and none ends.
    func testHugeTokensInUnigramsAndSpecials() throws {
        let tokens: [(bytes: [UInt8], type: Vocabulary.TokenType)] = [
            (Array("<unk>".utf8), .unknown), (repeated("a", 1 << 16) + [0x62], .normal), (repeated("a", 1), .normal),
            (repeated("a", 1 << 16) + [0x63], .userDefined),
        ]
        let unigram = try tokenizer("t5", tokens)
        XCTAssertEqual(
            try unigram.encode(repeated("a", 1 << 16), addSpecial: false, parseSpecial: true),
            Array(repeating: 2, count: 1 << 16))
        XCTAssertEqual(
            try unigram.encode(repeated("a", 1 << 16) + [0x63], addSpecial: false, parseSpecial: true), [3])
    }

    /// A user-defined token of half a character must not hand the other half to the pattern.
    func testTokenThatSplitsACharacter() throws {
        var tokens = (0..<256).map { (bytes: ByteAlphabet.written(UInt8($0)), type: Vocabulary.TokenType.normal) }
        let plain = try tokenizer("gpt2", rule: "deepseek-v3", tokens)
        let text = "日本語 中国 abc"
        let right = try plain.encode(text, addSpecial: false, parseSpecial: false)
        for half in [[0xE4], [0xE4, 0xB8], [0xB8], [0xAD, 0x20], [0xE5, 0x9B, 0xBD, 0xE4]] as [[UInt8]] {
            tokens.append((half, .userDefined))
        }
        let hostile = try tokenizer("gpt2", rule: "deepseek-v3", tokens)
        XCTAssertEqual(try hostile.encode(text, addSpecial: false, parseSpecial: true), right)
    }

    /// A map that makes a kilobyte of one character.
    func testCharacterMapThatAmplifies() throws {
        let tokens: [(bytes: [UInt8], type: Vocabulary.TokenType)] = [(Array("<unk>".utf8), .unknown), ([0x61], .normal)]
        func map(_ length: Int) -> [UInt8] { [4, 0, 0, 0, 0, 0, 0, 0] + repeated("b", length) + [0] }
        XCTAssertNoThrow(try tokenizer("t5", tokens, characterMap: map(256)))
        XCTAssertThrowsError(try tokenizer("t5", tokens, characterMap: map(1024))) {
            XCTAssertEqual(($0 as? TokenizerError)?.field, "tokenizer.ggml.precompiled_charsmap")
        }
    }

    /// Runs of spaces that a rule runs over and back.
    func testLongRuns() throws {
        let tokenizer = try tokenizer(
            "gpt2", rule: "llama-bpe", (0..<256).map { (ByteAlphabet.written(UInt8($0)), .normal) })
        for text in [repeated(" ", 1 << 16) + [0x61], repeated("\n ", 1 << 17), repeated("a", 1 << 18)] {
            XCTAssertEqual(try tokenizer.encode(text, addSpecial: false, parseSpecial: false).count, text.count)
        }
    }
}
