import Foundation
import KVGGUF
import KVModel
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
        for name in names { try check(name, try GGUFFile.open("\(Self.root)/\(name)")) }
    }

    func testConvertedFiles() throws {
        let names = try Self.names().filter { FileManager.default.fileExists(atPath: "\(Self.root)/\($0)/model.gguf") }
        XCTAssertGreaterThanOrEqual(names.count, 33)
        for name in names { try check(name, try GGUFFile(path: "\(Self.root)/\(name)/model.gguf")) }
    }

    private func check(_ name: String, _ file: GGUFFile) throws {
        let what = "\(name), \(file.container)"
        let expected = try SafetensorsFile(path: "\(Self.root)/\(name)/expected.safetensors")
        let tokens = try expected.integers("input_ids").map(Int32.init)
        let truth = try expected.floats("logits_f64")
        let greedy = try expected.integers("greedy_ids").map(Int32.init)
        var configuration = Configuration(model: file.path)
        configuration.cacheElement = .f32
        configuration.ranks = 3
        configuration.threadsPerRank = 1
        let model = try Model(file, kernels: try Kernels.choose(), activations: .float)
        let team = try TestModels.ranks(model, configuration, context: tokens.count + greedy.count)
        defer { team.shutdown() }
        var logits = [Float](repeating: .nan, count: truth.count)
        try logits.withUnsafeMutableBufferPointer { _ = try team.prefill(tokens, allLogits: $0.baseAddress) }
        let error = zip(logits, truth).reduce(Float(0)) { max($0, ($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1)) }
        XCTAssertLessThanOrEqual(error, 5e-4, what)
        XCTAssertGreaterThan(error, 0, what)
        _ = try team.prefill(tokens)
        var sampler = Sampler(.greedy)
        var ids: [Int32] = []
        for _ in greedy {
            ids.append(sampler.next(team.logits))
            try team.decode(ids[ids.count - 1])
        }
        XCTAssertEqual(ids, greedy, what)
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
