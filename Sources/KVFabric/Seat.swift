import CKVLinux
import Glibc

/// Where one worker runs.
struct Seat: Sendable {
    let label: String
    let index: Int
    /// The CPU that it is bound to; nil: those that the process may use.
    let cpu: Int?
    let node: Int?
    /// The nice value that the worker should have: the process's, whatever Dispatch gives the thread.
    let nice: Int32

    var name: String { "\(label).\(index)" }

    /// What the thread was before: it belongs to Dispatch's pool and goes back there.
    struct Before {
        /// PRIO_PROCESS, which on Linux with id 0 means the calling thread.
        fileprivate static let thisThread: Int32 = 0

        fileprivate let affinity: [Int32]
        fileprivate let hasPolicy: Bool
        fileprivate let nice: Int32
        fileprivate let name: (UInt64, UInt64)

        func restore() {
            if !affinity.isEmpty { _ = ckv_affinity_set(affinity, Int32(affinity.count)) }
            if hasPolicy { _ = ckv_memory_policy_default() }
            _ = setpriority(Self.thisThread, 0, nice)
            withUnsafeBytes(of: name) { bytes in
                if let start = bytes.bindMemory(to: CChar.self).baseAddress { ckv_thread_name_set(start) }
            }
        }
    }

    /// Pins the calling thread, sets its memory policy, nice value and name. What the system refuses is noted and does
    /// no harm beyond speed.
    func take(note: (String) -> Void) -> Before {
        var oldName: (UInt64, UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &oldName) { bytes in
            if let start = bytes.bindMemory(to: CChar.self).baseAddress { ckv_thread_name_get(start) }
        }
        ckv_thread_name_set(name)

        var old = [Int32](repeating: 0, count: 8192)
        let count = ckv_affinity_get(&old, Int32(old.count))
        old.removeLast(old.count - max(0, Int(count)))
        var isPinned = false
        if let cpu {
            var only = Int32(clamping: cpu)
            let code = ckv_affinity_set(&only, 1)
            isPinned = code == 0
            if code != 0 { note("\(name): \(FabricError.system(call: "sched_setaffinity to CPU \(cpu)", errno: code))") }
        }

        var hasPolicy = false
        if let node {
            let code = ckv_memory_policy_prefer(Int32(clamping: node))
            hasPolicy = code == 0
            if code != 0 { note("\(name): \(FabricError.system(call: "set_mempolicy to node \(node)", errno: code))") }
        }
        let oldNice = getpriority(Before.thisThread, 0)
        if oldNice != nice, setpriority(Before.thisThread, 0, nice) != 0 {
            note("\(name): nice value \(oldNice) instead of \(nice), as its thread comes from a spare Dispatch pool")
        }
        return Before(affinity: isPinned ? old : [], hasPolicy: hasPolicy, nice: oldNice, name: oldName)
    }
}
