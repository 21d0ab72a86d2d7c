import Glibc

/// A rank's workers: long-lived Dispatch work items, each pinned to one CPU, that run jobs together.
///
/// A job is a closure that every worker calls with its own index. There is a barrier inside the group and none between
/// groups. Between jobs the workers look for the next one for as long as the wait strategy says, then sleep.
/// One thread at a time hands out jobs and joins them: the group's owner.
package final class WorkerGroup: Sendable {
    package let label: String
    /// The CPU of each worker.
    package let cpus: [Int]
    /// The node that memory first touched by the workers comes from.
    package let node: Int?
    /// Whether each worker is bound to its CPU.
    package let isPinned: Bool
    private let crew: Crew

    /// Starts the workers and waits until all run (at most ten seconds); what failed is in ``notes``.
    ///
    /// - Parameters:
    ///   - cpus: one CPU a worker; a CPU may occur several times.
    ///   - node: preferred for the workers' memory, before anything is allocated; nil leaves the process's policy.
    ///   - isPinned: false leaves workers the process's CPUs.
    package convenience init(label: String, cpus: [Int], node: Int?, isPinned: Bool = true, wait strategy: WaitStrategy) {
        self.init(
            label: label, cpus: cpus, node: node, isPinned: isPinned,
            board: JobBoard(label: label, count: cpus.count, wait: strategy), job: nil)
    }

    /// The same with a job for all times, which begins whenever the board's owner says so, perhaps another process.
    package convenience init(
        label: String, cpus: [Int], node: Int?, isPinned: Bool = true, board: JobBoard,
        job: @escaping @Sendable (_ worker: Int) -> Void
    ) {
        self.init(label: label, cpus: cpus, node: node, isPinned: isPinned, board: board, job: .some(job))
    }

    private init(label: String, cpus: [Int], node: Int?, isPinned: Bool, board: JobBoard, job: Crew.Job?) {
        self.label = label
        self.cpus = cpus
        self.node = node
        self.isPinned = isPinned
        crew = Crew(label: label, board: board, job: job)
        // The process's, which is its first thread's: the calling one may be of a Dispatch pool, which sets its own.
        let nice = getpriority(0, id_t(getpid()))
        for (index, cpu) in cpus.enumerated() {
            crew.launch(Seat(label: label, index: index, cpu: isPinned ? cpu : nil, node: node, nice: nice))
        }
        crew.awaitStart(deadline: MonotonicClock.deadline(after: 10))
    }

    deinit { shutdown() }

    /// Number of workers.
    package var count: Int { cpus.count }

    /// For use inside jobs, by all workers of the group.
    package var barrier: Barrier { crew.board.barrier }

    /// What is not as asked: a worker not pinned, a memory policy refused, a worker that did not start.
    package var notes: [String] { crew.notes }

    /// Hands a job to all workers and returns at once. Allocates nothing if `job` is a closure stored by the caller.
    ///
    /// A job handed out while another one runs, or to a group that lacks workers, is refused: the next ``join`` says
    /// so.
    package func start(_ job: @escaping @Sendable (_ worker: Int) -> Void) { crew.start(job) }

    /// Waits, asleep, until all workers have finished the job.
    ///
    /// - Throws: `.deadline` while some still run: the job goes on, ends by its own waits' deadlines or its interrupt,
    ///   and can be joined again; `.busy` if the last ``start(_:)`` was refused.
    package func join(deadline: UInt64) throws(FabricError) { try crew.join(deadline: deadline) }

    /// ``start(_:)`` and ``join(deadline:)``. Without a deadline of its own for jobs whose every wait has one.
    package func run(
        deadline: UInt64 = MonotonicClock.never, _ job: @escaping @Sendable (_ worker: Int) -> Void
    ) throws(FabricError) {
        start(job)
        try join(deadline: deadline)
    }

    /// Ends the work items after the job at hand and waits for their end. The group refuses jobs from then on.
    package func shutdown() { crew.shutdown() }
}
