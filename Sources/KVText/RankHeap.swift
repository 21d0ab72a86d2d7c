/// A binary min-heap of (rank, place) packed in one integer each: lowest rank first, of equal ranks the leftmost.
package struct RankHeap: Sendable {
    package init() {}

    private var entries: [UInt64] = []

    package var byteCount: Int { entries.capacity * 8 }

    package mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
    }

    /// Adds without keeping the order; `heapify` before the next `popLowest`.
    package mutating func appendUnordered(rank: UInt32, at place: Int) {
        entries.append(UInt64(rank) << 32 | UInt64(UInt32(truncatingIfNeeded: place)))
    }

    /// O(n).
    package mutating func heapify() {
        for index in stride(from: entries.count / 2 - 1, through: 0, by: -1) { sink(index) }
    }

    package mutating func push(rank: UInt32, at place: Int) {
        appendUnordered(rank: rank, at: place)
        entries.withUnsafeMutableBufferPointer { entries in
            var index = entries.count - 1
            let entry = entries[index]
            while index > 0, entries[(index - 1) / 2] > entry {
                entries[index] = entries[(index - 1) / 2]
                index = (index - 1) / 2
            }
            entries[index] = entry
        }
    }

    package mutating func popLowest() -> (rank: UInt32, at: Int)? {
        guard let lowest = entries.first, let last = entries.popLast() else { return nil }
        if !entries.isEmpty {
            entries[0] = last
            sink(0)
        }
        return (UInt32(truncatingIfNeeded: lowest >> 32), Int(UInt32(truncatingIfNeeded: lowest)))
    }

    private mutating func sink(_ start: Int) {
        entries.withUnsafeMutableBufferPointer { entries in
            var index = start
            let entry = entries[index]
            while true {
                var child = 2 * index + 1
                guard child < entries.count else { break }
                if child + 1 < entries.count, entries[child + 1] < entries[child] { child += 1 }
                guard entries[child] < entry else { break }
                entries[index] = entries[child]
                index = child
            }
            entries[index] = entry
        }
    }
}
