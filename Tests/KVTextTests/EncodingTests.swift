import Foundation
import KVTestSupport
import XCTest

import KVText

/// Ids against the truth: llama.cpp's, and for SmolLM2 the Hugging Face tokenizers' where they agree.
final class EncodingTests: XCTestCase {
    private struct Truth: Decodable {
        struct Case: Decodable {
            let bytesBase64: String
            let plain: [Int32]
            let parseSpecial: [Int32]
            let addSpecial: [Int32]
            let addSpecialParseSpecial: [Int32]

            enum CodingKeys: String, CodingKey {
                case bytesBase64 = "bytes_b64"
                case plain
                case parseSpecial = "parse_special"
                case addSpecial = "add_special"
                case addSpecialParseSpecial = "add_special_parse_special"
            }
        }
        let cases: [Case]
    }

    func testSmolLM2() throws {
        let path = try Fixtures.require("tokenizer/smollm2.json")
        let truth = try JSONDecoder().decode(Truth.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertEqual(truth.cases.count, 65)
        let tokenizer = try TestVocabulary.tokenizer("smollm2")
        for (index, item) in truth.cases.enumerated() {
            let text = [UInt8](try XCTUnwrap(Data(base64Encoded: item.bytesBase64)))
            let shown = "case \(index): \(String(decoding: text, as: UTF8.self).debugDescription)"
            for (addSpecial, parseSpecial, ids) in [
                (false, false, item.plain), (false, true, item.parseSpecial), (true, false, item.addSpecial),
                (true, true, item.addSpecialParseSpecial),
            ] {
                XCTAssertEqual(
                    try tokenizer.encode(text, addSpecial: addSpecial, parseSpecial: parseSpecial), ids,
                    "\(shown), addSpecial \(addSpecial), parseSpecial \(parseSpecial)")
            }
        }
    }

    func testGPT2() throws { try checkVectors("gpt-2") }
    func testFalcon() throws { try checkVectors("falcon") }
    func testQwen2() throws { try checkVectors("qwen2") }
    func testLlama3() throws { try checkVectors("llama-bpe") }
    func testGPTNeoX() throws { try checkVectors("gpt-neox") }
    func testLlama2() throws { try checkVectors("llama-spm") }
    func testPhi3() throws { try checkVectors("phi-3") }

    /// Every other vocabulary that the fixtures hold with vectors.
    func testOthers() throws {
        let folder = URL(fileURLWithPath: try Fixtures.require("vocab/ggml-vocab-gpt-2.gguf")).deletingLastPathComponent()
        let named = ["gpt-2", "falcon", "qwen2", "llama-bpe", "gpt-neox", "llama-spm", "phi-3", "bert-bge"]
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() {
            guard file.hasPrefix("ggml-vocab-"), file.hasSuffix(".gguf.out") else { continue }
            let name = String(file.dropFirst("ggml-vocab-".count).dropLast(".gguf.out".count))
            if !named.contains(name) { try checkVectors(name) }
        }
    }

    /// Every case of a vocabulary's `.inp` and `.out`.
    private func checkVectors(_ name: String, file: StaticString = #filePath, line: UInt = #line) throws {
        let vocabulary = "vocab/ggml-vocab-\(name).gguf"
        let input = try String(contentsOfFile: Fixtures.require(vocabulary + ".inp"), encoding: .utf8)
        let output = try String(contentsOfFile: Fixtures.require(vocabulary + ".out"), encoding: .utf8)
        let texts = input.components(separatedBy: "\n__ggml_vocab_test__\n")
        let rows = output.components(separatedBy: "\n").prefix(texts.count)
        XCTAssertGreaterThanOrEqual(texts.count, 40, file: file, line: line)
        XCTAssertEqual(rows.count, texts.count, file: file, line: line)
        let tokenizer = try TestVocabulary.tokenizer(name)
        for (text, row) in zip(texts, rows) {
            let ids = row.split(separator: " ").compactMap { Int32($0) }
            XCTAssertEqual(
                try tokenizer.encode(text, addSpecial: false, parseSpecial: false), ids,
                "\(name): \(text.debugDescription)",
                file: file, line: line)
            if tokenizer.vocabulary.model != "t5", !text.unicodeScalars.contains("\u{2581}") {
                let normal = name == "gpt-neox" ? text.precomposedStringWithCanonicalMapping : text
                XCTAssertEqual(tokenizer.decode(ids), normal, name, file: file, line: line)
            }
        }
    }

    /// Texts that make one enormous piece: quadratic merging would not come to an end in anyone's patience.
    func testLongPieces() throws {
        let tokenizer = try TestVocabulary.tokenizer("smollm2")
        for unit in ["a", " ", "!", "\n", "abcdefghij", "日"] {
            let text = [UInt8](String(repeating: unit, count: 100_000 / unit.utf8.count).utf8)
            let ids = try tokenizer.encode(text, addSpecial: false, parseSpecial: true)
            XCTAssertEqual([UInt8](tokenizer.decode(ids).utf8), text, unit)
        }
    }

    func testCallsMayRunAtTheSameTime() async throws {
        let tokenizer = try TestVocabulary.tokenizer("smollm2")
        let text = try String(contentsOfFile: Fixtures.require("perplexity/us-constitution.txt"), encoding: .utf8)
        let lines = text.split(separator: "\n").map(String.init)
        let expected = try lines.map { try tokenizer.encode($0, addSpecial: false, parseSpecial: false) }
        try await withThrowingTaskGroup(of: [[Int32]].self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try lines.map { try tokenizer.encode($0, addSpecial: false, parseSpecial: false) }
                }
            }
            for try await ids in group { XCTAssertEqual(ids, expected) }
        }
    }
}
