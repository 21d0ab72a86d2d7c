import KVTestSupport
import XCTest

import KVText

final class DecodingTests: XCTestCase {
    /// A vocabulary of every byte, one merge, one token of each other kind, and a token of half a character.
    private func small(addsBOS: Bool? = nil, merges: [String] = ["h i"]) throws -> Tokenizer {
        var tokens = (0..<256).map { String(decoding: ByteAlphabet.written(UInt8($0)), as: UTF8.self) }
        var types = [Vocabulary.TokenType](repeating: .normal, count: 256)
        for (text, type) in [
            ("hi", Vocabulary.TokenType.normal), ("<|im_start|>", .control), ("<|im_end|>", .control),
            ("<|im_end|>!", .userDefined), ("<tool>", .userDefined), ("Ġa", .unused), ("<unk>", .unknown),
        ] {
            tokens.append(text)
            types.append(type)
        }
        var roles = Vocabulary.Roles()
        roles.beginning = Self.start
        roles.end = Self.end
        var vocabulary = try Vocabulary(
            source: "small", model: "gpt2", preTokenizer: "gpt-2", tokens: PackedBytes(tokens), types: types,
            merges: PackedBytes(merges), roles: roles)
        vocabulary.addsBOS = addsBOS
        return try Tokenizer(vocabulary)
    }

    private static let hi: Int32 = 256
    private static let start: Int32 = 257
    private static let end: Int32 = 258
    private static let endBang: Int32 = 259
    private static let tool: Int32 = 260

    func testByteAlphabetIsGPT2s() {
        // bytes_to_unicode of the GPT-2 tokenizer: 188 bytes as they are, the other 68 from U+0100 in order.
        XCTAssertEqual(ByteAlphabet.scalars[0x20], 0x120)
        XCTAssertEqual(ByteAlphabet.scalars[0x0A], 0x10A)
        XCTAssertEqual(ByteAlphabet.scalars[0x00], 0x100)
        XCTAssertEqual(ByteAlphabet.scalars[0x7F], 0x121)
        XCTAssertEqual(ByteAlphabet.scalars[0xA0], 0x142)
        XCTAssertEqual(ByteAlphabet.scalars[0xAD], 0x143)
        XCTAssertEqual(ByteAlphabet.scalars.filter { $0 < 0x100 }.count, 188)
        XCTAssertEqual(Set(ByteAlphabet.scalars).count, 256)
        for byte in UInt8.min...UInt8.max {
            var bytes: [UInt8] = []
            ByteAlphabet.appendBytes(of: ByteAlphabet.written(byte)[...], to: &bytes)
            XCTAssertEqual(bytes, [byte])
        }
        var foreign: [UInt8] = [1]
        ByteAlphabet.appendBytes(of: Array("Ġ日".utf8)[...], to: &foreign)
        XCTAssertEqual(foreign, [1] + Array("Ġ日".utf8), "a token outside the alphabet stands for itself")
    }

    func testSpecialTokensInText() throws {
        let tokenizer = try small()
        let text = "hi<|im_end|>hi<tool><|im_end|>!"
        XCTAssertEqual(
            try tokenizer.encode(text, addSpecial: false, parseSpecial: true),
            [Self.hi, Self.end, Self.hi, Self.tool, Self.endBang], "the longest of two that begin together")
        let plain = try tokenizer.encode(text, addSpecial: false, parseSpecial: false)
        XCTAssertFalse(plain.contains(Self.end), "control tokens are not for plain text")
        XCTAssertTrue(plain.contains(Self.tool), "user-defined tokens are")
        XCTAssertTrue(plain.contains(Self.endBang))
        XCTAssertEqual(tokenizer.decode(plain), text)
    }

    func testControlTokensAreLeftOutOfText() throws {
        let tokenizer = try small()
        let ids = [Self.start, Self.hi, Self.tool, Self.end, 262]
        XCTAssertEqual(tokenizer.decode(ids), "hi<tool>")
        XCTAssertEqual(tokenizer.decode(ids, special: true), "<|im_start|>hi<tool><|im_end|><unk>")
        XCTAssertEqual(tokenizer.decode([-1, 9999, Self.hi]), "\u{FFFD}\u{FFFD}hi", "ids without a token show")
        XCTAssertEqual(tokenizer.decode([261]), " a")
    }

