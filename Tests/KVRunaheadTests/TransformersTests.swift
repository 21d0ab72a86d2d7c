import Foundation
import KVGGUF
import KVTestSupport
import XCTest

import KVRunahead

/// Models of every class, in folders as Hugging Face transformers saves them and in GGUF files as llama.cpp's converter makes them, against what
/// transformers itself computes in float64 (`Tests/Fixtures/transformers/make.py` and `convert.py`).
final class TransformersTests: XCTestCase {
    private static let root = Fixtures.repository.appendingPathComponent("Tests/Fixtures/transformers").path

    private static func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root).filter { !$0.contains(".") }.sorted()
    }

    func testFolders() throws {
        let names = try Self.names()
        XCTAssertGreaterThanOrEqual(names.count, 44)
        for name in names { try check(name, "\(Self.root)/\(name)") }
    }

    func testConvertedFiles() throws {
        let names = try Self.names().filter { FileManager.default.fileExists(atPath: "\(Self.root)/\($0)/model.gguf") }
        XCTAssertGreaterThanOrEqual(names.count, 33)
        for name in names { try check(name, "\(Self.root)/\(name)/model.gguf") }
    }

    private func check(_ name: String, _ path: String) throws {
        let expected = try SafetensorsFile(path: "\(Self.root)/\(name)/expected.safetensors")
        try FixtureTests.check(name, model: path, expected, hasCaches: false)
    }

    /// Each class that folders may be of is among them, but the one with images, whose text part is another's.
    func testEveryClass() throws {
        var classes: Set<String> = ["Gemma3ForConditionalGeneration"]
        for name in try Self.names() {
            let data = try Data(contentsOf: URL(fileURLWithPath: "\(Self.root)/\(name)/config.json"))
            let config = try XCTUnwrap(JSONSerialization.jsonObject(with: data) as? [String: Any])
            classes.formUnion(try XCTUnwrap(config["architectures"] as? [String]))
        }
        XCTAssertEqual(classes, Set(GGUFFile.folderClasses.map(\.modelClass)))
    }
}
