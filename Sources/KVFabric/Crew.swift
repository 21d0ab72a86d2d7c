import Dispatch
import Synchronization

/// What the workers of a group and its owner share. Workers hold this and not the group, so that letting go of the
/// group ends them.
///
/// Who writes what: the owner writes `job`, and only while no job runs; the workers read it only while one does.
/// Between them stand `jobNumber` (owner releases, workers acquire) and `remaining` (workers release, owner acquires).
/// All other state is atomic, locked or constant.
final class Crew: @unchecked Sendable {
    // Sendable by hand for `job` and `refusal`: ordered as said above, which the compiler cannot see.
    typealias Job = @Sendable (_ worker: Int) -> Void

    let barrier: Barrier
    private let label: String
    private let count: Int
    private let strategy: WaitStrategy
    private var job: Job?
    private var refusal: FabricError?
    private let noted = Locked<[String]>([])

    // Owned memory. Line 0, written by the owner: job number, stop flag and their signal. Line 1, written by the
    // workers: workers that still run the job, workers alive, and their signal.
    private let lines: UnsafeMutableRawPointer
    private let jobNumber: SharedWord32
    private let stopped: SharedWord32
    private let orders: Signal
    private let remaining: SharedWord32
    private let alive: SharedWord32
    private let reports: Signal

    init(label: String, count: Int, strategy: WaitStrategy) {
        self.label = label
        self.count = count
        self.strategy = strategy
        barrier = Barrier(count: count, wait: strategy)
        lines = .allocateLines(2)
        jobNumber = lines.word32(at: 0)
        stopped = lines.word32(at: 4)
        orders = Signal(at: lines + 8, isShared: false)
        remaining = lines.word32(at: CacheLine.bytes)
        alive = lines.word32(at: CacheLine.bytes + 4)
        reports = Signal(at: lines + CacheLine.bytes + 8, isShared: false)
    }

    deinit { lines.deallocate() }

    // MARK: The owner's side

    var notes: [String] { noted.withLock { $0 } }

    func launch(_ seat: Seat) {
        guard let (queue, ofClass) = WorkerQueues.take(label: seat.name) else {
            note("\(seat.name): not started, as \(WorkerQueues.capacity) workers run already")
            return
        }
        queue.async {
            self.work(seat)
            WorkerQueues.handBack(ofClass: ofClass)
        }
    }

    func awaitStart(deadline: UInt64) {
        do throws(FabricError) {
            try WaitStrategy.sleeping.wait(
                on: reports, until: { self.workersAlive == self.count }, deadline: deadline, interrupt: nil,
                what: "start of the workers")
        } catch {
            note("\(label): \(workersAlive) of \(count) workers started")
        }
    }

    func start(_ job: @escaping Job) {
        guard isIdle else { return refuse(.busy("\(label): the job before has not finished; the group")) }
        guard workersAlive == count, stopped.pointee.load(ordering: .relaxed) == 0 else {
            return refuse(.busy("\(label): \(workersAlive) of \(count) workers are there; the group"))
        }
        refusal = nil
        self.job = job
        barrier.reset()
        remaining.pointee.store(UInt32(count), ordering: .relaxed)
        jobNumber.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        orders.notify()
    }

    func join(deadline: UInt64) throws(FabricError) {
        if let refusal {
            self.refusal = nil
            throw refusal
        }
        // The owner has no CPU of its own: while it spun it would keep a worker from one, so it sleeps. With two
        // workers on two cores that takes an empty job from some 110 µs to 10.
        try WaitStrategy.sleeping.wait(
            on: reports, until: { self.isIdle }, deadline: deadline, interrupt: nil, what: "join of a worker group")
        job = nil
    }

    func shutdown() {
        stopped.pointee.store(1, ordering: .sequentiallyConsistent)
        orders.notify()
        // A job ends by the deadlines of its own waits, so this wait ends too.
        do throws(FabricError) {
            try WaitStrategy.sleeping.wait(
                on: reports, until: { self.workersAlive == 0 }, deadline: MonotonicClock.never, interrupt: nil,
                what: "end of the workers")
        } catch {
            note("\(label): \(error)")
        }
        job = nil
    }

    private var isIdle: Bool { remaining.pointee.load(ordering: .sequentiallyConsistent) == 0 }
    private var workersAlive: Int { Int(alive.pointee.load(ordering: .sequentiallyConsistent)) }

    private func refuse(_ error: FabricError) { refusal = error }
    private func note(_ text: String) { noted.withLock { $0.append(text) } }

    // MARK: A worker's side

    private func work(_ seat: Seat) {
        let before = seat.take(note: { self.note($0) })
        alive.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        reports.notify()
        var done: UInt32 = 0
        while awaitOrder(after: done) {
            done &+= 1
            perform(seat.index)
            if remaining.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue == 0 {
                reports.notify()
            }
        }
        before.restore()
        alive.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        reports.notify()
    }

    /// True if there is a job with a number other than `done`, false if the group shuts down.
    private func awaitOrder(after done: UInt32) -> Bool {
        // Without a deadline: nobody is late here, and shutdown() ends it.
        try? strategy.wait(
            on: orders,
            until: {
                self.jobNumber.pointee.load(ordering: .sequentiallyConsistent) != done
                    || self.stopped.pointee.load(ordering: .sequentiallyConsistent) != 0
            },
            deadline: MonotonicClock.never, interrupt: nil, what: "next job")
        return jobNumber.pointee.load(ordering: .sequentiallyConsistent) != done
    }

    /// A function of its own, so that the worker holds no reference to the job when it reports.
    @inline(never)
    private func perform(_ index: Int) { job?(index) }
}
