import KVFabric
import KVModel

/// The extension phase: one token at a time, by the workers of all ranks as one team, on the cache of the rank that ended the prefill.
final class Decoder: @unchecked Sendable {
    // Used by one thread at a time: the engine's queue.
    private let team: Rank
    private let token: UnsafeMutablePointer<Int32>
    private let state: RunState

    /// - Throws: `EngineError` when there is no memory.
    init(groups: [WorkerGroup], atMost budget: Int, _ common: Rank.Common, cache: KVCache) throws(EngineError) {
        team = try Rank(index: 0, label: "decode", groups: groups, atMost: budget, common, cache: cache, chunk: 1, records: false)
        state = common.state
        token = .allocate(capacity: 1)
    }

    deinit { token.deallocate() }

    var arena: Arena { team.arena }
    var threads: Int { team.threads }

    /// Computes the token at `position` and leaves its logits in the arena. Allocates nothing.
    /// - Throws: `EngineError` when a wait failed or the run was cancelled.
    func step(_ id: Int32, at position: Int, cache: KVCache) throws(EngineError) {
        token.pointee = id
        team.reset()
        var job = CPUOperations.Job()
        job.positions = Positions(position..<position + 1)
        job.keys = position + 1
        job.tokens = UnsafePointer(token)
        job.logits = .last
        team.start(job, exchange: team.alone, cache: cache)
        do { try team.join(deadline: state.deadline) } catch {
            throw EngineError(.rank, "decode at position \(position): \(error)")
        }
        if let error = state.error { throw error }
    }
}
