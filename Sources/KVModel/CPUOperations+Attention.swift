import CKVKernels
import Synchronization

/// Attention: units of (key/value head, query tokens) handed out as workers become free; for a single token, units of (key/value
/// head, key blocks) and a merge. Both give the same bits (see ckv_kernels.h).
extension CPUOperations {
    package func attend(layer: Int) throws(Stopped) { try attend(layer: layer, window: 0) }

    /// With a `window`, a token sees that many keys, its own the last of them; with 0 all up to its own.
    package func attend(layer: Int, window: Int) throws(Stopped) {
        try enter(.whole, reads: [.init(.query), .cache], writes: .init(.attended))
        if piece.count == 1 { return try attendOne(layer, window) }
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
        let tiles = (piece.count + arena.unitTokens - 1) / arena.unitTokens
        let units = tiles * geometry.keyValueHeads
        // Later tokens see more keys: they go first, so that the last units handed out are small.
        while let unit = draw(units) {
            let tile = tiles - 1 - unit / geometry.keyValueHeads
            let head = unit % geometry.keyValueHeads
            let first = piece.lowerBound + tile * arena.unitTokens
            let tokens = first..<min(first + arena.unitTokens, piece.upperBound)
            var unit = arguments(layer, window, head, tokens)
            table.pointee.attention(&unit)
            finish(head, tokens)
        }
        drawn += units + workers
    }

    private func attendOne(_ layer: Int, _ window: Int) throws(Stopped) {
        let token = piece.lowerBound
        let position = job.chunk.lowerBound + token
        // A token sees the same keys for every head.
        var sight = arguments(layer, window, 0, token..<token + 1)
        let blocks = ckv_first_block(&sight)..<position / Int(CKV_KEYS) + 1
        let heads = geometry.keyValueHeads
        // Units keep all workers busy: runs of blocks, whose rows lie together in memory; and where these are few, of one head each.
        let together = blocks.count >= 2 * workers
        let runs = min(blocks.count, together ? 4 * workers : max(1, (2 * workers + heads - 1) / heads))
        let units = together ? runs : heads * runs
        while let unit = draw(units) {
            let run = together ? unit : unit % runs
            let first = blocks.lowerBound + blocks.count * run / runs
            let last = blocks.lowerBound + blocks.count * (run + 1) / runs
            guard together else {
                partial(layer, window, unit / runs, first..<last)
                continue
            }
            for block in first..<last {
                for head in 0..<heads {
                    if block + 1 < last { ask(layer, block + 1, head) }
                    partial(layer, window, head, block..<block + 1)
                }
            }
        }
        drawn += units + workers
        if workers > 1 { try team.synchronise(worker: worker) }
        // Few partial results are merged by every worker for itself, which costs less than waiting for each other once more.
        if blocks.count * geometry.heads * (geometry.headDimension + 2) <= 1 << 14 {
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

    /// What some blocks contribute to one key/value head's query heads, of a single token.
    private func partial(_ layer: Int, _ window: Int, _ head: Int, _ blocks: Range<Int>) {
        var arguments = arguments(layer, window, head, piece)
        let stride = geometry.headDimension + 2
        table.pointee.attention_partial(
            &arguments, blocks.lowerBound, blocks.upperBound,
            arena.partials + head * arena.partialBlocks * geometry.group * stride)
    }

    /// Asks for a head's part of a block's rows, counted in rows: the heads' rows lie together, and reading them one head at a time waits
    /// for memory again and again.
    private func ask(_ layer: Int, _ block: Int, _ head: Int) {
        let keys = Int(CKV_KEYS)
        let heads = geometry.keyValueHeads
        let end = job.chunk.lowerBound + piece.upperBound
        let first = min(end, block * keys + keys * head / heads)
        let rows = first..<max(first, min(end, block * keys + keys * (head + 1) / heads))
        let (key, value) = (cache.keys(layer, rows), cache.values(layer, rows))
        ckv_prefetch(key.baseAddress, key.count)
        ckv_prefetch(value.baseAddress, value.count)
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
    private func draw(_ units: Int) -> Int? {
        let unit = arena.ticket.wrappingAdd(1, ordering: .relaxed).oldValue - drawn
        return unit < units ? unit : nil
    }

    private func finish(_ head: Int, _ tokens: Range<Int>) {
        guard unitsAreBlocks else { return }
        let width = geometry.group * geometry.headDimension
        for token in tokens { quantise(.attended, token, columns: head * width..<(head + 1) * width) }
    }

    private func arguments(_ layer: Int, _ window: Int, _ head: Int, _ tokens: Range<Int>) -> ckv_attention {
        let width = geometry.headDimension
        let column = head * geometry.group * width
        let offset = head * width * cache.type.bytes
        let position = job.chunk.lowerBound + tokens.lowerBound
        let end = position + tokens.count
        var attention = ckv_attention()
        attention.head_dim = width
        attention.group = geometry.group
        attention.query = UnsafePointer(row(.query, tokens.lowerBound) + column)
        attention.query_stride = geometry.queryWidth
        attention.tokens = tokens.count
        attention.position = position
        attention.window = window
        attention.key = UnsafeRawPointer(cache.keys(layer, 0..<end).baseAddress).map { $0 + offset }
        attention.value = UnsafeRawPointer(cache.values(layer, 0..<end).baseAddress).map { $0 + offset }
        attention.kv_stride = geometry.keyValueWidth
        attention.half = cache.type == .f16
        attention.scale = 1 / Float(width).squareRoot()
        attention.out = row(.attended, tokens.lowerBound) + column
        attention.out_stride = geometry.queryWidth
        attention.scratch = arena.scratch[worker]
        return attention
    }
}
