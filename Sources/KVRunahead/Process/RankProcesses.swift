import Foundation
import KVFabric
import Synchronization

/// The processes of all ranks, and what is wrong with them. Ended and reaped when let go of.
final class RankProcesses {
    private let children: Children
    private var processes: [Child] { children.all }
    private let executable: String
    private let watch: Watch
    /// Nanoseconds without a sign of life.
    private let silence: UInt64
    /// So much longer may a process be silent that is neither stopped nor ended: it may wait for a CPU, or for memory.
    private static let patience: UInt64 = 30
    /// Silence counts only while we look: where everything was stopped, as by a debugger or a virtual machine's pause, nobody is late.
    private var looked: UInt64 = 0
    private var lookingSince: UInt64 = 0

    /// Starts one for each rank.
    init(
        ranks: Int, executable: String, memory: MemoryFile, weights: SharedMemory, watch: Watch, silence: Double
    ) throws(EngineError) {
        self.executable = executable
        self.watch = watch
        self.silence = UInt64(max(0.01, min(silence, 1e6)) * 1e9)
        let now = MonotonicClock.now
        // Silence counts from here on, not from the clock's beginning.
        for rank in 0..<ranks { watch.beat(rank).pointee.store(now, ordering: .relaxed) }
        let descriptors = [memory.descriptor, weights.descriptor]
        do {
            children = try Children(ranks) { (rank) throws(FabricError) in
                try Child(
                    executable, arguments: RankMain.arguments(rank: rank), variable: "\(RankMain.variable)=\(rank)",
                    descriptors: descriptors)
            }
        } catch { throw EngineError(.system, "ranks: \(error)") }
    }

    var pids: [Int32] { processes.map(\.pid) }

    /// Whether one has ended.
    var isBroken: Bool { processes.contains { $0.reap() != nil } }

    /// A rank that has ended, or gives no sign of life: named with the layer that it had begun. Allocates nothing if there is none.
    func fault() -> EngineError? {
        for (rank, process) in processes.enumerated() {
            if let end = process.reap() { return error(rank, "\(text(end))\(place(rank))") }
        }
        let now = MonotonicClock.now
        if now - looked > max(silence / 2, 250_000_000) { lookingSince = now }
        looked = now
        for (rank, process) in processes.enumerated() {
            if let text = silent(rank, process, now) { return error(rank, text) }
        }
        return nil
    }

    private func error(_ rank: Int, _ text: String) -> EngineError {
        let layer = Int(watch.layer(rank).pointee.load(ordering: .relaxed)) - 1
        return EngineError(.rank, "rank \(rank) \(text)", rank: rank, layer: layer < 0 ? nil : layer)
    }

    private func silent(_ rank: Int, _ process: Child, _ now: UInt64) -> String? {
        let beat = max(lookingSince, watch.beat(rank).pointee.load(ordering: .relaxed))
        guard now > beat, now - beat > silence else { return nil }
        let why: String
        switch process.state {
        case .stopped: why = "its process is stopped"
        case .ending:
            // Soon it can be waited for.
            guard now - beat > 2 * silence else { return nil }
            why = "its process is ending"
        case .running:
            guard now - beat > silence * Self.patience else { return nil }
            why = "its process is neither stopped nor ended"
        }
        let seconds = String(format: "%.1f", Double(now - beat) * 1e-9)
        return "has given no sign of life for \(seconds) s\(place(rank)) (\(why))"
    }

    private func text(_ end: Child.End) -> String {
        switch end {
        case .killed(let signal): "was killed by signal \(signal)"
        case .exited(let code): "ended with code \(code)"
        case .unknown: "has ended, and somebody else knows how"
        }
    }

    private func place(_ rank: Int) -> String {
        guard watch.came(rank).pointee.load(ordering: .relaxed) != 0 else {
            return " before it came: \(executable) may not be a program for ranks (see RankMain)"
        }
        let layer = watch.layer(rank).pointee.load(ordering: .relaxed)
        return layer == 0 ? " before its first layer" : " in layer \(layer - 1)"
    }
}
