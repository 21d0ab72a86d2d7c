import CKVKernels
import Synchronization

/// Attention: units of (key/value head, query tokens) handed out as workers become free; for a single token, units of (key/value
/// head, key blocks) and a merge. Both give the same bits (see ckv_kernels.h).
extension CPUOperations {
    package func attend(layer: Int) throws(Stopped) { try attend(layer: layer, window: geometry.window(layer)) }

    /// With a `window`, a token sees that many keys, its own the last of them; with 0 all up to its own.
    package func attend(layer: Int, window: Int) throws(Stopped) {
        try enter(.whole, reads: [.init(.query), .cache], writes: .init(.attended))
        if worker == 0, let recorder { recorder.record(job.work(piece, window: window), layer: layer) }
        // By blocks only what the token sees is computed.
        let isWhole = !job.isDense || job.positions[piece.lowerBound] + 1 == job.keys
        if piece.count == 1, isWhole { return try attendOne(layer, window) }
        attendMany(layer, window)
        try quantiseUnfinished()
    }

    /// Where a unit's columns are no whole blocks, the tokens' owners quantise once all units are done.
    private func quantiseUnfinished() throws(Stopped) {
        guard arena[.attended].values != nil, !unitsAreBlocks else { return }
        try enter(.tokens, reads: .init(.attended), writes: .init(.attended))
        for token in share(piece.count) { quantise(.attended, piece.lowerBound + token) }
    }

    private var unitsAreBlocks: Bool { geometry.group * geometry.headDimension % Int(CKV_BLOCK) == 0 }

    private func attendMany(_ layer: Int, _ window: Int) {
        // A unit's tokens follow each other: no unit has tokens of both runs of positions.
        let size = arena.unitTokens
        let cut = min(max(job.positions.first.count, piece.lowerBound), piece.upperBound)
        let early = (cut - piece.lowerBound + size - 1) / size
        let tiles = early + (piece.upperBound - cut + size - 1) / size
        let units = tiles * geometry.keyValueHeads
        // Later tokens see more keys: they go first, so that the last units handed out are small.
        while let unit = draw(units) {
            let tile = tiles - 1 - unit / geometry.keyValueHeads
            let head = unit % geometry.keyValueHeads
            let first = tile < early ? piece.lowerBound + tile * size : cut + (tile - early) * size
            let tokens = first..<min(first + size, tile < early ? cut : piece.upperBound)
            var unit = arguments(layer, window, head, tokens, cache)
            table.pointee.attention(&unit)
            finish(head, tokens)
        }
        drawn[0] += units + workers
    }

    private func attendOne(_ layer: Int, _ window: Int) throws(Stopped) {
        let token = piece.lowerBound
        let position = job.positions[token]
        // A token sees the same keys for every head.
        var sight = arguments(layer, window, 0, token..<token + 1, cache)
        let blocks = ckv_first_block(&sight)..<position / Int(CKV_KEYS) + 1
        let heads = geometry.keyValueHeads
        let partial = geometry.headDimension + 2
        let together = headsTogether(blocks.count)
        let sets = (heads + together - 1) / together
        // A worker takes units of the cache near it; of the others too, where the work is not even.
        let isLopsided = caches.part(blocks, into: &parts)
        for turn in caches.caches.indices {
            let owner = (home + turn) % parts.count
            let drawers = isLopsided ? workers : caches.readers[owner]
            // As many units as keep all workers busy, each a run of blocks of some heads.
            let runs = min(parts[owner].count, max(1, (2 * drawers + sets - 1) / sets))
            while turn == 0 || isLopsided, let unit = draw(sets * runs, of: owner) {
                let set = unit / runs * together..<min(heads, (unit / runs + 1) * together)
                attendOne(layer, window, set, unit % runs, of: runs, owner)
            }
            drawn[owner] += sets * runs + drawers
        }
        if workers > 1 { try team.synchronise(worker: worker) }
        // Few partial results are merged by every worker for itself, which costs less than waiting for each other once more.
        if blocks.count * geometry.heads * partial <= 1 << 14 {
            replicated.insert(.init(.attended))
            for head in 0..<heads { merge(head, blocks) }
            quantise(.attended, token)
            return
        }
        for head in share(heads) {
            merge(head, blocks)
            finish(head, token..<token + 1)
        }
        try quantiseUnfinished()
    }

    /// Some heads' part of one token's attention: a run of a cache's blocks.
    private func attendOne(_ layer: Int, _ window: Int, _ heads: Range<Int>, _ run: Int, of runs: Int, _ owner: Int) {
        let part = parts[owner]
        let first = part.count * run / runs
        let last = part.count * (run + 1) / runs
        let early = part.early.lowerBound + first..<part.early.lowerBound + last
        let late = part.late.lowerBound + first - part.early.count..<part.late.lowerBound + last - part.early.count
        attendOne(layer, window, heads, early.clamped(to: part.early), caches.caches[owner])
        attendOne(layer, window, heads, late.clamped(to: part.late), caches.caches[owner])
    }

