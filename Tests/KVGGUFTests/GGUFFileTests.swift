import Foundation
import KVGGUF
import KVTestSupport
import XCTest

final class GGUFFileTests: XCTestCase {
    private func open(_ builder: GGUFBuilder) throws -> GGUFFile {
        let folder = try Folder()
        return try withExtendedLifetime(folder) { try GGUFFile(path: folder.write("m.gguf", builder.file)) }
    }

    func testVersionsAndTensors() throws {
        for version in [2, 3] as [UInt32] {
            var builder = GGUFBuilder.sample
            builder.version = version
            let file = try open(builder)
            XCTAssertEqual(file.version, version)
            XCTAssertEqual(file.tensors.map(\.name), ["one", "two"])
            let one = try XCTUnwrap(file.tensor("one"))
            XCTAssertEqual(one.dimensions, [4, 2])
            XCTAssertEqual((one.columns, one.rows, one.elements).0, 4)
            XCTAssertEqual(one.rows, 2)
            XCTAssertEqual(try file.bytes(of: one).loadUnaligned(fromByteOffset: 20, as: Float.self), 5)
            let two = try XCTUnwrap(file.tensor("two"))
            XCTAssertEqual(two.type, .q8_0)
            XCTAssertEqual(try Array(file.bytes(of: two)), (0..<102).map { UInt8($0) })
            XCTAssertNil(file.tensor("three"))
        }
    }

    func testEveryValueType() throws {
        var builder = GGUFBuilder()
        func bytes(_ value: UInt32) -> Data { GGUFBuilder.bytes(value) }
        builder.raw("u8", type: 0, Data([200]))
        builder.raw("i8", type: 1, Data([200]))
        builder.raw("u16", type: 2, GGUFBuilder.bytes(UInt16(60000)))
        builder.raw("i16", type: 3, GGUFBuilder.bytes(Int16(-5)))
        builder.raw("u32", type: 4, bytes(UInt32(4_000_000_000)))
        builder.raw("i32", type: 5, GGUFBuilder.bytes(Int32(-7)))
        builder.raw("f32", type: 6, bytes(Float(1.5).bitPattern))
        builder.raw("bool", type: 7, Data([1]))
        builder.raw("string", type: 8, GGUFBuilder.string("häh"))
        builder.raw("u64", type: 10, GGUFBuilder.bytes(UInt64.max))
        builder.raw("i64", type: 11, GGUFBuilder.bytes(Int64.min))
        builder.raw("f64", type: 12, GGUFBuilder.bytes(Double(2.25).bitPattern))
        builder.set("strings", strings: ["x", "yz"])
        builder.raw(
            "ints", type: 9,
            bytes(UInt32(5)) + GGUFBuilder.bytes(UInt64(2)) + GGUFBuilder.bytes(Int32(-1)) + GGUFBuilder.bytes(Int32(9)))
        let inner = bytes(UInt32(0)) + GGUFBuilder.bytes(UInt64(1)) + Data([3])
        builder.raw("nested", type: 9, bytes(UInt32(9)) + GGUFBuilder.bytes(UInt64(2)) + inner + inner)
        let metadata = try open(builder).metadata
        XCTAssertEqual(metadata.keys.count, 15)
        for (key, value) in [
            ("u8", 200), ("i8", -56), ("u16", 60000), ("i16", -5), ("u32", 4_000_000_000), ("i32", -7), ("i64", Int.min),
        ] {
            XCTAssertEqual(try metadata.integer(key), value, key)
        }
        XCTAssertThrowsError(try metadata.integer("u64"), "does not fit") { XCTAssertTrue("\($0)".contains("u64")) }
        XCTAssertEqual(try metadata.float("f32"), 1.5)
        XCTAssertEqual(try metadata.float("f64"), 2.25)
        XCTAssertEqual(try metadata.bool("bool"), true)
        XCTAssertEqual(try metadata.string("string"), "häh")
        XCTAssertEqual(try metadata.array("strings").strings(), ["x", "yz"])
        XCTAssertEqual(try metadata.array("ints").integers(), [-1, 9])
        XCTAssertEqual(try metadata.array("nested").count, 2)
        XCTAssertEqual(try metadata.integer("absent", default: 4), 4)
        XCTAssertThrowsError(try metadata.integer("absent")) { XCTAssertEqual(($0 as? GGUFError)?.kind, .missingKey) }
        XCTAssertThrowsError(try metadata.integer("string")) { XCTAssertEqual(($0 as? GGUFError)?.kind, .wrongType) }
        XCTAssertThrowsError(try metadata.string("u8", default: "x")) { XCTAssertEqual(($0 as? GGUFError)?.kind, .wrongType) }
    }

