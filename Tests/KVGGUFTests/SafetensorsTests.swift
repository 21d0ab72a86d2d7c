import Foundation
import KVGGUF
import KVTestSupport
import XCTest

final class SafetensorsTests: XCTestCase {
    func testRoundTrip() throws {
        let folder = try Folder()
        let path = folder.path + "/t.safetensors"
        let writer = try SafetensorsWriter(
            path: path, tensors: [("a", "F32", [2, 2]), ("none", "F32", [0]), ("b", "I64", [3])], metadata: ["made": "here"])
        let floats: [Float] = [1, -2, .pi, 0]
        try floats.withUnsafeBytes { bytes in
            try writer.append(UnsafeRawBufferPointer(rebasing: bytes[..<8]), to: "a")
            try writer.append(UnsafeRawBufferPointer(rebasing: bytes[8...]), to: "a")
        }
        XCTAssertThrowsError(try writer.finish(), "b is missing")
        try [Int64(-1), 2, .max].withUnsafeBytes { try writer.append($0, to: "b") }
        XCTAssertFalse(FileManager.default.fileExists(atPath: path), "not there before it is whole")
        try writer.finish()
        let file = try SafetensorsFile(path: path)
        XCTAssertEqual(file.names, ["a", "b", "none"])
        XCTAssertEqual(try file.floats("a"), floats)
        XCTAssertEqual(file.tensor("a")?.shape, [2, 2])
        XCTAssertEqual(try file.integers("b"), [-1, 2, .max])
        XCTAssertThrowsError(try file.floats("b")) { XCTAssertTrue("\($0)".contains("I64")) }
        XCTAssertThrowsError(try file.floats("c")) { XCTAssertTrue("\($0)".contains("c is missing")) }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), ["t.safetensors"])
    }

    func testAbandonedWriterLeavesNothing() throws {
        let folder = try Folder()
        do {
            let writer = try SafetensorsWriter(path: folder.path + "/x", tensors: [("a", "F32", [1])])
            XCTAssertThrowsError(try [1, 2].withUnsafeBytes { try writer.append($0, to: "a") })
            XCTAssertThrowsError(try [UInt8(1)].withUnsafeBytes { try writer.append($0, to: "z") })
        }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [])
        XCTAssertThrowsError(try SafetensorsWriter(path: folder.path + "/no/such/x", tensors: [("a", "F32", [1])]))
    }

    /// Shapes read by an independent reader.
    func testFixture() throws {
        let file = try SafetensorsFile(path: Fixtures.require("llama-gqa/expected.safetensors"))
        XCTAssertEqual(file.tensor("logits")?.shape, [97, 384])
        XCTAssertEqual(file.tensor("k_cache")?.shape, [3, 2, 97, 16])
        XCTAssertEqual(try file.integers("input_ids").count, 97)
    }

    func testHostileHeaders() throws {
        let folder = try Folder()
        func fails(_ header: String, length: UInt64? = nil, data: Int = 8, line: UInt = #line) throws {
            var bytes = withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { Data($0) }
            bytes += Data(header.utf8) + Data(count: data)
            let path = try folder.write("h.safetensors", bytes)
            XCTAssertThrowsError(try SafetensorsFile(path: path), header, line: line) { XCTAssertTrue($0 is SafetensorsError) }
        }
        try fails("{}", length: .max)
        try fails("{}", length: 1000)
        try fails("[]")
        try fails("{")
        try fails(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#)
        try fails(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#)
        try fails(#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}"#)
        try fails(#"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#)
        try fails(#"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#)
        try fails(#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#)
        try fails(#"{"a":{"dtype":"F32","shape":"2","data_offsets":[0,8]}}"#)
        try fails(#"{"a":7}"#)
    }
}
