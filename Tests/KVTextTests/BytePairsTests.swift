import KVTestSupport
import XCTest

import KVText

/// Merging against a plain restatement of the rule: find the lowest rank, leftmost, merge it, start over.
final class BytePairsTests: XCTestCase {
    /// A toy encoding over the letters a…h, "x" being a byte without a token.
    private struct Toy {
        var names: [[UInt8]] = []
        var merges: [(left: Int, right: Int, merged: Int)] = []
        let pairs: BytePairs

        init(mergeCount: Int, random: inout SplitMix) {
            names = (0..<8).map { [UInt8(97 + $0)] }
            while merges.count < mergeCount {
                let left = Int(random.next() % UInt64(names.count))
                let right = Int(random.next() % UInt64(names.count))
                if merges.contains(where: { $0.left == left && $0.right == right }) { continue }
                let name = names[left] + names[right]
                // Tokens that several merges make are shared, as in real vocabularies.
                let merged = names.firstIndex(of: name) ?? names.count
                if merged == names.count { names.append(name) }
                merges.append((left, right, merged))
            }
            var table = MergeTable(capacity: merges.count)
            for (rank, merge) in merges.enumerated() {
                table.insert(
                    Int32(merge.left), Int32(merge.right), rank: UInt32(rank), merged: Int32(merge.merged))
            }
            let names = self.names
            pairs = BytePairs(
                merges: table, byteIDs: (0..<256).map { Int32(names.firstIndex(of: [UInt8($0)]) ?? -1) })
        }

        func reference(_ piece: [UInt8]) -> [Int32] {
            var ids = piece.compactMap { names.firstIndex(of: [$0]) }
            while true {
                var best: (rank: Int, at: Int)?
                for at in ids.indices.dropLast() {
                    let rank = merges.firstIndex { $0.left == ids[at] && $0.right == ids[at + 1] }
                    if let rank, rank < best?.rank ?? .max { best = (rank, at) }
                }
                guard let best else { return ids.map { Int32($0) } }
                ids[best.at] = merges[best.rank].merged
                ids.remove(at: best.at + 1)
            }
        }

        func encode(_ piece: [UInt8]) -> [Int32] {
            var output: [Int32] = []
            var scratch = BytePairs.Scratch()
            piece.withUnsafeBufferPointer { pairs.encode($0, into: &output, &scratch) }
            return output
        }
    }

    func testAgainstRestatement() {
        var random = SplitMix(state: 7)
        for letters in [1, 2, 3, 9] {
            let toy = Toy(mergeCount: 40, random: &random)
            for round in 0..<60 {
                // Both ways to merge, and the border between them.
                let count = [1, 2, 5, BytePairs.scanLimit, BytePairs.scanLimit + 1, 90][round % 6]
                let piece = (0..<count).map { _ -> UInt8 in
                    let letter = UInt8(random.next() % UInt64(letters))
                    return letter == 8 ? UInt8(ascii: "x") : 97 + letter
                }
                XCTAssertEqual(toy.encode(piece), toy.reference(piece), String(decoding: piece, as: UTF8.self))
            }
        }
    }

    func testHeapIsOrdered() {
        var random = SplitMix(state: 3)
        var heap = RankHeap()
        var expected: [UInt64] = []
        for index in 0..<500 {
            let rank = UInt32(truncatingIfNeeded: random.next() % 40)
            let place = Int(random.next() % 1000)
            expected.append(UInt64(rank) << 32 | UInt64(place))
            if index < 250 {
                heap.appendUnordered(rank: rank, at: place)
                if index == 249 { heap.heapify() }
            } else {
                heap.push(rank: rank, at: place)
            }
        }
        for entry in expected.sorted() {
            let lowest = heap.popLowest()
            XCTAssertEqual(lowest.map { UInt64($0.rank) << 32 | UInt64($0.at) }, entry)
        }
        XCTAssertNil(heap.popLowest())
    }
}

/// A small seeded generator, so that a failure repeats.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