    private func attendOne(_ layer: Int, _ window: Int, _ heads: Range<Int>, _ blocks: Range<Int>, _ cache: KVCache) {
        let token = piece.lowerBound
        let partial = geometry.headDimension + 2
        // One head goes through its blocks; of several, every block is read whole and then met by each head.
        let step = heads.count > 1 ? 1 : max(1, blocks.count)
        for first in stride(from: blocks.lowerBound, to: blocks.upperBound, by: step) {
            if heads.count > 1 { read(layer, heads, first, job.positions[token], cache) }
            for head in heads {
                var arguments = arguments(layer, window, head, token..<token + 1, cache)
                table.pointee.attention_partial(
                    &arguments, first, min(first + step, blocks.upperBound),
                    arena.partials + head * arena.partialBlocks * geometry.group * partial)
            }
        }
    }

    /// How many heads share a unit of `blocks` blocks: those whose keys of a block, and values, lie in the second-level cache at once; one
    /// where there would be too few units.
    private func headsTogether(_ blocks: Int) -> Int {
        let heads = geometry.keyValueHeads
        let blockBytes = Int(CKV_KEYS) * geometry.headDimension * cache.type.bytes
        let most = min(heads, max(1, (128 << 10) / blockBytes))
        return blocks * ((heads + most - 1) / most) < 4 * workers ? 1 : most
    }

    /// Brings a block's keys and values of some heads into the worker's cache, up to `position`.
    private func read(_ layer: Int, _ heads: Range<Int>, _ block: Int, _ position: Int, _ cache: KVCache) {
        let width = geometry.headDimension * cache.type.bytes
        let rows = block * Int(CKV_KEYS)..<min((block + 1) * Int(CKV_KEYS), position + 1)
        func read(_ all: UnsafeMutableRawBufferPointer) {
            guard let base = all.baseAddress else { return }
            ckv_read_rows(base + heads.lowerBound * width, rows.count, heads.count * width, cache.rowBytes)
        }
        read(cache.keys(layer, rows))
        read(cache.values(layer, rows))
    }

    /// One key/value head's query heads, of a single token that sees `blocks`.
    private func merge(_ head: Int, _ blocks: Range<Int>) {
        let stride = geometry.headDimension + 2
        let partials = arena.partials + (head * arena.partialBlocks + blocks.lowerBound) * geometry.group * stride
        for member in 0..<geometry.group {
            let column = (head * geometry.group + member) * geometry.headDimension
            table.pointee.attention_merge(
                partials + member * stride, blocks.count, geometry.group * stride, geometry.headDimension,
                row(.attended, piece.lowerBound) + column)
        }
    }

    /// The next unit of work, or nil when all are handed out; every worker draws one too many.
    private func draw(_ units: Int, of owner: Int = 0) -> Int? {
        let unit = arena.ticket(owner).pointee.wrappingAdd(1, ordering: .relaxed).oldValue - drawn[owner]
        return unit < units ? unit : nil
    }

    private func finish(_ head: Int, _ tokens: Range<Int>) {
        guard unitsAreBlocks else { return }
        let width = geometry.group * geometry.headDimension
        for token in tokens { quantise(.attended, token, columns: head * width..<(head + 1) * width) }
    }

    private func arguments(_ layer: Int, _ window: Int, _ head: Int, _ tokens: Range<Int>, _ cache: KVCache) -> ckv_attention {
        let width = geometry.headDimension
        let column = head * geometry.group * width
        let offset = head * width * cache.type.bytes
        let position = job.positions[tokens.lowerBound]
        let end = position + tokens.count
        var attention = ckv_attention()
        attention.head_dim = width
        attention.group = geometry.group
        attention.query = UnsafePointer(row(.query, tokens.lowerBound) + column)
        attention.query_stride = geometry.queryWidth
        attention.tokens = tokens.count
        attention.position = position
        attention.window = window
        attention.keys = job.isDense ? job.keys : 0
        attention.key = UnsafeRawPointer(cache.keys(layer, 0..<end).baseAddress).map { $0 + offset }
        attention.value = UnsafeRawPointer(cache.values(layer, 0..<end).baseAddress).map { $0 + offset }
        attention.kv_stride = geometry.keyValueWidth
        attention.half = cache.type == .f16
        attention.scale = geometry.attentionScale
        attention.softcap = geometry.attentionSoftcap
        attention.out = row(.attended, tokens.lowerBound) + column
        attention.out_stride = geometry.queryWidth
        attention.scratch = arena.scratch[worker]
        return attention
    }
}
