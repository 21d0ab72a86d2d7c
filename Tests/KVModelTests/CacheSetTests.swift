import KVGGUF
import KVTestSupport
import XCTest

import KVModel

/// How key blocks are shared out among caches: all of them, each once, none to a cache that lacks a row of it.
final class CacheSetTests: XCTestCase {
    private func set(_ readers: [Int]) throws -> CacheSet {
        let file = try Synthetic(parsing: "llama-7b,layers=1,width=64,heads=2,ffn=64,vocab=64,type=f32").header()
        let model = try Model(file, kernels: try Kernels.choose(), activations: .int8)
        let caches = try readers.map { _ in try KVCache(model.geometry, type: .f16, capacity: 128) }
        return CacheSet(caches, readers: readers)
    }

    private func parts(_ set: CacheSet, _ blocks: Range<Int>) -> (parts: [CacheSet.Part], isLopsided: Bool) {
        var parts = set.caches.map { _ in CacheSet.Part() }
        let isLopsided = set.part(blocks, into: &parts)
        return (parts, isLopsided)
    }

    func testEvenChunks() throws {
        let set = try set([2, 2])
        set.hold([1024, 2048], of: 2048)
        var (parts, isLopsided) = parts(set, 0..<16)
        XCTAssertEqual(parts.map(\.early), [0..<8, 8..<16])
        XCTAssertFalse(isLopsided)
        // Rows decoded since are everywhere.
        (parts, isLopsided) = self.parts(set, 0..<24)
        XCTAssertEqual(parts.map(\.early), [0..<8, 8..<16])
        XCTAssertEqual(parts.map(\.late), [16..<20, 20..<24])
        XCTAssertFalse(isLopsided)
        // A window that has left the first chunk.
        (parts, isLopsided) = self.parts(set, 12..<24)
        XCTAssertEqual(parts.map(\.early), [12..<12, 12..<16])
        XCTAssertEqual(parts.map(\.count), [4, 8])
    }

    func testWhatIsNotHeldIsLeftToOthers() throws {
        let set = try set([1, 1, 1])
        // The first rank's chunk ends within block 1, the second rank has none.
        set.hold([200, 0, 1000], of: 1000)
        let (parts, isLopsided) = parts(set, 0..<8)
        XCTAssertEqual(parts.map(\.early), [0..<1, 1..<1, 1..<8])
        XCTAssertTrue(isLopsided)
    }

    /// The rank that holds all has no worker in the team: others must help.
    func testReadersOfNothing() throws {
        let set = try set([1, 1, 0])
        set.hold([0, 0, 500], of: 500)
        let (parts, isLopsided) = parts(set, 0..<4)
        XCTAssertEqual(parts.map(\.count), [0, 0, 4])
        XCTAssertTrue(isLopsided)
    }

    func testRandomly() throws {
        var random = Congruential(state: 3)
        for _ in 0..<500 {
            let count = Int.random(in: 1...5, using: &random)
            var readers = (0..<count).map { _ in Int.random(in: 0...3, using: &random) }
            if readers.allSatisfy({ $0 == 0 }) { readers[0] = 1 }
            let set = try set(readers)
            let prompt = Int.random(in: 0...2000, using: &random)
            var held = (0..<count).map { _ in Int.random(in: 0...prompt, using: &random) }
            held[Int.random(in: 0..<count, using: &random)] = prompt
            set.hold(held, of: prompt)
            let position = prompt + Int.random(in: 0...600, using: &random)
            let last = position / 128 + 1
            let blocks = Int.random(in: 0..<last, using: &random)..<last
            let (parts, isLopsided) = parts(set, blocks)
            var seen: [Int] = []
            for (cache, part) in parts.enumerated() {
                for block in Array(part.early) + Array(part.late) {
                    seen.append(block)
                    // Every row of it below the prompt's end is held; later ones are everywhere.
                    XCTAssertTrue(
                        count == 1 || held[cache] >= min((block + 1) * 128, prompt) || block * 128 >= prompt, "\(held) \(block)")
                }
                if readers[cache] == 0, part.count > 0, count > 1 { XCTAssertTrue(isLopsided) }
            }
            XCTAssertEqual(seen.sorted(), Array(blocks))
        }
    }
}

/// Knuth's MMIX generator, its upper half twice.
private struct Congruential: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        func step() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state >> 32
        }
        return step() << 32 | step()
    }
}
