import KVFabric
import KVModel

/// A virtual rank: a group of pinned workers with their own scratch, computing one chunk of each prompt.
final class Rank: Sendable {
    let index: Int
    let group: WorkerGroup
    let team: BarrierTeam
    let arena: Arena
    let cache: KVCache
    let timeline: RankTimeline
    private let operations: [CPUOperations]
    private let attention: RunaheadAttention
    private let prefillJob: @Sendable (Int) -> Void

    /// - Throws: `EngineError` when there is no memory.
    init(
        index: Int, group: WorkerGroup, model: Model, angles: Angles, cache: KVCache, context: Int, state: RunState
    ) throws(EngineError) {
        self.index = index
        self.group = group
        self.cache = cache
        let team = BarrierTeam(label: "rank \(index)", count: group.count, barrier: group.barrier, state: state)
        let arena: Arena
        do {
            arena = try Arena(
                model.geometry, weights: model.weights, chunk: context, context: context, workers: group.count)
        } catch { throw EngineError(.memory, error.description) }
        let operations = (0..<group.count).map {
            CPUOperations(
                weights: model.weights, geometry: model.geometry, arena: arena, cache: cache, angles: angles, team: team,
                worker: $0)
        }
        let timeline = RankTimeline(layers: model.geometry.layers)
        operations.first?.recorder = timeline
        let attention = RunaheadAttention(rank: index, cache: cache, state: state)
        let architecture = model.architecture
        self.team = team
        self.arena = arena
        self.operations = operations
        self.timeline = timeline
        self.attention = attention
        prefillJob = { worker in
            // A stop is reported by whoever raised it (see RunState).
            try? architecture.forward(on: operations[worker], attention: attention)
        }
    }

    /// Starts computing a chunk; `WorkerGroup.join` tells when it is done.
    func start(_ job: CPUOperations.Job, before: (any Link)?, after: (any Link)?) {
        arena.reset()
        timeline.reset()
        attention.prepare(chunk: job.chunk, before: before, after: after)
        for operations in operations { operations.prepare(job) }
        group.start(prefillJob)
    }
}
