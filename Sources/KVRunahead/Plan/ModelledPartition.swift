extension Pipeline {
    /// Tokens that long chunks' sizes are multiples of: of every kernel's tile of rows.
    package static let tile = 12

    /// Chunk sizes with the least simulated time (KVR-M): the closed form's balance, rounded, then improved by local descent.
    ///
    /// They cover the prompt, do not grow from rank to rank, and are never simulated slower than even ones.
    /// - Complexity: some hundred simulations, fewer with many ranks.
    package func modelled(_ tokens: Int, ranks: Int) -> [Int] {
        let even = Partition.even(tokens, ranks: ranks)
        guard tokens > ranks, ranks > 1, costs.isSensible else { return even }
        let balanced = costs.model.balanced(Double(tokens), ranks: ranks)
        // Where a tile is less than a hundredth of a chunk.
        let tile = tokens >= 64 * Self.tile * ranks ? Self.tile : 1
        var best = even
        var least = run(.runahead, even).seconds
        if let candidate = Self.rounded(balanced, tokens, tile: tile) {
            let seconds = run(.runahead, candidate).seconds
            if seconds < least { (best, least) = (candidate, seconds) }
        }
        // About as much work for many ranks as for few: a simulation costs ranks × layers.
        var evaluations = max(24, min(400, 200_000 / max(1, ranks * costs.layers)))
        Descent(stride: tokens / ranks / 4, tile: tile).improve(&best) { candidate in
            guard evaluations > 0, zip(candidate, candidate.dropFirst()).allSatisfy({ $0 >= $1 }) else { return nil }
            evaluations -= 1
            let seconds = run(.runahead, candidate).seconds
            guard seconds < least * (1 - 1e-6) else { return false }
            least = seconds
            return true
        }
        return best
    }

    /// Whole tiles that do not grow from rank to rank; what is left of a tile goes to the last rank, or the first.
    static func rounded(_ sizes: [Double], _ tokens: Int, tile: Int) -> [Int]? {
        // Costs of a damaged table may give anything.
        guard sizes.allSatisfy({ $0 >= 0 && $0 <= Double(tokens) }) else { return nil }
        var whole = sizes.map { Int($0) / tile * tile }
        let left = tokens - whole.reduce(0, +)
        guard left >= 0, left / tile <= whole.count else { return nil }
        for rank in 0..<min(whole.count, left / tile) { whole[rank] += tile }
        let odd = left % tile
        let last = whole.count - 1
        if last > 0, whole[last] + odd > whole[last - 1] { whole[0] += odd } else { whole[last] += odd }
        return whole
    }
}

/// Local descent over the cuts of a prompt, coarse to fine.
package struct Descent {
    package var stride: Int
    package var tile: Int

    package init(stride: Int, tile: Int) {
        self.stride = stride
        self.tile = max(1, tile)
    }

    /// From the coarsest to one tile.
    package var strides: [Int] {
        var strides: [Int] = []
        var stride = max(1, stride / tile) * tile
        while stride >= tile {
            strides.append(stride)
            if stride == tile { break }
            stride = max(tile, stride / 2 / tile * tile)
        }
        return strides
    }

    /// - Parameter accepts: whether a candidate is better than the best so far, which it then is; nil: not tried.
    package func improve<E: Error>(_ sizes: inout [Int], accepts: ([Int]) throws(E) -> Bool?) throws(E) {
        for stride in strides {
            // While something improves, but not for ever: a noisy judge could go round in circles.
            for _ in 0..<8 {
                var improved = false
                for change in Self.changes(sizes.count, stride, tile) {
                    while true {
                        let candidate = zip(sizes, change).map { $0 + $1 }
                        guard candidate.allSatisfy({ $0 >= 0 }), try accepts(candidate) == true else { break }
                        sizes = candidate
                        improved = true
                    }
                }
                if !improved { break }
            }
        }
    }

    /// What a step adds to each rank's tokens: one rank gives to another, neighbours first (all others only among few ranks); or the ranks
    /// after a cut give to all before it, or the other way round, for where several are the slowest alike.
    private static func changes(_ ranks: Int, _ stride: Int, _ tile: Int) -> [[Int]] {
        var changes: [[Int]] = []
        for distance in 1..<max(2, ranks <= 8 ? ranks : 2) {
            for rank in 0..<max(0, ranks - distance) {
                var change = [Int](repeating: 0, count: ranks)
                change[rank] = stride
                change[rank + distance] = -stride
                changes += [change, change.map { -$0 }]
            }
        }
        for cut in 1..<max(1, ranks) where ranks > 2 && ranks <= 16 {
            let given = stride * (ranks - cut)
            var change = (0..<ranks).map { $0 < cut ? given / cut / tile * tile : -stride }
            change[0] -= change.reduce(0, +)
            changes += [change, change.map { -$0 }]
        }
        return changes
    }
}