    /// Facts read by an independent reader (gguf-py).
    func testFixtures() throws {
        for (name, tensors, layers, embedding) in [
            ("llama-gqa", 30, 3, 96), ("llama-mha-tied-rope3", 21, 2, 64), ("q-llama-q8_0", 21, 2, 256),
        ] {
            let file = try GGUFFile(path: Fixtures.require("\(name)/model.gguf"))
            XCTAssertEqual(file.version, 3)
            XCTAssertEqual(file.tensors.count, tensors)
            XCTAssertEqual(try file.metadata.integer("llama.block_count"), layers)
            XCTAssertEqual(try file.metadata.integer("llama.embedding_length"), embedding)
            XCTAssertEqual(try file.metadata.string("general.architecture"), "llama")
        }
        let file = try GGUFFile(path: Fixtures.require("q-llama-q8_0/model.gguf"))
        XCTAssertEqual(file.tensors.filter { $0.type == .q8_0 }.count, 16)
        XCTAssertEqual(file.tensors.filter { $0.type == .f32 }.count, 5)
    }

    func testSplitModels() throws {
        let folder = try Folder()
        func shard(_ number: UInt16, of count: UInt16, _ tensor: String, total: UInt32 = 2) throws -> String {
            var builder = GGUFBuilder()
            builder.raw("split.no", type: 2, GGUFBuilder.bytes(number))
            builder.raw("split.count", type: 2, GGUFBuilder.bytes(count))
            builder.raw("split.tensors.count", type: 5, GGUFBuilder.bytes(total))
            builder.tensor(tensor, [1], type: 0, GGUFBuilder.bytes(Float(number).bitPattern))
            return try folder.write("m-0000\(number + 1)-of-0000\(count).gguf", builder.file)
        }
        let first = try shard(0, of: 2, "a")
        XCTAssertThrowsError(try GGUFFile(path: first)) { error in
            XCTAssertEqual((error as? GGUFError)?.kind, .missingShard)
            XCTAssertTrue("\(error)".contains("m-00002-of-00002.gguf"))
        }
        let second = try shard(1, of: 2, "b")
        let file = try GGUFFile(path: first)
        XCTAssertEqual(file.tensors.map(\.name), ["a", "b"])
        XCTAssertEqual(try file.bytes(of: XCTUnwrap(file.tensor("b"))).loadUnaligned(as: Float.self), 1)
        XCTAssertThrowsError(try GGUFFile(path: second)) { XCTAssertTrue("\($0)".contains("shard 2 of 2")) }
        _ = try shard(1, of: 2, "a")
        XCTAssertThrowsError(try GGUFFile(path: first)) { XCTAssertTrue("\($0)".contains("tensor a is in two shards")) }
        _ = try shard(1, of: 2, "b")
        _ = try shard(0, of: 2, "a", total: 5)
        XCTAssertThrowsError(try GGUFFile(path: first)) { XCTAssertTrue("\($0)".contains("split.tensors.count")) }
    }

