import Foundation
import XCTest

import KVText

/// Small tokenizer.json files that would cost much, or mean nothing definite: each is a typed error.
final class TokenizerBoundsTests: XCTestCase {
    private func folder(
        _ more: [String: Any], vocabulary: [String: Int] = ["a": 0, "b": 1, "!": 2], settings: [String: Any]? = nil
    ) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
        let merges: [String] = []
        let model: [String: Any] = ["type": "BPE", "vocab": vocabulary, "merges": merges]
        let file = more.merging(["model": model], uniquingKeysWith: { $1 })
        try JSONSerialization.data(withJSONObject: file).write(to: folder.appendingPathComponent("tokenizer.json"))
        if let settings {
            try JSONSerialization.data(withJSONObject: settings).write(to: folder.appendingPathComponent("tokenizer_config.json"))
        }
        return folder.path
    }

    /// The cost of the pattern doubles with every character.
    func testAPatternWhoseCostExplodesIsGivenUp() throws {
        let path = try folder([
            "pre_tokenizer": ["type": "Split", "pattern": ["Regex": "(a|aa)+$"], "behavior": "Isolated"]
        ])
        let tokenizer = try Tokenizer(Vocabulary(tokenizerFile: path))
        XCTAssertEqual(try tokenizer.encode("aa", addSpecial: false, parseSpecial: false), [0, 0])
        XCTAssertThrowsError(
            try tokenizer.encode(String(repeating: "a", count: 64) + "!", addSpecial: false, parseSpecial: false)
        ) {
            guard let error = $0 as? TokenizerError else { return XCTFail("\($0)") }
            XCTAssertEqual(error.reason, .pattern)
            XCTAssertEqual(error.value, "(a|aa)+$")
        }
    }

    /// The library finds now one, now another of two tokens that are one in normalised text.
    func testTwoAddedTokensThatAreOneWhenNormalised() throws {
        func tokens(_ contents: [String]) -> [String: Any] {
            let list = contents.enumerated().map { ["id": 3 + $0, "content": $1, "normalized": true] as [String: Any] }
            return ["added_tokens": list, "normalizer": ["type": "Lowercase"]]
        }
        XCTAssertNoThrow(try Vocabulary(tokenizerFile: try folder(tokens(["The", "of"]))))
        XCTAssertThrowsError(try Vocabulary(tokenizerFile: try folder(tokens(["The", "THE"])))) {
            guard let error = $0 as? TokenizerError else { return XCTFail("\($0)") }
            XCTAssertEqual(error.reason, .unsupportedModel)
            XCTAssertEqual(error.field, "added_tokens")
            XCTAssertTrue(error.value.hasPrefix("THE"), error.value)
        }
    }

    /// Each id of the settings is less than twice the one before and more: together they would be 2^24 and more.
    func testIDsOfTheSettingsThatDouble() throws {
        var tokens: [String: Any] = [:]
        for power in 0..<8 { tokens["\(60_000 << power)"] = ["content": "t\(power)"] }
        XCTAssertThrowsError(
            try Vocabulary(tokenizerFile: try folder([:], settings: ["added_tokens_decoder": tokens]))
        ) {
            XCTAssertEqual(($0 as? TokenizerError)?.reason, .malformed)
        }
    }
}
