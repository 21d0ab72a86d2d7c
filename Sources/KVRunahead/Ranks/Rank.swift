import KVFabric
import KVModel

/// Workers that compute together, with their own scratch: a virtual rank's group on its chunk of a prompt, or all groups as one team.
final class Rank: @unchecked Sendable {
    // Its mutable state is the seam's, which is set between runs.
    let index: Int
    let arena: Arena
    let cache: KVCache
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
        let weights: WeightCopy
        let angles: Angles
        let context: Int
        let state: RunState
    }

    /// - Parameters:
    ///   - groups: whose workers take part: all of one group, with its own barrier.
    ///   - atMost: of workers that share a CPU only one takes part, and no more than so many, as a run's many barriers would otherwise be as
    ///     many context switches; for several groups. Nil: all take part.
    ///   - chunk: the most tokens of a run.
    ///   - records: takes times and work down.
    /// - Throws: `EngineError` when there is no memory.
    init(
        index: Int, label: String, groups: [WorkerGroup], atMost budget: Int?, _ common: Common, cache: KVCache, chunk: Int,
        records: Bool
    ) throws(EngineError) {
        let model = common.model
        let (places, count) = Self.places(groups, atMost: budget)
        // A member with a CPU of its own may spin, and should: see WaitStrategy.
        let barrier = budget == nil ? groups[0].barrier : Barrier(count: count, wait: .spinning)
        let team = BarrierTeam(label: label, count: count, barrier: barrier, state: common.state)
        let arena: Arena
        do {
            arena = try Arena(model.geometry, weights: model.weights, chunk: chunk, context: common.context, workers: count)
        } catch { throw EngineError(.memory, error.description) }
        let operations = (0..<count).map {
            CPUOperations(
                weights: common.weights, geometry: model.geometry, arena: arena, cache: cache, angles: common.angles, team: team,
                worker: $0)
        }
        let record = RankRecord(layers: model.geometry.layers)
        if records { operations.first?.recorder = record }
        let seam = Seam(alone)
        let architecture = model.architecture
        shares = zip(groups, places).compactMap { group, places in
            guard places.contains(where: { $0 != nil }) else { return nil }
            return Share(group: group) { worker in
                guard let place = places[worker] else { return }
                // A stop is reported by whoever raised it (see RunState).
                try? architecture.forward(on: operations[place], attention: seam.attention)
            }
        }
        runahead = RunaheadAttention(rank: index, cache: cache, record: record, state: common.state)
        allGather = AllGatherAttention(rank: index, cache: cache, record: record, state: common.state)
        self.index = index
        self.cache = cache
        self.team = team
        self.arena = arena
        self.operations = operations
        self.record = record
        self.seam = seam
    }

    /// Each group's workers' places in the team, nil for those that do not take part; and how many do.
    private static func places(_ groups: [WorkerGroup], atMost budget: Int?) -> ([[Int?]], Int) {
        var taken: Set<Int> = []
        var count = 0
        let places = groups.map { group in
            group.cpus.map { cpu -> Int? in
                if let budget, count >= max(1, budget) || !taken.insert(cpu).inserted { return nil }
                count += 1
                return count - 1
            }
        }
        return (places, count)
    }

    /// Workers that take part.
    var threads: Int { operations.count }

    /// Starts computing a chunk; the groups' `join` tells when it is done. Allocates nothing.
    func start(_ job: CPUOperations.Job, exchange attention: any Attention, cache: KVCache) {
        arena.reset()
        record.reset()
        seam.attention = attention
        for operations in operations {
            operations.cache = cache
            operations.prepare(job)
        }
        for share in shares { share.group.start(share.job) }
    }

    /// Forgets what an interrupted run left; between runs.
    func reset() { team.reset() }

    /// Waits for the groups until `deadline`.
    func join(deadline: UInt64) throws(FabricError) {
        for share in shares { try share.group.join(deadline: deadline) }
    }
}