    func testWhatIsNoModel() throws {
        let folder = try Folder()
        func kind(_ path: String) -> GGUFError.Kind? {
            do { _ = try GGUFFile(path: path) } catch { return error.kind }
            return nil
        }
        XCTAssertEqual(kind(folder.path + "/absent.gguf"), .notFound)
        XCTAssertEqual(kind(folder.path), .notAFile)
        XCTAssertEqual(kind(try folder.write("empty.gguf", Data())), .empty)
        XCTAssertEqual(kind(try folder.write("text.gguf", Data("Hello, world".utf8))), .badMagic)
        for version in [0, 1, 4, 99, UInt32(3).byteSwapped] {
            var builder = GGUFBuilder.sample
            builder.version = version
            XCTAssertEqual(kind(try folder.write("v.gguf", builder.file)), .unsupportedVersion, "\(version)")
        }
    }

    func testLies() throws {
        func reason(_ change: (inout GGUFBuilder) -> Void) -> String {
            var builder = GGUFBuilder.sample
            change(&builder)
            do { _ = try open(builder) } catch { return "\(error)" }
            return "opened"
        }
        let four = Data(count: 4)
        XCTAssertTrue(reason { $0.announcedTensors = 1 << 60 }.contains("tensor count"))
        XCTAssertTrue(reason { $0.announcedPairs = .max }.contains("metadata count"))
        XCTAssertTrue(reason { $0.set("general.alignment", 0) }.contains("general.alignment is 0"))
        XCTAssertTrue(reason { $0.set("general.alignment", 3) }.contains("general.alignment is 3"))
        XCTAssertTrue(reason { $0.set("llama.block_count", 4) }.contains("llama.block_count comes twice"))
        XCTAssertTrue(reason { $0.tensor("one", [1], type: 0, four) }.contains("tensor one comes twice"))
        XCTAssertTrue(reason { $0.tensor("", [1], type: 0, four) }.contains("0 bytes"))
        XCTAssertTrue(reason { $0.tensor("t", [], type: 0, four) }.contains("0 dimensions"))
        XCTAssertTrue(reason { $0.tensor("t", [1, 1, 1, 1, 1], type: 0, four) }.contains("5 dimensions"))
        XCTAssertTrue(reason { $0.tensor("t", [0], type: 0, four) }.contains("dimension of 0"))
        XCTAssertTrue(reason { $0.tensor("t", [1 << 62, 1 << 62], type: 0, four) }.contains("overflow"))
        XCTAssertTrue(reason { $0.tensor("t", [1 << 62], type: 0, four) }.contains("beyond"))
        XCTAssertTrue(reason { $0.tensor("t", [.max], type: 0, four) }.contains("dimension"))
        XCTAssertTrue(reason { $0.tensor("t", [2], type: 0, four) }.contains("tensor t"))
        XCTAssertTrue(reason { $0.tensor("t", [31], type: 8, Data(count: 64)) }.contains("block of 32"))
        XCTAssertTrue(reason { $0.tensor("t", [1], type: 0, four, offset: 7) }.contains("not aligned"))
        XCTAssertTrue(reason { $0.tensor("t", [1], type: 0, four, offset: .max - 31) }.contains("offset"))
        XCTAssertTrue(reason { $0.tensor("t", [1], type: 0, four, offset: 1 << 40) }.contains("beyond"))
        XCTAssertTrue(reason { $0.raw("b", type: 7, Data([2])) }.contains("key b"))
        XCTAssertTrue(reason { $0.raw("w", type: 99, Data([2])) }.contains("type 99"))
        XCTAssertTrue(
            reason { $0.raw("a", type: 9, GGUFBuilder.bytes(UInt32(8)) + GGUFBuilder.bytes(UInt64.max / 2)) }.contains("array a"))
    }

    func testDeepArraysAndUnknownTypes() throws {
        var builder = GGUFBuilder.sample
        var value = GGUFBuilder.bytes(UInt32(0)) + GGUFBuilder.bytes(UInt64(0))
        for _ in 0..<100 { value = GGUFBuilder.bytes(UInt32(9)) + GGUFBuilder.bytes(UInt64(1)) + value }
        builder.raw("deep", type: 9, value)
        XCTAssertThrowsError(try open(builder)) { XCTAssertTrue("\($0)".contains("deep")) }
        var other = GGUFBuilder.sample
        other.tensor("odd", [8], type: 77, Data(count: 8))
        let file = try open(other)
        let odd = try XCTUnwrap(file.tensor("odd"))
        XCTAssertEqual(odd.type.name, "type 77")
        XCTAssertThrowsError(try file.bytes(of: odd)) { XCTAssertTrue("\($0)".contains("tensor odd")) }
    }

