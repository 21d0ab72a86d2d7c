import KVFabric
import KVModel

/// The extension phase: one token at a time, by the workers of all ranks as one team. A worker reads its own node's copy of the weights and, of
/// the keys and values, what its own rank's cache holds.
final class Decoder: @unchecked Sendable {
    // Used by one thread at a time: the engine's queue.
    private let team: Rank
    private let token: UnsafeMutablePointer<Int32>
    private let state: RunState

    /// - Throws: `EngineError` when there is no memory.
    init(groups: [WorkerGroup], _ common: Rank.Common, caches: [KVCache]) throws(EngineError) {
        team = try Rank(
            index: 0, label: "decode", groups: groups, onePerCPU: true, common, caches: caches, chunk: 1, records: false)
        state = common.state
        token = .allocate(capacity: 1)
    }

    deinit { token.deallocate() }

    var arena: Arena { team.arena }

    /// Tells how much of a prompt each rank's cache holds; between runs.
    func hold(_ rows: [Int], of prompt: Int) {
        // One cache holds what any rank does.
        team.caches.hold(team.caches.caches.count == 1 ? [prompt] : rows, of: prompt)
    }

    /// Computes the token at `position` and leaves its logits in the arena. Allocates nothing.
    /// - Throws: `EngineError` when a wait failed or the run was cancelled.
    func step(_ id: Int32, at position: Int) throws(EngineError) {
        token.pointee = id
        team.reset()
        var job = CPUOperations.Job()
        job.positions = Positions(position..<position + 1)
        job.keys = position + 1
        job.tokens = UnsafePointer(token)
        job.logits = .last
        team.start(job, exchange: team.alone)
        do { try team.join(deadline: state.deadline) } catch {
            throw EngineError(.rank, "decode at position \(position): \(error)")
        }
        if let error = state.error { throw error }
    }
}
