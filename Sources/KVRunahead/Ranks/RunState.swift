import KVFabric
import KVModel
import Synchronization

/// What all workers of a run share: the flag that ends it early, the reason, and how long a wait may take.
final class RunState: Sendable {
    let interrupt = Interrupt()
    private let failure = Mutex<EngineError?>(nil)
    private let limit: UInt64

    /// - Parameter waitLimit: seconds.
    init(waitLimit: Double) {
        limit = UInt64(max(0.001, min(waitLimit, 1e9)) * 1e9)
    }

    /// When a wait that begins now must have ended.
    var deadline: UInt64 { MonotonicClock.now + limit }

    /// Ends the run; the first reason counts.
    func fail(_ error: EngineError) {
        failure.withLock { if $0 == nil { $0 = error } }
        interrupt.raise()
    }

    /// Ends the run for a wait of a rank's that failed, unless it did because the run has ended.
    func failed(rank: Int, _ what: String, layer: Int, _ error: FabricError) -> Stopped {
        if error != .interrupted {
            fail(EngineError(.rank, "rank \(rank), \(what) layer \(layer): \(error)", rank: rank, layer: layer))
        }
        return Stopped()
    }

    var error: EngineError? { failure.withLock { $0 } }

    /// Between runs.
    func reset() {
        failure.withLock { $0 = nil }
        interrupt.reset()
    }
}

/// A team whose workers meet at a barrier of the fabric: a rank's workers, or those of all ranks.
final class BarrierTeam: Team {
    let count: Int
    let label: String
    private let barrier: Barrier
    private let state: RunState

    init(label: String, count: Int, barrier: Barrier, state: RunState) {
        self.label = label
        self.count = count
        self.barrier = barrier
        self.state = state
    }

    func synchronise(worker: Int) throws(Stopped) {
        if count == 1 {
            if state.interrupt.isRaised { throw Stopped() }
            return
        }
        do { try barrier.wait(state.interrupt, deadline: state.deadline) } catch {
            if error != .interrupted { state.fail(EngineError(.rank, "\(label), worker \(worker): \(error)")) }
            throw Stopped()
        }
    }

    /// Between runs, when no worker waits.
    func reset() { barrier.reset() }
}
