import KVFabric
import KVModel

/// Workers that compute together, with their own scratch: a virtual rank's group on its chunk of a prompt, or all groups as one team.
final class Rank: @unchecked Sendable {
    // Its mutable state is the seam's, which is set between runs.
    let index: Int
    let arena: Arena
    /// The one that it writes, and for a team of several ranks all that it reads.
    let caches: CacheSet
    var cache: KVCache { caches.caches[0] }
    let record: RankRecord
    let runahead: RunaheadAttention
    let allGather: AllGatherAttention
    let alone = LocalAttention()
    private let team: BarrierTeam
    private let operations: [CPUOperations]
    private let shares: [Share]
    private let seam: Seam

    /// A group's part of every run. A struct's closure is handed on as it is; one taken from an array of closures would be wrapped
    /// anew, on the heap, for every token.
    private struct Share {
        let group: WorkerGroup
        let job: @Sendable (Int) -> Void
    }

    /// How the run at hand exchanges keys and values.
    private final class Seam: @unchecked Sendable {
        // Written between runs, read during one.
        var attention: any Attention
        init(_ attention: any Attention) { self.attention = attention }
    }

    /// What teams of one engine have in common.
    struct Common {
        let model: Model
        let weights: WeightCopies
        let angles: Angles
        let context: Int
        let state: RunState
    }

    /// - Parameters:
    ///   - index: of the first group's rank.
    ///   - groups: whose workers take part: all of one group, with its own barrier.
    ///   - onePerCPU: of workers that share a CPU only one takes part, as a run's many barriers would otherwise be as many context
    ///     switches; for several groups.
    ///   - caches: one for all, or one for each group.
    ///   - chunk: the most tokens of a run.
    ///   - records: takes times and work down.
    /// - Throws: `EngineError` when there is no memory.
    init(
        index: Int, label: String, groups: [WorkerGroup], onePerCPU: Bool, _ common: Common, caches: [KVCache], chunk: Int,
        records: Bool
    ) throws(EngineError) {
        let model = common.model
        let (places, count) = Self.places(groups, onePerCPU: onePerCPU)
        // A member with a CPU of its own may spin.
        let barrier = onePerCPU ? Barrier(count: count, wait: .spinning) : groups[0].barrier
        let team = BarrierTeam(label: label, count: count, barrier: barrier, state: common.state)
        let arena: Arena
        do {
            arena = try Arena(
                model.geometry, weights: model.weights, chunk: chunk, context: common.context, workers: count, caches: caches.count)
        } catch { throw EngineError(.memory, error.description) }
        let readers = places.map { group in group.reduce(0) { $0 + ($1 == nil ? 0 : 1) } }
        let caches = CacheSet(caches, readers: caches.count == 1 ? [count] : readers)
        var operations: [CPUOperations] = []
        for (group, places) in places.enumerated() {
            for (worker, place) in places.enumerated() where place != nil {
                operations.append(
                    CPUOperations(
                        weights: common.weights.copy(rank: index + group, worker: worker), geometry: model.geometry, arena: arena,
                        caches: caches, home: caches.caches.count == 1 ? 0 : group, angles: common.angles, team: team,
                        worker: operations.count))
            }
        }
        let record = RankRecord(layers: model.geometry.layers)
        if records { operations.first?.recorder = record }
        let seam = Seam(alone)
        let architecture = model.architecture
        let members = operations
        shares = zip(groups, places).compactMap { group, places in
            guard places.contains(where: { $0 != nil }) else { return nil }
            return Share(group: group) { worker in
                guard let place = places[worker] else { return }
                // A stop is reported by whoever raised it (see RunState).
                try? architecture.forward(on: members[place], attention: seam.attention)
            }
        }
        let cache = caches.caches[0]
        runahead = RunaheadAttention(rank: index, cache: cache, record: record, state: common.state)
        allGather = AllGatherAttention(rank: index, cache: cache, record: record, state: common.state)
        self.index = index
        self.caches = caches
        self.team = team
        self.arena = arena
        self.operations = operations
        self.record = record
        self.seam = seam
    }

    /// Each group's workers' places in the team, nil for those that do not take part; and how many do.
    private static func places(_ groups: [WorkerGroup], onePerCPU: Bool) -> ([[Int?]], Int) {
        var taken: Set<Int> = []
        var count = 0
        let places = groups.map { group in
            group.cpus.map { cpu -> Int? in
                guard taken.insert(cpu).inserted || !onePerCPU else { return nil }
                count += 1
                return count - 1
            }
        }
        return (places, count)
    }

    /// Starts computing a chunk; the groups' `join` tells when it is done. Allocates nothing.
    func start(_ job: CPUOperations.Job, exchange attention: any Attention) {
        arena.reset()
        record.reset()
        seam.attention = attention
        for operations in operations { operations.prepare(job) }
        for share in shares { share.group.start(share.job) }
    }

    /// Forgets what an interrupted run left; between runs.
    func reset() { team.reset() }

    /// Waits for the groups until `deadline`.
    func join(deadline: UInt64) throws(FabricError) {
        for share in shares { try share.group.join(deadline: deadline) }
    }
}
