import KVFabric
import KVModel

/// The exchange of tensor/sequence parallelism (paper section 2, its baseline TSP) and of zigzag context parallelism: in each layer, send the
/// own keys and values to every other rank, receive every other's, and wait until all ranks have done so; only then attend.
final class AllGatherAttention: Attention, @unchecked Sendable {
    // `prepare` writes before the team's workers meet at the beginning of a run; they only read after that.

    /// Another rank, and the ways to it and from it.
    struct Peer {
        let rank: Int
        let positions: Positions
        let there: any Link
        let back: any Link
    }

    private let rank: Int
    private let state: RunState
    private let record: RankRecord
    private unowned let cache: KVCache
    private var own = Positions(0..<0)
    private var peers: [Peer] = []
    private var barrier: Barrier?

    init(rank: Int, ranks: Int, cache: KVCache, record: RankRecord, state: RunState) {
        self.rank = rank
        self.cache = cache
        self.record = record
        self.state = state
        peers.reserveCapacity(ranks)
    }

    /// Sets the next run up; `add` then names the other ranks that take part. Allocates nothing.
    /// - Parameter barrier: of all ranks that take part.
    func prepare(own: Positions, barrier: Barrier) {
        self.own = own
        self.barrier = barrier
        peers.removeAll(keepingCapacity: true)
    }

    func add(_ peer: Peer) { peers.append(peer) }

    func exchange(layer: Int, on operations: any Operations) throws(Stopped) {
        // The own rows are in the cache once all workers are here.
        try operations.synchronise()
        if operations.worker == 0 {
            // A link holds a layer's rows of its sender: nobody waits for space while others wait for him.
            for peer in peers {
                try send(own.first, layer, to: peer)
                if !own.second.isEmpty { try send(own.second, layer, to: peer) }
            }
        }
        operations.mark(.sent, layer: layer)
        if operations.worker == 0, let barrier {
            for peer in peers {
                try receive(peer.positions.first, layer, from: peer)
                if !peer.positions.second.isEmpty { try receive(peer.positions.second, layer, from: peer) }
            }
            do { try barrier.wait(state.interrupt, deadline: state.deadline) } catch {
                throw failed("waiting for all ranks in", layer, error)
            }
        }
        operations.mark(.received, layer: layer)
        try operations.synchronise()
    }

    private func send(_ rows: Range<Int>, _ layer: Int, to peer: Peer) throws(Stopped) {
        do {
            try peer.there.send(
                Segment(layer: layer, rows: rows), key: UnsafeRawBufferPointer(cache.keys(layer, rows)),
                value: UnsafeRawBufferPointer(cache.values(layer, rows)), deadline: state.deadline, interrupt: state.interrupt)
        } catch { throw failed("sending to rank \(peer.rank),", layer, error) }
        record.sent(rows: 2 * rows.count, layer: layer)
    }

    private func receive(_ rows: Range<Int>, _ layer: Int, from peer: Peer) throws(Stopped) {
        do {
            try peer.back.receive(
                Segment(layer: layer, rows: rows), key: cache.keys(layer, rows), value: cache.values(layer, rows),
                deadline: state.deadline, interrupt: state.interrupt)
        } catch { throw failed("receiving from rank \(peer.rank),", layer, error) }
    }

    private func failed(_ what: String, _ layer: Int, _ error: FabricError) -> Stopped {
        state.failed(rank: rank, what, layer: layer, error)
    }
}
