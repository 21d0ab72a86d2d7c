import Synchronization

/// Where a group's owner tells its workers to begin, and they tell him that they are done. Where its lines lie in shared memory, owner
/// and workers may be of two processes.
///
/// Who writes what: the owner the job's number and the stop flag, the workers what remains and who is alive. What a job is, the
/// owner writes elsewhere before its number moves on (release), and the workers read it after they have seen that (acquire);
/// the other way round go results, by `remaining`.
package final class JobBoard: @unchecked Sendable {
    // Sendable by hand for `refusal`, the owner's; all else is atomic or constant.
    /// Cache lines that a board takes, its barrier's included.
    package static let lines = 2 + Barrier.lines

    /// Number of workers.
    package let count: Int
    /// For use inside jobs, by all workers.
    package let barrier: Barrier
    private let label: String
    private let strategy: WaitStrategy
    private var refusal: FabricError?

    // Line 0, written by the owner: job number, stop flag and their signal. Line 1, written by the workers: workers that still
    // run the job, workers alive, and their signal.
    private let lines: Lines
    private let jobNumber: SharedWord32
    private let stopped: SharedWord32
    private let orders: Signal
    private let remaining: SharedWord32
    private let alive: SharedWord32
    private let reports: Signal

    /// - Parameter lines: ``lines`` of them; nil: of its own, for this process.
    package init(label: String, count: Int, wait strategy: WaitStrategy, in lines: Lines? = nil) {
        let lines = lines ?? Lines(Self.lines)
        self.label = label
        self.count = count
        self.strategy = strategy
        self.lines = lines
        jobNumber = lines.base.word32(at: 0)
        stopped = lines.base.word32(at: 4)
        orders = Signal(at: lines.base + 8, isShared: lines.isShared)
        remaining = lines.base.word32(at: CacheLine.bytes)
        alive = lines.base.word32(at: CacheLine.bytes + 4)
        reports = Signal(at: lines.base + CacheLine.bytes + 8, isShared: lines.isShared)
        barrier = Barrier(count: count, wait: strategy, in: Lines(of: lines, from: 2))
    }

    // MARK: The owner's side

    package var workersAlive: Int { Int(alive.pointee.load(ordering: .sequentiallyConsistent)) }
    package var isIdle: Bool { remaining.pointee.load(ordering: .sequentiallyConsistent) == 0 }

    /// Has the workers begin a job and returns at once. Allocates nothing.
    ///
    /// While another one runs, or workers lack, it is refused: the next ``join`` says so.
    package func start() {
        guard isReady else { return }
        barrier.reset()
        remaining.pointee.store(UInt32(count), ordering: .relaxed)
        jobNumber.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        orders.notify()
    }

    /// Whether a job could begin; if not, the next `join` says why.
    var isReady: Bool {
        refusal = nil
        if !isIdle {
            refusal = .busy("\(label): the job before has not finished; the group")
        } else if workersAlive != count || stopped.pointee.load(ordering: .relaxed) != 0 {
            refusal = .busy("\(label): \(workersAlive) of \(count) workers are there; the group")
        }
        return refusal == nil
    }

    /// Waits, asleep, until all workers have finished the job.
    ///
    /// - Parameter trouble: asked every 50 ms while it waits; an error from it ends the wait.
    /// - Throws: `.deadline` while some still run, `.busy` if the last start was refused, and what `trouble` says.
    package func join(deadline: UInt64, trouble: () -> FabricError? = { nil }) throws(FabricError) {
        if let refusal {
            self.refusal = nil
            throw refusal
        }
        // The owner has no CPU of its own: while it spun it would keep a worker from one, so it sleeps. With two
        // workers on two cores that takes an empty job from some 110 µs to 10.
        try WaitStrategy.sleeping.wait(
            on: reports, until: { self.isIdle }, deadline: deadline, interrupt: nil, what: "join of a worker group",
            slice: 50_000_000, trouble: trouble)
    }

    /// Waits until all workers are there.
    /// - Throws: `.deadline`, and what `trouble` says, which is asked every 50 ms.
    package func awaitWorkers(deadline: UInt64, trouble: () -> FabricError? = { nil }) throws(FabricError) {
        try WaitStrategy.sleeping.wait(
            on: reports, until: { self.workersAlive == self.count }, deadline: deadline, interrupt: nil,
            what: "start of the workers", slice: 50_000_000, trouble: trouble)
    }

    /// Has the workers leave after the job at hand, and waits until they have.
    func stop() throws(FabricError) {
        stopped.pointee.store(1, ordering: .sequentiallyConsistent)
        orders.notify()
        // A job ends by the deadlines of its own waits, so this wait ends too.
        try WaitStrategy.sleeping.wait(
            on: reports, until: { self.workersAlive == 0 }, deadline: MonotonicClock.never, interrupt: nil,
            what: "end of the workers")
    }

    // MARK: A worker's side

    func arrive() {
        alive.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        reports.notify()
    }

    func leave() {
        alive.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        reports.notify()
    }

    /// True if there is a job with a number other than `done`, false if the group shuts down.
    func awaitJob(after done: UInt32) -> Bool {
        // Without a deadline: nobody is late here, and stop() ends it.
        try? strategy.wait(
            on: orders,
            until: {
                self.jobNumber.pointee.load(ordering: .sequentiallyConsistent) != done
                    || self.stopped.pointee.load(ordering: .sequentiallyConsistent) != 0
            },
            deadline: MonotonicClock.never, interrupt: nil, what: "next job")
        return jobNumber.pointee.load(ordering: .sequentiallyConsistent) != done
    }

    /// Says that this worker has finished its part.
    func report() {
        if remaining.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0 { reports.notify() }
    }
}
