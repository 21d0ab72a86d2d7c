/// Byte-pair encoding of one piece: the pair of lowest rank, leftmost first, is merged until no pair merges. What a piece
/// begins as (bytes, or characters) is up to the caller; an id that no merge names stays as it is.
///
/// Pieces of a few bytes (nearly all) rescan a short row; longer ones keep a heap of pairs over a linked list, so a
/// megabyte without a space costs n log n. Both give the same ids.
package struct BytePairs: Sendable {
    private let merges: MergeTable
    /// Token of each single byte, `-1` where the vocabulary has none.
    private let byteIDs: [Int32]

    /// Pieces of at most so many bytes rescan.
    package static let scanLimit = 32

    /// Memory that a call works in, kept between calls.
    package struct Scratch: Sendable {
        package init() {}

        fileprivate var ids: [Int32] = []
        fileprivate var ranks: [UInt32] = []
        fileprivate var merged: [Int32] = []
        fileprivate var next: [Int32] = []
        fileprivate var previous: [Int32] = []
        fileprivate var heap = RankHeap()

        /// Bytes held, so that the owner can let go of what one enormous piece left behind.
        var byteCount: Int { ids.capacity * 20 + heap.byteCount }
    }

    /// - Parameter byteIDs: the token of each byte, for `encode(_:into:_:)`.
    package init(merges: MergeTable, byteIDs: [Int32]) {
        self.merges = merges
        self.byteIDs = byteIDs
    }

    /// Appends the ids of `piece`. Bytes without a token of their own are left out before anything merges, as in the
    /// tokenizers the models were trained with.
    package func encode(_ piece: UnsafeBufferPointer<UInt8>, into output: inout [Int32], _ scratch: inout Scratch) {
        guard piece.count <= Self.scanLimit else {
            scratch.ids.removeAll(keepingCapacity: true)
            for byte in piece where byteIDs[Int(byte)] >= 0 { scratch.ids.append(byteIDs[Int(byte)]) }
            return sift(into: &output, &scratch)
        }
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: Self.scanLimit) { ids in
            var count = 0
            for byte in piece where byteIDs[Int(byte)] >= 0 {
                ids[count] = byteIDs[Int(byte)]
                count += 1
            }
            scan(ids, count, into: &output)
        }
    }

    /// Appends what becomes of a piece that begins as `symbols`.
    package func encode(symbols: [Int32], into output: inout [Int32], _ scratch: inout Scratch) {
        guard symbols.count <= Self.scanLimit else {
            scratch.ids.removeAll(keepingCapacity: true)
            scratch.ids.append(contentsOf: symbols)
            return sift(into: &output, &scratch)
        }
        withUnsafeTemporaryAllocation(of: Int32.self, capacity: Self.scanLimit) { ids in
            for index in symbols.indices { ids[index] = symbols[index] }
            scan(ids, symbols.count, into: &output)
        }
    }

    /// O(n²) with a tiny constant, on the stack.
    private func scan(_ ids: UnsafeMutableBufferPointer<Int32>, _ count: Int, into output: inout [Int32]) {
        withUnsafeTemporaryAllocation(of: MergeTable.Merge.self, capacity: Self.scanLimit) { pairs in
            let left = fold(count, ids, pairs)
            for index in 0..<left { output.append(ids[index]) }
        }
    }

    /// Merges the first `symbols` of `ids` in place; `pairs[i]` is the merge of `ids[i]` with `ids[i + 1]`.
    /// - Returns: how many ids are left.
    private func fold(
        _ symbols: Int, _ ids: UnsafeMutableBufferPointer<Int32>, _ pairs: UnsafeMutableBufferPointer<MergeTable.Merge>
    ) -> Int {
        var count = symbols
        guard count > 1 else { return count }
        for index in 0..<count - 1 { pairs[index] = merges.merge(ids[index], ids[index + 1]) }
        while count > 1 {
            var best = 0
            for index in 1..<max(1, count - 1) where pairs[index].rank < pairs[best].rank { best = index }
            guard pairs[best].rank != MergeTable.Merge.none else { break }
            ids[best] = pairs[best].merged
            count -= 1
            for index in best + 1..<max(best + 1, count) {
                ids[index] = ids[index + 1]
                pairs[index - 1] = pairs[index]
            }
            if best + 1 < count { pairs[best] = merges.merge(ids[best], ids[best + 1]) }
            if best > 0 { pairs[best - 1] = merges.merge(ids[best - 1], ids[best]) }
        }
        return count
    }

    /// O(n log n): symbols in a linked list, mergeable pairs in a heap ordered by rank, then by place.
    private func sift(into output: inout [Int32], _ scratch: inout Scratch) {
        let count = link(&scratch)
        scratch.heap.heapify()
        while let (rank, at) = scratch.heap.popLowest() {
            // A pair that changed since it was pushed has another rank now (or none); its own entry follows later.
            guard scratch.ranks[at] == rank else { continue }
            let right = Int(scratch.next[at])
            let after = Int(scratch.next[right])
            scratch.ids[at] = scratch.merged[at]
            scratch.next[at] = Int32(truncatingIfNeeded: after)
            scratch.ranks[right] = MergeTable.Merge.none
            if after < count { scratch.previous[after] = Int32(truncatingIfNeeded: at) }
            pair(at, with: after, count, &scratch)
            if scratch.previous[at] >= 0 { pair(Int(scratch.previous[at]), with: at, count, &scratch) }
        }
        var at = 0
        while at < count {
            output.append(scratch.ids[at])
            at = Int(scratch.next[at])
        }
    }

    /// Looks up the pair that begins at symbol `at` and pushes it where it merges.
    private func pair(_ at: Int, with right: Int, _ count: Int, _ scratch: inout Scratch) {
        guard right < count else {
            scratch.ranks[at] = MergeTable.Merge.none
            return
        }
        let merge = merges.merge(scratch.ids[at], scratch.ids[right])
        scratch.ranks[at] = merge.rank
        scratch.merged[at] = merge.merged
        if merge.rank != MergeTable.Merge.none { scratch.heap.push(rank: merge.rank, at: at) }
    }

    /// Links `scratch.ids` into a list and fills the heap, unordered, with their pairs.
    /// - Returns: how many symbols there are.
    private func link(_ scratch: inout Scratch) -> Int {
        let count = scratch.ids.count
        scratch.next.removeAll(keepingCapacity: true)
        scratch.next.append(contentsOf: (0..<count).lazy.map { Int32(truncatingIfNeeded: $0 + 1) })
        scratch.previous.removeAll(keepingCapacity: true)
        scratch.previous.append(contentsOf: (0..<count).lazy.map { Int32(truncatingIfNeeded: $0 - 1) })
        scratch.ranks.removeAll(keepingCapacity: true)
        scratch.merged.removeAll(keepingCapacity: true)
        scratch.heap.removeAll()
        for at in 0..<count {
            let merge =
                at + 1 < count
                ? merges.merge(scratch.ids[at], scratch.ids[at + 1]) : .init(rank: MergeTable.Merge.none, merged: -1)
            scratch.ranks.append(merge.rank)
            scratch.merged.append(merge.merged)
            if merge.rank != MergeTable.Merge.none { scratch.heap.appendUnordered(rank: merge.rank, at: at) }
        }
        return count
    }
}
