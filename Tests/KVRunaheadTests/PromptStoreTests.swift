import Foundation
import KVModel
import XCTest

import KVRunahead

/// Earlier prompts' keys and values: in memory within a limit, and in files that are trusted only when whole and of the same origin.
final class PromptStoreTests: XCTestCase {
    private func model() throws -> Model {
        try TestModels.model(.synthetic("llama-7b,layers=2,width=64,heads=2,ffn=64,vocab=64"), .int8)
    }

    private func cache(_ seed: Int, capacity: Int = 32) throws -> KVCache {
        let model = try model()
        let cache = try KVCache(model.geometry, type: .f16, capacity: capacity)
        cache.forEachPart(capacity) { index, part in
            for offset in part.indices { part[offset] = UInt8(truncatingIfNeeded: seed &* 31 &+ index &* 7 &+ offset &* 13) }
        }
        return cache
    }

    private func rows(_ cache: KVCache, _ positions: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        cache.forEachPart(positions) { _, part in bytes += part }
        return bytes
    }

    func testCommonBeginning() {
        XCTAssertEqual(PromptStore.common([1, 2, 3], [1, 2, 4]), 2)
        XCTAssertEqual(PromptStore.common([1, 2], [1, 2, 4]), 2)
        XCTAssertEqual(PromptStore.common([], [1]), 0)
        XCTAssertEqual(PromptStore.common([5], [1]), 0)
    }

    func testRowsComeBack() throws {
        let source = try cache(1)
        let store = PromptStore(limit: 1 << 20)
        store.keep([1, 2, 3, 4, 5], of: source)
        let found = try XCTUnwrap(store.longest(of: [1, 2, 3, 9]))
        XCTAssertEqual(found.common, 3)
        let target = try cache(2)
        let before = rows(target, 32)
        store.restore(found.entry, count: 3, into: target)
        XCTAssertEqual(rows(target, 3), rows(source, 3))
        // Nothing else was touched.
        let clean = try cache(2)
        store.restore(found.entry, count: 3, into: clean)
        XCTAssertEqual(rows(target, 32), rows(clean, 32))
        XCTAssertNotEqual(rows(target, 32), before)
        target.forEachPart(32) { index, part in
            clean.forEachPart(32) { other, expected in
                if index == other {
                    XCTAssertTrue(part.dropFirst(3 * target.rowBytes).elementsEqual(expected.dropFirst(3 * target.rowBytes)))
                }
            }
        }
        XCTAssertNil(store.longest(of: [7]))
    }

    /// The limit holds, what was used longest ago goes first, and the beginning of a kept prompt is not kept twice.
    func testLimit() throws {
        let source = try cache(1)
        let perToken = KVCache.bytes(source.geometry, type: .f16, capacity: 1)
        let store = PromptStore(limit: 10 * perToken)
        store.keep([1, 2, 3], of: source)
        store.keep([4, 5, 6], of: source)
        store.keep([1, 2, 3, 4], of: source)
        XCTAssertEqual(store.entries.map(\.tokens), [[4, 5, 6], [1, 2, 3, 4]])
        XCTAssertEqual(store.bytes, 7 * perToken)
        store.keep([1, 2], of: source)
        XCTAssertEqual(store.entries.map(\.tokens), [[4, 5, 6], [1, 2, 3, 4]])
        // Using an entry saves it from going first.
        store.restore(store.entries[0], count: 3, into: source)
        store.keep([7, 8, 9, 10], of: source)
        XCTAssertEqual(store.entries.map(\.tokens), [[4, 5, 6], [7, 8, 9, 10]])
        store.keep(Array(0..<11), of: source)
        XCTAssertEqual(store.entries.map(\.tokens), [[4, 5, 6], [7, 8, 9, 10]])
    }

    /// Where the machine has less than the limit allows, earlier prompts go, and what does not fit is not kept.
    func testLittleMemory() throws {
        let source = try cache(1)
        let perToken = KVCache.bytes(source.geometry, type: .f16, capacity: 1)
        nonisolated(unsafe) var free: Int? = nil
        let store = PromptStore(limit: .max, available: { free })
        store.keep([1, 2, 3], of: source)
        store.keep([4, 5, 6], of: source)
        XCTAssertEqual(store.entries.count, 2)
        free = 16 << 20 + 2 * perToken
        store.keep([7, 8], of: source)
        XCTAssertEqual(store.entries.map(\.tokens), [[1, 2, 3], [4, 5, 6], [7, 8]])
        // Nothing comes back by letting go of what there is.
        store.keep([7, 8, 9], of: source)
        XCTAssertEqual(store.entries.count, 0)
    }

    // MARK: Files

    func testFile() throws {
        let folder = NSTemporaryDirectory() + "kvcpu-prompts-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let source = try cache(3)
        let file = PromptFile(path: folder + "/p.kv", origin: PromptOrigin(try model(), packed: nil, source, context: 32))
        XCTAssertNil(try file.load(limit: 32))
        try file.save([3, 1, 4, 1, 5], of: source)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder), ["p.kv"])
        let entry = try XCTUnwrap(try file.load(limit: 32))
        XCTAssertEqual(entry.tokens, [3, 1, 4, 1, 5])
        let target = try cache(4)
        PromptStore(limit: 0).restore(entry, count: 5, into: target)
        XCTAssertEqual(rows(target, 5), rows(source, 5))

        func refused(_ file: PromptFile, _ part: String, limit: Int = 32, line: UInt = #line) {
            XCTAssertThrowsError(try file.load(limit: limit), line: line) { error in
                XCTAssertTrue("\(error)".contains(part) && "\(error)".contains(file.path), "\(error)", line: line)
            }
        }
        refused(file, "context holds 4", limit: 4)
        var other = file.origin
        other.weights = "n"
        refused(PromptFile(path: file.path, origin: other), "of weights \(file.origin.weights.prefix(16))…, not n")
        other = file.origin
        other.cache = "f32"
        refused(PromptFile(path: file.path, origin: other), "cache type")
        // Every byte counts: whichever is changed, or missing, the file is refused.
        let whole = try Data(contentsOf: URL(fileURLWithPath: file.path))
        for offset in stride(from: 0, to: whole.count, by: 61) {
            var damaged = whole
            damaged[offset] ^= 0x10
            try damaged.write(to: URL(fileURLWithPath: file.path))
            XCTAssertThrowsError(try file.load(limit: 32), "offset \(offset)")
        }
        for count in [0, 7, 20, whole.count / 2, whole.count - 1] {
            try whole.prefix(count).write(to: URL(fileURLWithPath: file.path))
            XCTAssertThrowsError(try file.load(limit: 32), "\(count) bytes")
        }
        XCTAssertThrowsError(try PromptFile(path: folder + "/absent/p.kv", origin: file.origin).save([1], of: source))
    }
}