    /// No prefix of a file opens, and none crashes.
    func testTruncation() throws {
        let folder = try Folder()
        let whole = GGUFBuilder.sample.file
        for count in 1..<whole.count {
            let path = try folder.write("cut.gguf", whole.prefix(count))
            XCTAssertThrowsError(try GGUFFile(path: path), "\(count) bytes") { XCTAssertTrue($0 is GGUFError) }
        }
    }

    /// Whatever is wrong in a file: an error or a file whose every byte can be read.
    func testRandomMutations() throws {
        let folder = try Folder()
        let whole = GGUFBuilder.sample.file
        var random = SystemSeed(42)
        var opened = 0
        for _ in 0..<5000 {
            var bytes = whole
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let path = try folder.write("mutant.gguf", bytes)
            guard let file = try? GGUFFile(path: path) else { continue }
            opened += 1
            for tensor in file.tensors { _ = (try? file.bytes(of: tensor))?.reduce(0) { $0 &+ Int($1) } }
            for key in file.metadata.keys {
                if case .array(let array)? = file.metadata[key] { _ = (array.strings(), array.values()) }
            }
        }
        XCTAssertGreaterThan(opened, 0)
        XCTAssertLessThan(opened, 5000)
    }
}

/// Seeded, so that a failure comes again.
struct SystemSeed: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }

    /// A header in memory reads like a file's, and has no data.
    func testHeaderInMemory() throws {
        let file = try GGUFFile(
            header: "made", metadata: [("a.count", .unsigned(3)), ("a.name", .string("x"))],
            tensors: [("m", [64, 5], .q4_0), ("v", [7], .f32)])
        XCTAssertFalse(file.hasData)
        XCTAssertEqual(file.fileBytes, 0)
        XCTAssertEqual(file.metadata.keys, ["a.count", "a.name"])
        XCTAssertEqual(try file.metadata.integer("a.count"), 3)
        XCTAssertEqual(file.tensors.map(\.byteCount), [5 * 2 * 18, 28])
        XCTAssertEqual(file.tensor("m")?.rows, 5)
        XCTAssertThrowsError(try file.bytes(of: file.tensors[0])) { error in
            XCTAssertEqual((error as? GGUFError)?.kind, .noData)
            XCTAssertTrue("\(error)".contains("made: tensor m"), "\(error)")
        }
        for (tensors, word) in [
            ([("m", [4], .f32), ("m", [4], .f32)], "m comes twice"), ([("m", [33, 2], .q4_0)], "33 columns"),
            ([("m", [], .f32)], "dimensions"), ([("m", [4, 0], .f32)], "dimensions"),
            ([("m", [1 << 40, 1 << 40], .f32)], "overflows"), ([("m", [4], TensorType(rawValue: 4))], "type 4"),
        ] as [([(String, [Int], TensorType)], String)] {
            XCTAssertThrowsError(try GGUFFile(header: "made", metadata: [], tensors: tensors.map { ($0, $1, $2) })) { error in
                XCTAssertEqual((error as? GGUFError)?.kind, .malformed)
                XCTAssertTrue("\(error)".contains(word), "\(error)")
            }
        }
        XCTAssertThrowsError(try GGUFFile(header: "made", metadata: [("k", .bool(true)), ("k", .bool(true))], tensors: []))
    }

    func testTypesByName() {
        XCTAssertEqual(TensorType(named: "q4_k")?.rawValue, 12)
        XCTAssertEqual(TensorType(named: "Q4_0"), .q4_0)
        XCTAssertEqual(TensorType(named: "bf16"), .bf16)
        XCTAssertNil(TensorType(named: "q4"))
        XCTAssertNil(TensorType(named: ""))
    }
}
