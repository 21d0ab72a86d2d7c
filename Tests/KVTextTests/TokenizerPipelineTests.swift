import Foundation
import KVTestSupport
import XCTest

import KVText

/// tokenizer.json files over combinations of their fields against the tokenizers library (Tests/Fixtures/tokenizer/make.py).
final class TokenizerPipelineTests: XCTestCase {
    private struct Truth: Decodable {
        struct Row: Decodable {
            let text: Int
            let ids: [Int32]
            /// Without post-processing, where that is something else.
            let plain: [Int32]?
            /// The text of the ids with special tokens, and where it is another without; nil where the library fails.
            let shown: [String?]
        }

        struct Folder: Decodable {
            let model: String
            /// The file, but for its model.
            let file: String
            let rows: [Row]
        }

        let models: [String: String]
        let texts: [String]
        let folders: [Folder]
    }

    func testEveryStepGivesTheLibrarysIdsAndTexts() throws {
        let path =
            try ProcessInfo.processInfo.environment["KVCPU_TOKENIZER_PIPELINES"] ?? Fixtures.require("tokenizer/pipelines.json")
        let truth = try JSONDecoder().decode(Truth.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertGreaterThan(truth.folders.count, 77)
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).json")
        defer { try? FileManager.default.removeItem(at: file) }
        var texts = 0
        for folder in truth.folders {
            // By hand: Foundation's dictionaries would take canonically equivalent tokens for one.
            let whole = folder.file.replacingOccurrences(of: "\"@\"", with: truth.models[folder.model] ?? "")
            try Data(whole.utf8).write(to: file)
            let tokenizer: Tokenizer
            do { tokenizer = try Tokenizer(Vocabulary(tokenizerFile: file.path)) } catch {
                XCTFail("\(error)\n\(folder.model) \(folder.file)")
                continue
            }
            for row in folder.rows {
                texts += 1
                try check(tokenizer, row, truth.texts[row.text], folder)
            }
        }
        XCTAssertGreaterThan(texts, 77 * 20)
    }

    private func check(_ tokenizer: Tokenizer, _ row: Truth.Row, _ text: String, _ folder: Truth.Folder) throws {
        let place = "\(text.debugDescription) \(folder.model) \(folder.file)"
        let ids = try tokenizer.encode(text, addSpecial: true, parseSpecial: true)
        XCTAssertEqual(ids, row.ids, place)
        let plain = row.plain ?? row.ids
        XCTAssertEqual(try tokenizer.encode(text, addSpecial: false, parseSpecial: true), plain, place)
        if let shown = row.shown[0] {
            XCTAssertEqual(Array(tokenizer.decode(plain, special: true).utf8), Array(shown.utf8), "decoding \(plain) \(place)")
        }
        if let shown = row.shown[row.shown.count - 1] {
            XCTAssertEqual(Array(tokenizer.decode(plain).utf8), Array(shown.utf8), "decoding \(plain) \(place)")
        }
    }
}
