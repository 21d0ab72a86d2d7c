import CKVKernels
package import Synchronization

/// One worker's view of a team's forward pass on the CPU: splits each operation's work, orders the team by barriers.
///
/// Reused from run to run by `prepare`; allocates nothing afterwards.
package final class CPUOperations: Computation, @unchecked Sendable {
    // Used by its worker alone while a run is under way, by the engine between runs.
    let geometry: Geometry
    let table: UnsafePointer<ckv_table>
    let weights: WeightCopy
    let arena: Arena
    let team: any Team
    package let worker: Int
    let workers: Int
    let angles: Angles
    /// Keys and values of all positions up to the chunk's end: this worker's cache, and those of the whole team.
    let cache: KVCache
    let caches: CacheSet
    let home: Int
    /// Told of each layer's marks; worker 0 only.
    package weak var recorder: (any LayerRecorder)?

    /// Where the worker notes the layer that it has begun, counted from 1, for those who watch it.
    package var reached: UnsafeMutablePointer<Atomic<UInt32>>?

    package private(set) var job = Job()
    var hazards = Hazards()
    /// Activations of which each worker has its own.
    var replicated: Hazards.Resources = []
    /// The rows of the last products that are this worker's, by activation.
    var ownRows = [Range<Int>](repeating: 0..<0, count: Activation.allCases.count)
    package var chunk = Pieces(of: Arena.pieceTokens)
    /// Units drawn from each of the arena's tickets before the current operation.
    var drawn: [Int]
    /// The current operation's share of each cache.
    var parts: [CacheSet.Part]

    /// - Parameters:
    ///   - weights: the copy that is near.
    ///   - home: the one of `caches` that is near.
    package init(
        weights: WeightCopy, geometry: Geometry, arena: Arena, caches: CacheSet, home: Int = 0, angles: Angles, team: any Team,
        worker: Int
    ) {
        self.geometry = geometry
        table = weights.weights.kernels.table
        self.weights = weights
        self.arena = arena
        self.caches = caches
        self.home = home
        cache = caches.caches[home]
        drawn = caches.caches.map { _ in 0 }
        parts = caches.caches.map { _ in CacheSet.Part() }
        self.angles = angles
        self.team = team
        self.worker = worker
        workers = team.count
    }

    /// Sets the next run up. The arena's tickets must be 0 (see `Arena.reset`).
    package func prepare(_ job: Job) {
        self.job = job
        hazards = Hazards()
        chunk = Pieces(of: Arena.pieceTokens)
        chunk.keep(0..<job.positions.count)
        for index in drawn.indices { drawn[index] = 0 }
    }

    // MARK: Pieces

    package func begin(piece index: Int) {
        chunk.begin(index)
        replicated = []
        hazards.piece()
    }

    package func synchronise() throws(Stopped) {
        hazards = Hazards()
        // Also for one worker: this is where a run's interrupt is noticed.
        try team.synchronise(worker: worker)
    }

    /// Waits for the other workers where the operation that begins here has to.
    func enter(
        reads: Hazards.Resources = [], _ readSplit: Hazards.Split, writes: Hazards.Resources, _ writeSplit: Hazards.Split
    ) throws(Stopped) {
        if hazards.enter(reads: reads, readSplit, writes: writes, writeSplit), workers > 1 {
            try team.synchronise(worker: worker)
        }
    }

    /// The same for operations that part all they touch alike.
    func enter(_ split: Hazards.Split, reads: Hazards.Resources = [], writes: Hazards.Resources) throws(Stopped) {
        try enter(reads: reads, split, writes: writes, split)
    }

    /// This worker's part of `count` things.
    func share(_ count: Int) -> Range<Int> { count * worker / workers..<count * (worker + 1) / workers }

    /// The team's buffer, or the worker's own where every worker has computed the piece's only token.
    func buffer(_ activation: Activation) -> Arena.Buffer {
        guard replicated.contains(.init(activation)) else { return arena[activation] }
        return activation == .normed ? arena.own[worker].normed : arena.own[worker].attended
    }

    /// Where a token of the chunk lies in a buffer: chunk-wide ones by chunk, the others by piece.
    func row(_ activation: Activation, _ token: Int) -> UnsafeMutablePointer<Float> {
        let buffer = buffer(activation)
        return buffer.floats + (activation.isChunkWide ? token : token - piece.lowerBound) * buffer.width
    }

    package func compute(_ forward: () throws(Stopped) -> Void) throws(Stopped) { try forward() }

    /// Looks through this worker's share of the hidden rows, between two barriers: all workers make the same calls.
    private func locate(behind layer: Int) {
        do {
            try synchronise()
            for token in share(job.positions.count) where !ckv_all_finite(row(.hidden, token), arena[.hidden].width) {
                arena.note(faultBehind: layer)
            }
            try synchronise()
        } catch {
            // The run is stopped: its next wait says so.
        }
    }

    package func mark(_ mark: LayerMark, layer: Int) {
        if job.locates, mark == .end || mark == .begin && layer == 0 { locate(behind: mark == .end ? layer : layer - 1) }
        if mark == .begin, let reached { reached.pointee.store(UInt32(layer + 1), ordering: .relaxed) }
        guard worker == 0 else { return }
        if mark == .end { arena.progress.pointee.add(job.positions.count, ordering: .relaxed) }
        recorder?.record(mark, layer: layer)
    }
}

/// Takes note of a rank's way through the layers.
package protocol LayerRecorder: AnyObject {
    func record(_ mark: LayerMark, layer: Int)
    /// The same of a moment that has passed, in nanoseconds of the monotonic clock.
    func record(_ mark: LayerMark, layer: Int, at time: UInt64)
    /// Some more attention of a layer.
    func record(_ work: AttentionWork, layer: Int)
}

/// Dot products of queries and keys, of one head.
package struct AttentionWork: Sendable, Equatable {
    /// Queries times the keys that the rank holds when it attends: the paper's count.
    package var rectangle: Int
    /// Pairs of a query and a key that it sees.
    package var causal: Int
    /// Those computed: all of the rectangle by a dense kernel, else those seen (to the width of a tile).
    package var scores: Int
}

/// Rotary angles of all positions, [positions, pairs, 2] for each of a geometry's rotaries; shared by all teams.
package final class Angles: @unchecked Sendable {
    // Immutable after init.
    let tables: [UnsafeMutablePointer<Float>]
    package let positions: Int

    /// One rotary's, [positions, pairs, 2].
    package func values(_ rotary: Int) -> UnsafePointer<Float> { UnsafePointer(tables[rotary]) }

    package init(_ rotaries: [Rotary], positions: Int) {
        self.positions = positions
        tables = rotaries.map { rotary in
            let table = UnsafeMutablePointer<Float>.allocate(capacity: max(1, positions * rotary.pairs * 2))
            rotary.angles(positions: positions, into: table)
            return table
        }
    }

    deinit { for table in tables { table.deallocate() } }
}