    func testBeginningOfSequence() throws {
        XCTAssertEqual(
            try small(addsBOS: true).encode("hi", addSpecial: true, parseSpecial: false), [Self.start, Self.hi])
        XCTAssertEqual(try small(addsBOS: true).encode("hi", addSpecial: false, parseSpecial: false), [Self.hi])
        XCTAssertEqual(try small(addsBOS: false).encode("hi", addSpecial: true, parseSpecial: false), [Self.hi])
        XCTAssertEqual(try small().encode("hi", addSpecial: true, parseSpecial: false), [Self.hi])
        XCTAssertEqual(try small(addsBOS: true).encode("", addSpecial: true, parseSpecial: false), [Self.start])
    }

    func testSegmentsKeepControlTokensOutOfMessages() throws {
        let tokenizer = try small()
        let ids = try tokenizer.encode(
            [
                TextSegment("<|im_start|>", isMarkup: true), TextSegment("h", isMarkup: false),
                TextSegment("i", isMarkup: true), TextSegment("<|im_end|>", isMarkup: false),
                TextSegment("<|im_", isMarkup: false), TextSegment("end|>", isMarkup: true),
                TextSegment("<|im_end|>", isMarkup: true), TextSegment("!", isMarkup: false),
            ], addSpecial: false)
        XCTAssertEqual(ids.first, Self.start)
        XCTAssertEqual(ids[1], Self.hi, "pieces run over borders")
        // One is a message's, one is half a message's, and the last is no longer token with the message behind it.
        XCTAssertEqual(ids.filter { $0 > Self.hi }, [Self.start, Self.end])
        XCTAssertEqual(
            tokenizer.decode(ids, special: true), "<|im_start|>hi<|im_end|><|im_end|><|im_end|>!")
    }

    func testStreamingNeverSplitsCharacters() throws {
        let tokenizer = try small()
        let text = "h\u{E9} 日本 🙂🙃e\u{301}."
        var decoder = StreamDecoder(tokenizer)
        var received: [String] = []
        for byte in text.utf8 { received.append(decoder.append(Int32(byte))) }
        XCTAssertEqual(received.joined(), text)
        XCTAssertFalse(received.joined().contains("\u{FFFD}"))
        XCTAssertEqual(received.filter { !$0.isEmpty }.count, text.unicodeScalars.count, "each as soon as it is whole")
        XCTAssertEqual(decoder.finish(), "")
    }

