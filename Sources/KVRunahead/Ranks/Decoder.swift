import KVFabric
import KVModel

/// The extension phase: one token at a time, by the workers of all ranks as one team, on the cache of the rank that ended the prefill.
///
/// Where workers share CPUs only one of each CPU takes part: a token's many barriers would otherwise be as many context switches.
final class Decoder: @unchecked Sendable {
    // Used by one thread at a time: the engine's queue.
    let arena: Arena
    private let team: BarrierTeam
    private let shares: [Share]
    private let operations: [CPUOperations]
    private let token: UnsafeMutablePointer<Int32>
    private let state: RunState

    /// A group's part of every step. A struct's closure is handed on as it is; one taken from an array of closures would be wrapped
    /// anew, on the heap, for every token.
    private struct Share {
        let group: WorkerGroup
        let job: @Sendable (Int) -> Void
    }

    /// - Throws: `EngineError` when there is no memory.
    init(
        groups: [WorkerGroup], model: Model, angles: Angles, cache: KVCache, context: Int, state: RunState
    ) throws(EngineError) {
        // Per group, each worker's place in the team; nil for those that would share a CPU.
        var taken: Set<Int> = []
        var count = 0
        let places = groups.map { group in
            group.cpus.map { cpu -> Int? in
                guard taken.insert(cpu).inserted else { return nil }
                count += 1
                return count - 1
            }
        }
        // Every member has a CPU of its own.
        let barrier = Barrier(count: count, wait: .spinning)
        let team = BarrierTeam(label: "decode", count: count, barrier: barrier, state: state)
        let arena: Arena
        do {
            arena = try Arena(model.geometry, weights: model.weights, chunk: 1, context: context, workers: count)
        } catch { throw EngineError(.memory, error.description) }
        let operations = (0..<count).map {
            CPUOperations(
                weights: model.weights, geometry: model.geometry, arena: arena, cache: cache, angles: angles, team: team,
                worker: $0)
        }
        let attention = LocalAttention()
        let architecture = model.architecture
        shares = zip(groups, places).compactMap { group, places in
            guard places.contains(where: { $0 != nil }) else { return nil }
            return Share(group: group) { worker in
                guard let place = places[worker] else { return }
                // A stop is reported by whoever raised it (see RunState).
                try? architecture.forward(on: operations[place], attention: attention)
            }
        }
        self.team = team
        self.arena = arena
        self.operations = operations
        self.state = state
        token = .allocate(capacity: 1)
    }

    deinit { token.deallocate() }

    /// Computes the token at `position` and leaves its logits in the arena. Allocates nothing.
    /// - Throws: `EngineError` when a wait failed or the run was cancelled.
    func step(_ id: Int32, at position: Int, cache: KVCache) throws(EngineError) {
        token.pointee = id
        arena.reset()
        team.reset()
        var job = CPUOperations.Job()
        job.chunk = position..<position + 1
        job.tokens = UnsafePointer(token)
        job.logits = .last
        for operations in operations {
            operations.cache = cache
            operations.prepare(job)
        }
        for share in shares { share.group.start(share.job) }
        for share in shares {
            do { try share.group.join(deadline: state.deadline) } catch {
                throw EngineError(.rank, "decode at position \(position): \(error)")
            }
        }
        if let error = state.error { throw error }
    }
}
