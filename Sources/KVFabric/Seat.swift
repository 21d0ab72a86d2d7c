import CKVLinux

/// Where one worker runs.
struct Seat: Sendable {
    let label: String
    let index: Int
    let cpu: Int
    let node: Int?

    var name: String { "\(label).\(index)" }

    /// What the thread was before: it belongs to Dispatch's pool and goes back there.
    struct Before {
        fileprivate let affinity: [Int32]
        fileprivate let hasPolicy: Bool
        fileprivate let name: (UInt64, UInt64)

        func restore() {
            if !affinity.isEmpty { _ = ckv_affinity_set(affinity, Int32(affinity.count)) }
            if hasPolicy { _ = ckv_memory_policy_default() }
            withUnsafeBytes(of: name) { bytes in
                if let start = bytes.bindMemory(to: CChar.self).baseAddress { ckv_thread_name_set(start) }
            }
        }
    }

    /// Pins the calling thread, sets its memory policy and its name. What the system refuses is noted and does no harm
    /// beyond speed.
    func take(note: (String) -> Void) -> Before {
        var oldName: (UInt64, UInt64) = (0, 0)
        withUnsafeMutableBytes(of: &oldName) { bytes in
            if let start = bytes.bindMemory(to: CChar.self).baseAddress { ckv_thread_name_get(start) }
        }
        ckv_thread_name_set(name)

        var old = [Int32](repeating: 0, count: 8192)
        let count = ckv_affinity_get(&old, Int32(old.count))
        old.removeLast(old.count - max(0, Int(count)))
        var only = Int32(clamping: cpu)
        let pinned = ckv_affinity_set(&only, 1)
        if pinned != 0 { note("\(name): \(FabricError.system(call: "sched_setaffinity to CPU \(cpu)", errno: pinned))") }

        var hasPolicy = false
        if let node {
            let code = ckv_memory_policy_prefer(Int32(clamping: node))
            hasPolicy = code == 0
            if code != 0 { note("\(name): \(FabricError.system(call: "set_mempolicy to node \(node)", errno: code))") }
        }
        return Before(affinity: pinned == 0 ? old : [], hasPolicy: hasPolicy, name: oldName)
    }
}
