import Foundation
import KVGGUF
import KVTestSupport
import KVText
import XCTest

/// Vocabularies as files hold them, right and wrong.
final class VocabularyTests: XCTestCase {
    func testSmolLM2() throws {
        let vocabulary = try TestVocabulary.load("vocab/ggml-vocab-smollm2.gguf")
        XCTAssertEqual(vocabulary.model, "gpt2")
        XCTAssertEqual(vocabulary.preTokenizer, "smollm")
        XCTAssertEqual(vocabulary.count, 49152)
        XCTAssertEqual(vocabulary.merges.count, 48900)
        XCTAssertEqual(vocabulary.merges.string(0), "Ġ t")
        XCTAssertEqual(vocabulary.tokens.string(2), "<|im_end|>")
        XCTAssertEqual(vocabulary.types.filter { $0 == .control }.count, 17)
        XCTAssertEqual(vocabulary.bosID, 1)
        XCTAssertEqual(vocabulary.eosID, 2)
        XCTAssertEqual(vocabulary.roles.unknown, 0)
        XCTAssertEqual(vocabulary.roles.padding, 2)
        XCTAssertNil(vocabulary.roles.endOfTurn)
        XCTAssertEqual(vocabulary.addsBOS, false)
        XCTAssertNil(vocabulary.addsEOS)
        XCTAssertEqual(vocabulary.stopIDs, [0, 2, 4], "<|endoftext|>, <|im_end|> and <reponame>")
        XCTAssertNil(try ChatTemplate(vocabulary).notice)
    }

    func testAddedSpecialTokens() throws {
        // Llama 3's file says nothing about BOS; its rule adds it.
        let llama = try TestVocabulary.tokenizer("llama-bpe")
        XCTAssertNil(llama.vocabulary.addsBOS)
        XCTAssertEqual(try llama.encode("", addSpecial: true, parseSpecial: false), [128000])
        XCTAssertEqual(llama.vocabulary.stopIDs, [128001, 128009])
        let gpt2 = try TestVocabulary.tokenizer("gpt-2")
        XCTAssertEqual(try gpt2.encode("", addSpecial: true, parseSpecial: false), [])
    }

    func testUnknownTokenizersAreNamed() throws {
        let vocabulary = try Vocabulary(source: "some.gguf", model: "rwkv", preTokenizer: "", tokens: PackedBytes(["a"]))
        XCTAssertThrowsError(try Tokenizer(vocabulary)) { error in
            let error = error as? TokenizerError
            XCTAssertEqual(error?.reason, .unsupportedModel)
            XCTAssertEqual(error?.value, "rwkv")
            XCTAssertEqual(error?.file, "some.gguf")
        }
    }

    /// What files do not say is known from the model's kind.
    func testRulesOfSilentFiles() throws {
        XCTAssertEqual(try TestVocabulary.load("vocab/ggml-vocab-gpt-neox.gguf").preTokenizer, "gpt-neox")
        let llama = try TestVocabulary.tokenizer("llama-spm")
        XCTAssertEqual(try llama.encode("", addSpecial: true, parseSpecial: false), [1])
        // Phi-3's special tokens take the white space behind them.
        let phi = try TestVocabulary.tokenizer("phi-3")
        XCTAssertEqual(
            try phi.encode("<|user|>\nHi<|end|>\n", addSpecial: false, parseSpecial: true), [32010, 6324, 32007])
    }

    /// Each key of a small, right file in turn replaced by something wrong.
    func testMalformedMetadata() throws {
        let right: [(String, Value)] = [
            ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string("gpt-2")),
            ("tokenizer.ggml.tokens", .strings(["a", "b", "ab"])), ("tokenizer.ggml.token_type", .integers([1, 1, 3])),
            ("tokenizer.ggml.merges", .strings(["a b"])), ("tokenizer.ggml.eos_token_id", .integer(2)),
            ("tokenizer.ggml.padding_token_id", .integer(-1)), ("tokenizer.ggml.add_bos_token", .bool(false)),
        ]
        XCTAssertEqual(try open(right).count, 3)
        XCTAssertNil(try open(right).roles.padding, "-1 is no token")
        XCTAssertEqual(try Tokenizer(open(right)).encode("ab", addSpecial: true, parseSpecial: false), [2])
        let wrong: [(String, Value?, TokenizerError.Reason)] = [
            ("tokenizer.ggml.model", nil, .missing), ("tokenizer.ggml.model", .integer(3), .malformed),
            ("tokenizer.ggml.tokens", nil, .missing), ("tokenizer.ggml.tokens", .integers([1]), .malformed),
            ("tokenizer.ggml.tokens", .string("a"), .malformed), ("tokenizer.ggml.pre", .bool(true), .malformed),
            ("tokenizer.ggml.token_type", .integers([1, 1]), .malformed),
            ("tokenizer.ggml.token_type", .integers([1, 1, 7]), .malformed),
            ("tokenizer.ggml.token_type", .strings(["1", "1", "1"]), .malformed),
            ("tokenizer.ggml.merges", .bool(true), .malformed),
            ("tokenizer.ggml.scores", .integers([0, 0, 0]), .malformed),
            ("tokenizer.ggml.eos_token_id", .integer(3), .malformed),
            ("tokenizer.ggml.eos_token_id", .integer(-2), .malformed),
            ("tokenizer.ggml.eos_token_id", .string("2"), .malformed),
            ("tokenizer.ggml.add_bos_token", .integer(0), .malformed),
            ("tokenizer.chat_template", .integer(0), .malformed),
        ]
        for (key, value, reason) in wrong {
            var pairs = right.filter { $0.0 != key }
            if let value { pairs.append((key, value)) }
            XCTAssertThrowsError(try open(pairs), "\(key) \(value as Any)") { error in
                let error = error as? TokenizerError
                XCTAssertEqual(error?.reason, reason, "\(key) \(value as Any)")
                XCTAssertEqual(error?.field.hasPrefix(key), true, "\(error as Any)")
                XCTAssertEqual(error?.file.hasSuffix(".gguf"), true)
            }
        }
    }

    // MARK: A small GGUF writer

    private enum Value {
        case string(String), integer(Int32), bool(Bool), strings([String]), integers([Int32])
    }

    private func open(_ pairs: [(String, Value)]) throws -> Vocabulary {
        var bytes = Data("GGUF".utf8)
        func number(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        func string(_ value: String) {
            number(UInt64(value.utf8.count))
            bytes.append(contentsOf: value.utf8)
        }
        func array(of type: UInt32, _ count: Int) {
            number(UInt32(9))
            number(type)
            number(UInt64(count))
        }
        number(UInt32(3))
        number(UInt64(0))
        number(UInt64(pairs.count))
        for (key, value) in pairs {
            string(key)
            switch value {
            case .string(let value):
                number(UInt32(8))
                string(value)
            case .integer(let value):
                number(UInt32(5))
                number(value)
            case .bool(let value):
                number(UInt32(7))
                number(UInt8(value ? 1 : 0))
            case .strings(let values):
                array(of: 8, values.count)
                values.forEach(string)
            case .integers(let values):
                array(of: 5, values.count)
                values.forEach { number($0) }
            }
        }
        bytes.append(contentsOf: [UInt8](repeating: 0, count: 32))
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).gguf")
        try bytes.write(to: url)
        defer { try? FileManager.default.removeItem(at: url) }
        return try Vocabulary(GGUFFile(path: url.path))
    }
}
