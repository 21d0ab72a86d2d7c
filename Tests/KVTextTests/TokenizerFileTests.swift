import Foundation
import KVTestSupport
import XCTest

import KVText

/// tokenizer.json made of vocabularies in GGUF files: the same ids must come of both.
final class TokenizerFileTests: XCTestCase {
    private let texts = [
        "Hello World! 123 4567", "  two  spaces\n\n\nlines\t\ttabs ", "Grüße 👋🏽 日本語 \u{1F1E9}\u{1F1EA} e\u{301}",
        "it's they'LL <s> </s>",
        "", " ", "▁x ▁", "<|im_start|>user\nHi<|im_end|>", "\u{0}\u{7F}\u{200B} ａ ①",
    ]

    private func folder(_ object: [String: Any], _ more: [String: [String: Any]] = [:]) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
        for (name, object) in more.merging(["tokenizer.json": object], uniquingKeysWith: { $1 }) {
            try JSONSerialization.data(withJSONObject: object).write(to: folder.appendingPathComponent(name))
        }
        return folder.path
    }

    private func added(_ vocabulary: Vocabulary) -> [[String: Any]] {
        vocabulary.types.indices.filter { vocabulary.types[$0].isSpecial || vocabulary.types[$0] == .userDefined }.map {
            ["id": $0, "content": vocabulary.tokens.string($0), "special": vocabulary.types[$0].isSpecial]
        }
    }

    private func ids(_ vocabulary: Vocabulary) -> [String: Int] {
        Dictionary((0..<vocabulary.count).map { (vocabulary.tokens.string($0), $0) }, uniquingKeysWith: { $1 })
    }

    private func check(_ file: String, _ truth: Tokenizer, addSpecial: Bool = false) throws {
        let tokenizer = try Tokenizer(Vocabulary(tokenizerFile: file))
        for text in texts {
            for parseSpecial in [false, true] {
                let ids = try tokenizer.encode(text, addSpecial: addSpecial, parseSpecial: parseSpecial)
                XCTAssertEqual(
                    ids, try truth.encode(text, addSpecial: addSpecial, parseSpecial: parseSpecial), text.debugDescription)
                XCTAssertEqual(tokenizer.decode(ids), truth.decode(ids))
            }
        }
    }

    func testByteLevel() throws {
        let truth = try TestVocabulary.tokenizer("smollm2")
        let vocabulary = truth.vocabulary
        let path = try folder(
            [
                "added_tokens": added(vocabulary),
                "pre_tokenizer": [
                    "type": "Sequence",
                    "pretokenizers": [
                        ["type": "Digits", "individual_digits": true],
                        ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true],
                    ],
                ],
                "decoder": ["type": "ByteLevel", "add_prefix_space": true],
                "model": [
                    "type": "BPE", "vocab": ids(vocabulary),
                    "merges": (0..<vocabulary.merges.count).map { index in
                        vocabulary.merges.string(index).split(separator: " ").map(String.init)
                    },
                ],
            ],
            [
                "tokenizer_config.json": [
                    "bos_token": "<|im_start|>", "eos_token": ["content": "<|im_end|>"], "chat_template": "{{ 1 }}",
                ],
                "generation_config.json": ["eos_token_id": [0, 2]],
            ])
        try check(path, truth)
        let read = try Vocabulary(tokenizerFile: path)
        XCTAssertEqual(read.bosID, 1)
        XCTAssertEqual(read.eosID, 2)
        XCTAssertEqual(read.stopIDs, [0, 2, 4], "4 is <reponame>")
        XCTAssertEqual(read.chatTemplate, "{{ 1 }}")
    }

    /// SentencePiece's merges written out, as its converter to tokenizer.json does.
    func testSentencePiece() throws {
        let truth = try TestVocabulary.tokenizer("llama-spm")
        let vocabulary = truth.vocabulary
        let ids = ids(vocabulary)
        var merges: [(score: Float, id: Int, text: [String])] = []
        for id in 0..<vocabulary.count where vocabulary.types[id] == .normal {
            let token = Array(vocabulary.tokens.string(id).unicodeScalars)
            for cut in token.indices.dropFirst() {
                let parts = [token[..<cut], token[cut...]].map { String(String.UnicodeScalarView($0)) }
                if parts.allSatisfy({ ids[$0] != nil }) { merges.append((vocabulary.scores[id], id, parts)) }
            }
        }
        merges.sort { ($0.score, $1.id) > ($1.score, $0.id) }
        let path = try folder([
            "added_tokens": added(vocabulary),
            "normalizer": [
                "type": "Sequence",
                "normalizers": [
                    ["type": "Prepend", "prepend": "▁"],
                    ["type": "Replace", "pattern": ["String": " "], "content": "▁"],
                ],
            ],
            "post_processor": [
                "type": "TemplateProcessing",
                "single": [["SpecialToken": ["id": "<s>", "type_id": 0]], ["Sequence": ["id": "A", "type_id": 0]]],
                "special_tokens": ["<s>": ["id": "<s>", "ids": [1], "tokens": ["<s>"]]],
            ],
            "decoder": [
                "type": "Sequence",
                "decoders": [
                    ["type": "Replace", "pattern": ["String": "▁"], "content": " "], ["type": "ByteFallback"], ["type": "Fuse"],
                    ["type": "Strip", "content": " ", "start": 1, "stop": 0],
                ],
            ],
            "model": [
                "type": "BPE", "vocab": ids, "merges": merges.map(\.text), "byte_fallback": true, "unk_token": "<unk>",
            ],
        ])
        try check(path, truth, addSpecial: true)
    }

    /// A small unigram model against every way to write a text.
    func testUnigram() throws {
        let pieces: [(String, Double)] = [
            ("<unk>", 0), ("▁", -3), ("a", -2.5), ("b", -3.5), ("ab", -3), ("▁a", -3.2), ("ba", -4), ("aba", -6.1), ("▁ab", -4.9),
            ("c", -9),
        ]
        let path = try folder([
            "pre_tokenizer": ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"],
            "decoder": ["type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"],
            "model": ["type": "Unigram", "unk_id": 0, "vocab": pieces.map { [$0.0, $0.1] as [Any] }],
        ])
        let tokenizer = try Tokenizer(Vocabulary(tokenizerFile: path))
        func best(_ text: ArraySlice<Character>) -> (score: Double, ids: [Int32]) {
            guard !text.isEmpty else { return (0, []) }
            var found: (score: Double, ids: [Int32]) = (-.infinity, [])
            for (id, piece) in pieces.enumerated() where id > 0 && String(text).hasPrefix(piece.0) {
                let rest = best(text.dropFirst(piece.0.count))
                if piece.1 + rest.score > found.score { found = (piece.1 + rest.score, [Int32(id)] + rest.ids) }
            }
            return found
        }
        for text in ["ab", "aba", "abab a", "ba ab", "abc  cab", "aabbab"] {
            let escaped = Array("▁" + text.replacingOccurrences(of: " ", with: "▁"))
            let ids = try tokenizer.encode(text, addSpecial: false, parseSpecial: false)
            XCTAssertEqual(ids, best(escaped[...]).ids, text)
            XCTAssertEqual(tokenizer.decode(ids), text)
        }
        XCTAssertEqual(
            try tokenizer.encode("xyza", addSpecial: false, parseSpecial: false), [1, 0, 2], "unknown characters are one")
    }

    /// What files beside tokenizer.json say: tokens that it lacks, and the ids that end a text.
    func testFilesBeside() throws {
        let model: [String: Any] = ["type": "BPE", "vocab": ["a": 0, "</s>": 1, "b": 3, "ab": 4], "merges": ["a b"]]
        let tokens: [String: Any] = ["2": ["content": "<end>", "special": true], "1": ["content": "</s>", "special": true]]
        let settings: [String: Any] = ["added_tokens_decoder": tokens, "eos_token": "</s>"]
        let config: [String: Any] = ["eos_token_id": [1, 2]]
        var path = try folder(["model": model], ["tokenizer_config.json": settings, "config.json": config])
        var read = try Vocabulary(tokenizerFile: path)
        XCTAssertEqual(read.count, 5)
        XCTAssertEqual(read.tokens.string(2), "<end>")
        XCTAssertEqual(read.types[2], .control)
        XCTAssertEqual(read.stopIDs, [1, 2])
        XCTAssertEqual(try Tokenizer(read).encode("ab<end>", addSpecial: false, parseSpecial: true).suffix(2), [4, 2])
        let generation: [String: Any] = ["eos_token_id": 1]
        path = try folder(
            ["model": model],
            ["tokenizer_config.json": ["eos_token": "</s>"], "config.json": config, "generation_config.json": generation])
        read = try Vocabulary(tokenizerFile: path)
        XCTAssertEqual(read.stopIDs, [1])
        try FileManager.default.removeItem(atPath: path + "/tokenizer.json")
        XCTAssertThrowsError(try Vocabulary(tokenizerFile: path)) {
            XCTAssertTrue("\($0)".contains("\(path): tokenizer.json: absent"), "\($0)")
        }
        try Data().write(to: URL(fileURLWithPath: path + "/tokenizer.model"))
        XCTAssertThrowsError(try Vocabulary(tokenizerFile: path)) {
            XCTAssertTrue("\($0)".contains("tokenizer.model alone"), "\($0)")
        }
    }

    func testRefusals() throws {
        func error(_ object: [String: Any]) throws -> TokenizerError? {
            let path = try folder(object)
            do {
                _ = try Vocabulary(tokenizerFile: path)
                return nil
            } catch { return error }
        }
        let model: [String: Any] = ["type": "BPE", "vocab": ["a": 0], "merges": [String]()]
        XCTAssertEqual(try error(["model": ["type": "WordPiece", "vocab": ["a": 0]]])?.value, "WordPiece")
        XCTAssertEqual(try error(["version": "1.0"])?.field, "model")
        // Each names the field and its value: never another text's ids.
        let refused: [(key: String, value: Any, field: String, found: String)] = [
            ("normalizer", ["type": "Shout"], "normalizer.type", "Shout"),
            ("normalizer", ["type": "Replace", "pattern": ["Regex": "x*"], "content": "-"], "normalizer.pattern", "x*"),
            ("normalizer", ["type": "Precompiled", "precompiled_charsmap": "AAAA"], "normalizer.precompiled_charsmap", "3"),
            ("pre_tokenizer", ["type": "UnicodeScripts"], "pre_tokenizer.type", "UnicodeScripts"),
            ("pre_tokenizer", ["type": "Metaspace", "replacement": "ab"], "pre_tokenizer.replacement", "ab"),
            (
                "pre_tokenizer",
                [
                    "type": "Sequence",
                    "pretokenizers": [["type": "Split", "pattern": ["Regex": "[a&&b]"], "behavior": "Isolated"]],
                ],
                "pre_tokenizer.pretokenizers[0].pattern", "[a&&b]"
            ),
            ("post_processor", ["type": "Other"], "post_processor.type", "Other"),
            (
                "post_processor", ["type": "BertProcessing", "cls": ["a", 7], "sep": ["a", 0]], "post_processor", "7"
            ),
            ("decoder", ["type": "CTC"], "decoder.type", "CTC"),
            ("added_tokens", [["content": "b", "id": Int.max]], "added_tokens[0].id", "\(Int.max)"),
            ("added_tokens", [["content": "b", "id": -1]], "added_tokens[0].id", "-1"),
            ("added_tokens", [["content": "b", "id": 1, "lstrip": 1]], "added_tokens[0].lstrip", "1"),
        ]
        for (key, value, field, found) in refused {
            let error = try error(["model": model, key: value])
            XCTAssertEqual(error?.field, field, "\(error as Any)")
            XCTAssertTrue(error?.value.contains(found) ?? false, "\(error as Any)")
        }
        for (key, value, field) in [
            ("dropout", 0.1, "model.dropout"), ("merges", ["a b"], "model.merges[0]"), ("merges", ["a"], "model.merges[0]"),
            ("merges", ["a a"], "model.merges[0]"), ("vocab", ["a": 1 << 40], "model.vocab"), ("vocab", ["a": 1.5], "model.vocab"),
            ("vocab", ["a": 3, "b": 3], "model.vocab"),
        ] as [(String, Any, String)] {
            XCTAssertEqual(try error(["model": model.merging([key: value]) { $1 }])?.field, field, "\(value)")
        }
        // Without the unknown token's own entry only texts that need it are refused.
        let path = try folder(["model": model.merging(["unk_token": "?"]) { $1 }])
        let tokenizer = try Tokenizer(Vocabulary(tokenizerFile: path))
        XCTAssertEqual(try tokenizer.encode("aa", addSpecial: true, parseSpecial: true), [0, 0])
        XCTAssertThrowsError(try tokenizer.encode("ab", addSpecial: true, parseSpecial: true)) {
            XCTAssertEqual(($0 as? TokenizerError)?.field, "model.unk_token")
        }
        XCTAssertEqual(try error(["model": ["type": "BPE", "vocab": ["a": -1]]])?.field, "model.vocab")
        XCTAssertThrowsError(try Vocabulary(tokenizerFile: "/no/such/folder"))
    }
}
