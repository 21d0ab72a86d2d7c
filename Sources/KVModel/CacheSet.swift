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
    /// The prompt's length, then what each cache holds of it.
    private let held: UnsafeMutablePointer<Int>
    /// Where `held` lies; nil: in memory of its own.
    private let region: Region?

    /// - Parameters:
    ///   - caches: at least one, all of one shape.
    ///   - readers: of each; a cache may have none.
    ///   - region: of at least ``bytes(caches:)``, zeroed, for workers of several processes.
    package init(_ caches: [KVCache], readers: [Int], in region: Region? = nil) {
        self.caches = caches
        self.readers = readers
        self.region = region
        workers = readers.reduce(0, +)
        if let region {
            held = region.base.bindMemory(to: Int.self, capacity: caches.count + 1)
        } else {
            held = .allocate(capacity: caches.count + 1)
            held.initialize(repeating: 0, count: caches.count + 1)
        }
    }

    deinit {
        if region == nil { held.deallocate() }
    }

    /// What it takes of memory that processes share.
    package static func bytes(caches: Int) -> Int { (caches + 1) * MemoryLayout<Int>.stride }

    private var prompt: Int { held[0] }
    private func held(_ cache: Int) -> Int { held[1 + cache] }

    /// A team's only one.
    package convenience init(_ cache: KVCache, readers: Int) { self.init([cache], readers: [readers]) }

    /// Tells of a prompt's rows: up to which position each rank's cache has them. At least one has all; an only one holds what any rank does.
    package func hold(_ rows: [Int], of prompt: Int) {
        held[0] = prompt
        for index in caches.indices { held[1 + index] = caches.count == 1 ? prompt : rows[index] }
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
        func end(_ cache: Int) -> Int { held(cache) >= prompt ? border : min(border, held(cache) / size) }
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
