import Foundation
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// A model's file that is written to, truncated, renamed or removed: during the load a typed error, after it nothing at all.
final class ChangedFileTests: XCTestCase {
    /// A copy of a fixture whose last change lies in the past.
    private func copy(_ name: String = "llama-gqa") throws -> (path: String, tokens: [Int32]) {
        let folder = NSTemporaryDirectory() + "kvchanged-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(atPath: folder) }
        let path = folder + "/model.gguf"
        try FileManager.default.copyItem(atPath: TestModels.fixture(name), toPath: path)
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1e9)], ofItemAtPath: path)
        let ids = try SafetensorsFile(path: Fixtures.require("\(name)/expected.safetensors")).integers("input_ids")
        return (path, ids.map { Int32($0) })
    }

    /// As many bytes of zeros, in the same file.
    private func overwrite(_ path: String) throws {
        let handle = try XCTUnwrap(FileHandle(forUpdatingAtPath: path))
        let size = try handle.seekToEnd()
        try handle.seek(toOffset: 0)
        try handle.write(contentsOf: Data(count: Int(size)))
        try handle.close()
    }

    private func team(_ model: Model, _ path: String, context: Int) throws -> Ranks {
        var configuration = Configuration(model: path)
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        return try TestModels.ranks(model, configuration, context: context)
    }

    private func expected(_ tokens: [Int32]) throws -> RunBits {
        let path = try TestModels.fixture("llama-gqa")
        let team = try team(TestModels.model(path, .int8), path, context: tokens.count + 4)
        defer { team.shutdown() }
        return try RunBits(team, tokens, partition: .even, steps: 4)
    }

    /// All that is computed with lies in memory.
    func testAfterTheLoad() throws {
        for change in ["truncated", "overwritten"] {
            let (path, tokens) = try copy()
            let team = try team(TestModels.model(path, .int8), path, context: tokens.count + 4)
            defer { team.shutdown() }
            if change == "truncated" { truncate(path, 0) } else { try overwrite(path) }
            XCTAssertTrue(try RunBits(team, tokens, partition: .even, steps: 4) == expected(tokens), change)
        }
    }

    /// Between the header and the weights.
    func testDuringTheLoad() throws {
        for (change, reason) in [(0, "shrunk"), (4096, "shrunk"), (nil, "written to")] as [(Int?, String)] {
            let (path, tokens) = try copy()
            let model = try TestModels.model(path, .int8)
            if let change { truncate(path, change) } else { try overwrite(path) }
            XCTAssertThrowsError(try team(model, path, context: tokens.count)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .model, "\(error)")
                XCTAssertTrue("\(error)".contains(path) && "\(error)".contains(reason), "\(error)")
            }
        }
    }

    /// Arrays of the header are read after it was opened.
    func testHeaderIsInMemory() throws {
        let (path, _) = try copy("gemma2")
        let whole = try GGUFFile(path: TestModels.fixture("gemma2"))
        let file = try GGUFFile(path: path)
        truncate(path, 0)
        var arrays = 0
        for key in whole.metadata.keys {
            guard case .array(let array)? = file.metadata[key], case .array(let expected)? = whole.metadata[key] else { continue }
            XCTAssertEqual(array.strings(), expected.strings(), key)
            XCTAssertEqual(array.integers(), expected.integers(), key)
            arrays += 1
        }
        XCTAssertGreaterThan(arrays, 0)
        XCTAssertThrowsError(try file.checkUnchanged()) { XCTAssertEqual(($0 as? GGUFError)?.kind, .changed, "\($0)") }
    }

    /// A rank's process can be started again wherever the file has gone.
    func testRanksRestartAfterRemoval() throws {
        let (path, tokens) = try copy()
        let configuration = ProcessTests.configuration(.file(path), ranks: 2)
        let team = try TestModels.ranks(TestModels.model(path, .int8), configuration, context: tokens.count + 4)
        defer { team.shutdown() }
        let before = team.processIDs
        try FileManager.default.moveItem(atPath: path, toPath: path + ".moved")
        try Data("another".utf8).write(to: URL(fileURLWithPath: path))
        kill(before[0], SIGKILL)
        // The run that meets the dead rank may fail; the next has new ones.
        _ = try? team.prefill(tokens)
        XCTAssertTrue(try RunBits(team, tokens, partition: .even, steps: 4) == expected(tokens))
        XCTAssertNotEqual(team.processIDs, before)
        try FileManager.default.removeItem(atPath: path + ".moved")
        kill(team.processIDs[1], SIGKILL)
        _ = try? team.prefill(tokens)
        XCTAssertTrue(try RunBits(team, tokens, partition: .even, steps: 4) == expected(tokens))
    }
}
