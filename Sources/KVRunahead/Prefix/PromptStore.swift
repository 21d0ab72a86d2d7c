import KVFabric
package import KVModel

/// Keys and values of earlier prompts, in bounded memory; the least recently used go first.
package final class PromptStore {
    /// One prompt's rows: [layer][keys, values][position, key/value head, head dimension], as a cache holds them.
    package final class Entry {
        package let tokens: [Int32]
        let rows: Region

        /// - Throws: `ModelError` when there is no memory.
        init(_ tokens: [Int32], bytes: Int) throws(ModelError) {
            self.tokens = tokens
            rows = try Region(reserving: bytes, for: "an earlier prompt's keys and values")
        }

        package var bytes: Int { rows.bytes }
    }

    /// Bytes that all entries may take together.
    package let limit: Int
    /// The most recently used last.
    package private(set) var entries: [Entry] = []

    /// Bytes that can still be had, as of now; nil: nobody knows.
    private let available: () -> Int?
    /// What is left to the rest of the program and the machine.
    private static let margin = 16 << 20

    package init(limit: Int, available: @escaping () -> Int? = { AvailableMemory.bytes() }) {
        self.limit = limit
        self.available = available
    }

    /// Makes room: entries go as long as the limit or the memory at hand is too small.
    /// - Returns: whether there is room.
    private func makeRoom(for bytes: Int) -> Bool {
        while !entries.isEmpty, bytes > limit - self.bytes { entries.removeFirst() }
        while let free = available(), bytes > free - Self.margin {
            if entries.isEmpty { return false }
            entries.removeFirst()
        }
        return true
    }

    package var bytes: Int { entries.reduce(0) { $0 + $1.bytes } }

    /// The entry with the longest common beginning; nil where none has any.
    package func longest(of tokens: [Int32]) -> (entry: Entry, common: Int)? {
        let candidates = entries.map { (entry: $0, common: Self.common($0.tokens, tokens)) }
        guard let best = candidates.max(by: { $0.common < $1.common }), best.common > 0 else { return nil }
        return best
    }

    /// Tokens that two prompts begin with alike.
    package static func common(_ a: [Int32], _ b: [Int32]) -> Int {
        zip(a, b).enumerated().first { $1.0 != $1.1 }?.offset ?? min(a.count, b.count)
    }

    /// Whether so many positions would be kept.
    func hasRoom(for positions: Int, of cache: KVCache) -> Bool {
        positions > 0 && Self.bytes(cache, positions) <= limit
    }

    /// Keeps the rows of positions 0 ..< tokens.count; what is the beginning of it goes, and what was used longest ago where it gets too much.
    /// Where it is too large by itself, or there is no memory, it is not kept.
    /// - Complexity: one copy of the rows.
    package func keep(_ tokens: [Int32], of cache: KVCache) {
        guard hasRoom(for: tokens.count, of: cache) else { return }
        let bytes = Self.bytes(cache, tokens.count)
        if let same = entries.firstIndex(where: { $0.tokens.starts(with: tokens) }) { return use(same) }
        entries.removeAll { tokens.starts(with: $0.tokens) }
        guard makeRoom(for: bytes), let entry = try? Entry(tokens, bytes: bytes) else { return }
        cache.forEachPart(tokens.count) { index, part in
            UnsafeMutableRawBufferPointer(start: entry.rows.base + index * part.count, count: part.count)
                .copyMemory(from: UnsafeRawBufferPointer(part))
        }
        entries.append(entry)
    }

    /// Puts an entry that somebody wants to have, and whose memory is taken, beside the others, even where it alone is beyond the limit.
    func add(_ entry: Entry) {
        while !entries.isEmpty, entry.bytes > limit - bytes { entries.removeFirst() }
        entries.append(entry)
    }

    /// Writes an entry's first `count` positions into a cache.
    package func restore(_ entry: Entry, count: Int, into cache: KVCache) {
        let stored = entry.tokens.count * cache.rowBytes
        cache.forEachPart(count) { index, part in
            part.copyMemory(from: UnsafeRawBufferPointer(start: entry.rows.base + index * stored, count: part.count))
        }
        if let index = entries.firstIndex(where: { $0 === entry }) { use(index) }
    }

    static func bytes(_ cache: KVCache, _ positions: Int) -> Int {
        KVCache.bytes(cache.geometry, type: cache.type, capacity: positions)
    }

    private func use(_ index: Int) { entries.append(entries.remove(at: index)) }
}
