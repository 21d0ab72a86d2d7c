import KVFabric
import KVModel

/// Who works for the ranks: groups of this process's threads, or a process for each rank.
final class Workforce {
    let station: Station
    private let groups: [WorkerGroup]
    private var processes: RankProcesses?

    /// Threads of this process.
    /// - Throws: `EngineError` (system) where the system does not let all of them run.
    init(threads station: Station, _ plan: Station.Plan) throws(EngineError) {
        do {
            try ProcessLimits.require(threads: plan.placement.ranks.reduce(2) { $0 + $1.cpus.count }, for: "the ranks' workers")
        } catch { throw EngineError(.system, "\(error); fewer ranks or threads take less (--ranks, -t)") }
        self.station = station
        processes = nil
        groups = plan.placement.ranks.enumerated().map { index, rank in
            WorkerGroup(
                label: "rank \(index)", cpus: rank.cpus, node: rank.node, isPinned: plan.placement.isPinned,
                board: station.boards[index],
                job: { worker in station.perform(group: index, worker: worker) })
        }
    }

    /// A process for each rank; returns when all of them are at work.
    /// - Throws: `EngineError` when one does not come.
    init(
        processes blueprint: Blueprint, _ configuration: Configuration, model: Model, weights: WeightCopies, in memory: SharedMemory
    ) throws(EngineError) {
        let plan = blueprint.plan
        let file: MemoryFile
        do { file = try MemoryFile(label: "kvcpu-ranks") } catch { throw EngineError(.system, "\(error)") }
        let watch = try blueprint.write(to: file)
        let shared = RunMemory(file, hugePages: plan.hugePages)
        let state = RunState(waitLimit: plan.waitLimit, in: try shared.lines(RunState.lines))
        station = try Station(
            plan, model: model, weights: weights, memory: shared, watch: watch, state: state, here: 0..<0,
            needs: blueprint.needs)
        do { try file.seal() } catch { throw EngineError(.system, "\(error)") }
        let processes = try RankProcesses(
            ranks: plan.placement.ranks.count, executable: configuration.rankExecutable, memory: file, weights: memory,
            watch: watch,
            silence: configuration.silenceLimit)
        groups = []
        self.processes = processes
        let deadline = MonotonicClock.deadline(after: 60)
        for (rank, board) in station.boards.enumerated() {
            var fault: EngineError?
            do {
                try board.awaitWorkers(deadline: deadline) {
                    fault = processes.fault()
                    return fault == nil ? nil : .interrupted
                }
            } catch { throw state.error ?? fault ?? EngineError(.rank, "rank \(rank) did not come: \(error)") }
        }
    }

    /// What workers of this process could not be given: a CPU, a memory policy.
    var notes: [String] { groups.flatMap(\.notes) }

    /// Whether a process has ended.
    var isBroken: Bool { processes?.isBroken ?? false }

    /// Of ranks that are processes.
    var pids: [Int32] { processes?.pids ?? [] }

    /// Has the groups' workers begin the order at hand. Allocates nothing.
    func start(_ group: Int) { station.boards[group].start() }

    /// Waits until a group's workers are done. Allocates nothing as long as nothing goes wrong.
    /// - Parameters:
    ///   - deadline: of the wait; a run's own waits have theirs.
    ///   - meanwhile: called every 50 ms.
    /// - Throws: `EngineError` (rank) when a process has ended or is silent, or the deadline passes.
    func join(_ group: Int, deadline: UInt64 = MonotonicClock.never, meanwhile: () -> Void = {}) throws(EngineError) {
        var fault: EngineError?
        do {
            try station.boards[group].join(deadline: deadline) {
                meanwhile()
                fault = self.fault
                return fault == nil ? nil : .interrupted
            }
        } catch { throw fault ?? EngineError(.rank, "rank \(group): \(error)") }
    }

    /// A process that has ended or is silent.
    var fault: EngineError? { processes?.fault() }

    /// Ends the threads after the work at hand, and processes at once.
    func shutdown() {
        for group in groups { group.shutdown() }
        processes = nil
    }
}
