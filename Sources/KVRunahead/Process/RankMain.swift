import Foundation
import KVFabric
import KVGGUF
import KVModel
import Synchronization

/// The program of a rank's process.
///
/// An engine with `rankMode == .process` starts `rankExecutable` once for each rank. The kvcpu program answers that; a program of one's own
/// answers it by calling ``runIfAsked()`` first of all:
///
/// ```swift
/// @main enum Program {
///     static func main() {
///         RankMain.runIfAsked()
///         …
/// ```
public enum RankMain {
    private static let word = "rank-process"
    /// Tells a process that it is a rank: an engine in it does not start further ones.
    static let variable = "KVCPU_RANK"
    /// What it starts with, behind its lifeline.
    private static let memory = Child.firstDescriptor + 1
    private static let weights = Child.firstDescriptor + 2

    static func arguments(rank: Int) -> [String] { ["kvcpu", word, "\(rank)"] }

    /// Returns at once, unless an engine has started this process as a rank: then it does its work, and does not return.
    public static func runIfAsked() {
        let arguments = Startup.arguments ?? Array(CommandLine.arguments.dropFirst())
        guard arguments.count == 2, arguments[0] == word, let rank = Int(arguments[1]),
            getenv(variable) != nil
        else { return }
        exit(run(rank))
    }

    /// Whether this process is a rank, or runs on its behalf.
    static var isRank: Bool { getenv(variable) != nil }

    private static func run(_ rank: Int) -> Int32 {
        Child.endWithParentsThread()
        // What is written to a terminal that stops writers in the background.
        signal(SIGTTOU, SIG_IGN)
        signal(SIGPIPE, SIG_IGN)
        do {
            let file = try sharedMemory()
            let (blueprint, watch) = try Blueprint.read(from: file)
            guard blueprint.groups.indices.contains(rank) else {
                throw EngineError(.request, "rank \(rank) of \(blueprint.groups.count)")
            }
            // Dispatch would wait without an end for threads that cannot be started.
            do { try ProcessLimits.require(threads: 1 + blueprint.groups[rank].cpus.count, for: "rank \(rank)") } catch {
                throw EngineError(.system, "\(error)")
            }
            guardLife(rank, watch)
            // In the order in which the engine has laid it out.
            let state = RunState(waitLimit: blueprint.waitLimit, in: try RunMemory(file).lines(RunState.lines))
            do {
                let group = try work(rank, blueprint, file, watch, state)
                // The workers have their board; this thread has nothing to do until `guardLife` ends the process.
                while true { withExtendedLifetime(group) { _ = sleep(3600) } }
            } catch {
                state.fail(error)
                return 1
            }
        } catch {
            FileHandle.standardError.write(Data("kvcpu: rank \(rank): \("\(error)".visible())\n".utf8))
            return 1
        }
    }

    private static func sharedMemory() throws(EngineError) -> MemoryFile {
        do { return try MemoryFile(attachingTo: Self.memory) } catch {
            throw EngineError(.system, "\(error)")
        }
    }

    /// Starts the rank's workers.
    private static func work(
        _ rank: Int, _ blueprint: Blueprint, _ file: MemoryFile, _ watch: Watch, _ state: RunState
    ) throws(EngineError) -> WorkerGroup {
        let model = try blueprint.model()
        let plan = blueprint.plan
        let memory: SharedMemory
        do { memory = try SharedMemory.attach(descriptor: Self.weights) } catch { throw EngineError(.memory, "\(error)") }
        let weights = try WeightCopies(model.weights, plan.memory, plan.placement, in: memory, by: nil)
        let station = try Station(
            plan, model: model, weights: weights, memory: RunMemory(file), watch: watch, state: state,
            here: rank..<rank + 1, needs: blueprint.needs)
        let place = plan.placement.ranks[rank]
        return WorkerGroup(
            label: "rank \(rank)", cpus: place.cpus, node: place.node, isPinned: plan.placement.isPinned,
            board: station.boards[rank],
            job: { worker in station.perform(group: rank, worker: worker) })
    }

    /// A thread that gives signs of life, and ends the process once its engine is gone, however busy the workers are.
    private static func guardLife(_ rank: Int, _ watch: Watch) {
        watch.came(rank).pointee.store(1, ordering: .relaxed)
        let thread = Thread {
            repeat {
                watch.beat(rank).pointee.store(MonotonicClock.now, ordering: .relaxed)
            } while !Child.awaitParentsEnd(milliseconds: 100)
            _exit(0)
        }
        thread.name = "life"
        thread.stackSize = 1 << 18
        thread.start()
    }
}