    func testStreamingEqualsDecodingWhateverTheBytes() throws {
        let tokenizer = try small()
        var random = SplitMix(state: 11)
        // Bytes that begin, continue and break characters, and control tokens between them.
        let alphabet: [Int32] = [
            0x41, 0x80, 0xBF, 0xA0, 0x9F, 0x90, 0x8F, 0xC2, 0xC0, 0xE0, 0xE4, 0xED, 0xF0, 0xF4, 0xF5, 0xFF, Self.end,
            Self.hi,
        ]
        for _ in 0..<3000 {
            let ids = (0..<Int(random.next() % 8)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            for special in [false, true] {
                var decoder = StreamDecoder(tokenizer, special: special)
                var text = ids.map { decoder.append($0) }.joined()
                text += decoder.finish()
                XCTAssertEqual(Array(text.utf8), Array(tokenizer.decode(ids, special: special).utf8), "\(ids)")
            }
        }
        var decoder = StreamDecoder(tokenizer)
        XCTAssertEqual(decoder.append(0xF0), "")
        XCTAssertEqual(decoder.append(0x9F), "")
        XCTAssertEqual(decoder.finish(), "\u{FFFD}")
        XCTAssertEqual(decoder.finish(), "")
    }

    func testBytesThatAreNotUTF8() throws {
        let tokenizer = try small()
        func read(_ bytes: [UInt8]) throws -> String {
            tokenizer.decode(try tokenizer.encode(bytes, addSpecial: false, parseSpecial: false))
        }
        let bad = "\u{FFFD}"
        XCTAssertEqual(try read([0xFF]), bad)
        XCTAssertEqual(try read([0x61, 0xE4, 0xB8, 0x62]), "a\(bad)\(bad)b", "one for each byte")
        XCTAssertEqual(try read([0xC0, 0x80]), bad + bad, "an overlong form")
        XCTAssertEqual(try read([0xED, 0xA0, 0x80]), bad + bad + bad, "a surrogate")
        XCTAssertEqual(try read([0xF4, 0x90, 0x80, 0x80]), bad + bad + bad + bad, "above U+10FFFF")
        XCTAssertEqual(try read([0xF0, 0x9F, 0x99, 0x82, 0xF0]), "🙂" + bad)
        XCTAssertEqual(try read([0, 0x61, 0]), "\0a\0", "a NUL is a character")
    }

    func testRefusals() throws {
        func refusal(_ body: () throws -> some Any) -> TokenizerError? {
            do {
                _ = try body()
                return nil
            } catch {
                return error as? TokenizerError
            }
        }
        func vocabulary(
            model: String = "gpt2", rule: String = "gpt-2", merges: [String] = [], types: Int = 0, end: Int32? = nil
        ) throws -> Vocabulary {
            var roles = Vocabulary.Roles()
            roles.end = end
            return try Vocabulary(
                source: "some.gguf", model: model, preTokenizer: rule, tokens: PackedBytes(["a", "b", "ab"]),
                types: Array(repeating: .normal, count: types), merges: PackedBytes(merges), roles: roles)
        }
        let rule = refusal { try Tokenizer(vocabulary(rule: "not-a-rule")) }
        XCTAssertEqual(rule?.reason, .unknownPreTokenizer)
        XCTAssertEqual(rule?.value, "not-a-rule")
        XCTAssertEqual(rule?.file, "some.gguf")
        XCTAssertEqual(refusal { try Tokenizer(vocabulary(rule: "")) }?.reason, .unknownPreTokenizer)
        XCTAssertEqual(refusal { try Tokenizer(vocabulary(model: "bert")) }?.reason, .unsupportedModel)
        XCTAssertEqual(refusal { try Tokenizer(vocabulary(model: "llama")) }?.field, "tokenizer.ggml.scores")
        XCTAssertEqual(refusal { try Tokenizer(vocabulary(model: "t5")) }?.field, "tokenizer.ggml.scores")
        for merge in ["ab", "a c", "b a", "a b ", ""] {
            let error = refusal { try Tokenizer(vocabulary(merges: ["a b", merge])) }
            XCTAssertEqual(error?.reason, .malformed, merge)
            XCTAssertEqual(error?.field, "tokenizer.ggml.merges[1]")
        }
        XCTAssertEqual(refusal { try vocabulary(types: 2) }?.reason, .malformed)
        XCTAssertEqual(refusal { try vocabulary(end: 3) }?.field, "tokenizer.ggml.eos_token_id")
        XCTAssertEqual(refusal { try vocabulary(end: -1) }?.value, "-1")
        XCTAssertNil(refusal { try Tokenizer(vocabulary(merges: ["a b"], types: 3, end: 2)) })
        var noBOS = try vocabulary()
        noBOS.addsBOS = true
        XCTAssertEqual(refusal { try Tokenizer(noBOS) }?.reason, .missing)
    }

    func testStopTokens() throws {
        let vocabulary = try small().vocabulary
        XCTAssertEqual(vocabulary.stopIDs, [Self.end], "<|im_end|> is EOS here; <|im_end|>! is no control token")
        var roles = Vocabulary.Roles()
        roles.end = 0
        roles.endOfTurn = 1
        let other = try Vocabulary(
            model: "gpt2", preTokenizer: "gpt-2",
            tokens: PackedBytes(["a", "b", "<|endoftext|>", "<|im_end|>", "<end_of_turn>"]),
            types: [.normal, .normal, .control, .normal, .control], roles: roles)
        XCTAssertEqual(other.stopIDs, [0, 1, 2, 3, 4], "markers end whatever their type")
    }
}
