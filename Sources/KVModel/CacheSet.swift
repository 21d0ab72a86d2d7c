import CKVKernels

/// The KV-caches that a team reads and writes: one, or each rank's own, which its workers read where they are near.
///
/// Every cache holds all rows from the prompt's end on, and of the prompt as many as its rank held when that was done.
package final class CacheSet: @unchecked Sendable {
    // `hold` writes between runs; the workers only read during one.
    package let caches: [KVCache]
    /// Workers of the team that read each.
    package let readers: [Int]
    private let workers: Int
    private var held: [Int]
    private var prompt = 0

    /// - Parameters:
    ///   - caches: at least one, all of one shape.
    ///   - readers: of each; a cache may have none.
    package init(_ caches: [KVCache], readers: [Int]) {
        self.caches = caches
        self.readers = readers
        workers = readers.reduce(0, +)
        held = caches.map { _ in 0 }
    }

    /// A team's only one.
    package convenience init(_ cache: KVCache, readers: Int) { self.init([cache], readers: [readers]) }

    /// Tells of a prompt's rows: from 0 to which each cache has them. At least one has all.
    package func hold(_ rows: [Int], of prompt: Int) {
        self.prompt = prompt
        for index in held.indices { held[index] = rows[index] }
    }

    /// A cache's key blocks of one token's attention: some of the prompt's, and some of those after.
    package struct Part {
        package var early = 0..<0
        package var late = 0..<0
        package init() {}
        package var count: Int { early.count + late.count }
    }

    /// Shares key blocks out: to each cache a run of the prompt's blocks, those of later ranks behind those of earlier ones, and a run of the
    /// later blocks, as its readers are many; no block that a cache does not hold in full.
    /// - Returns: true where some readers would have far more to do than others, so that all should take part in everything.
    package func part(_ blocks: Range<Int>, into parts: inout [Part]) -> Bool {
        if caches.count == 1 {
            parts[0].early = blocks
            parts[0].late = blocks.upperBound..<blocks.upperBound
            return false
        }
        let size = Int(CKV_KEYS)
        let border = min(max((prompt + size - 1) / size, blocks.lowerBound), blocks.upperBound)
        let all = border - blocks.lowerBound
        func end(_ cache: Int) -> Int { held[cache] >= prompt ? border : min(border, held[cache] / size) }
        // The last that holds the whole prompt takes what is left.
        let last = parts.indices.last { end($0) == border } ?? 0
        var readersSoFar = 0
        var next = blocks.lowerBound
        var isLopsided = false
        for index in parts.indices {
            let before = readersSoFar
            readersSoFar += readers[index]
            let fair = blocks.lowerBound + all * readersSoFar / max(1, workers)
            let stop = index > last ? next : index == last ? border : max(next, min(fair, end(index)))
            let rest = blocks.upperBound - border
            parts[index].early = next..<stop
            parts[index].late = border + rest * before / max(1, workers)..<border + rest * readersSoFar / max(1, workers)
            next = stop
            // More than one and a half times its share.
            if 2 * parts[index].count * workers > 3 * blocks.count * readers[index] { isLopsided = true }
        }
        return isLopsided
    }
}
