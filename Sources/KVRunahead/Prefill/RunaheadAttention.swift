import KVFabric
import KVModel

/// KV-Runahead's exchange (paper section 3): in each layer, receive the keys and values of all earlier tokens from the rank before,
/// send them and the own ones to the rank after, and only then attend. No collective, no barrier between ranks.
///
/// The receive comes after the chunk's own projections, so that it overlaps with them; the send before attention, so that the next
/// rank does not wait for it.
final class RunaheadAttention: Attention, @unchecked Sendable {
    // `prepare` writes before the team's workers meet at the beginning of a run; they only read after that.
    private let rank: Int
    private let state: RunState
    private let record: RankRecord
    private unowned let cache: KVCache
    /// From the rank before (nil on the first), and to the rank after (nil on the last); set by `prepare`.
    private var before: (any Link)?
    private var after: (any Link)?
    private var chunk = 0..<0

    init(rank: Int, cache: KVCache, record: RankRecord, state: RunState) {
        self.rank = rank
        self.cache = cache
        self.record = record
        self.state = state
    }

    /// Sets the next run up. Allocates nothing.
    func prepare(chunk: Range<Int>, before: (any Link)?, after: (any Link)?) {
        self.chunk = chunk
        self.before = before
        self.after = after
    }

    func exchange(layer: Int, on operations: any Operations) throws(Stopped) {
        // The own rows are in the cache once all workers are here.
        try operations.synchronise()
        if operations.worker == 0, let before {
            let segment = Segment(layer: layer, rows: 0..<chunk.lowerBound)
            do {
                try before.receive(
                    segment, key: cache.keys(layer, segment.rows), value: cache.values(layer, segment.rows),
                    deadline: state.deadline, interrupt: state.interrupt)
            } catch { throw failed("receiving", layer, error) }
        }
        operations.mark(.received, layer: layer)
        if before != nil { try operations.synchronise() }
        if operations.worker == 0, let after {
            let segment = Segment(layer: layer, rows: 0..<chunk.upperBound)
            do {
                try after.send(
                    segment, key: UnsafeRawBufferPointer(cache.keys(layer, segment.rows)),
                    value: UnsafeRawBufferPointer(cache.values(layer, segment.rows)),
                    deadline: state.deadline, interrupt: state.interrupt)
            } catch { throw failed("sending", layer, error) }
            record.sent(rows: 2 * segment.rows.count, layer: layer)
        }
        operations.mark(.sent, layer: layer)
    }

    private func failed(_ what: String, _ layer: Int, _ error: FabricError) -> Stopped {
        state.failed(rank: rank, what, layer: layer, error)
    }
}
