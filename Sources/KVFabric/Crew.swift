import Dispatch

/// What the workers of a group and its owner share. Workers hold this and not the group, so that letting go of the
/// group ends them.
///
/// Who writes what: the owner writes `job`, and only while no job runs; the workers read it only while one does.
/// Between them stands the board. All other state is atomic, locked or constant.
final class Crew: @unchecked Sendable {
    // Sendable by hand for `job`: ordered as said above, which the compiler cannot see.
    typealias Job = @Sendable (_ worker: Int) -> Void

    let board: JobBoard
    private let label: String
    private var job: Job?
    private let noted = Locked<[String]>([])

    /// - Parameter job: of all orders, where another process gives them; nil: each comes with `start`.
    init(label: String, board: JobBoard, job: Job? = nil) {
        self.label = label
        self.board = board
        self.job = job
    }

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
        do throws(FabricError) { try board.awaitWorkers(deadline: deadline) } catch {
            note("\(label): \(board.workersAlive) of \(board.count) workers started")
        }
    }

    func start(_ job: @escaping Job) {
        guard board.isReady else { return }
        self.job = job
        board.start()
    }

    func join(deadline: UInt64) throws(FabricError) {
        try board.join(deadline: deadline)
        job = nil
    }

    func shutdown() {
        do throws(FabricError) { try board.stop() } catch { note("\(label): \(error)") }
        job = nil
    }

    private func note(_ text: String) { noted.withLock { $0.append(text) } }

    // MARK: A worker's side

    private func work(_ seat: Seat) {
        let before = seat.take(note: { self.note($0) })
        board.arrive()
        var done: UInt32 = 0
        while board.awaitJob(after: done) {
            done &+= 1
            perform(seat.index)
            board.report()
        }
        before.restore()
        board.leave()
    }

    /// A function of its own, so that the worker holds no reference to the job when it reports.
    @inline(never)
    private func perform(_ index: Int) { job?(index) }
}
