import CKVLinux

/// Looks where a group's workers really are: what the kernel lets them run on, and the CPUs that they are seen on.
///
/// Used by one thread, the group's owner.
package final class WorkerWatch {
    private let ids: [Int32]
    /// Of each worker, what the kernel says that it may run on.
    package let affinities: [[Int]]
    /// Of each worker, the CPUs that it was seen on.
    package private(set) var seen: [Set<Int>]

    /// Asks the workers themselves, by a job.
    /// - Throws: as ``WorkerGroup/run(deadline:_:)``.
    package init(_ group: WorkerGroup, deadline: UInt64) throws(FabricError) {
        let told = Locked([(id: Int32, affinity: [Int], cpu: Int)](repeating: (0, [], -1), count: group.count))
        try group.run(deadline: deadline) { worker in
            var cpus = [Int32](repeating: 0, count: 8192)
            let count = ckv_affinity_get(&cpus, Int32(cpus.count))
            let answer = (ckv_thread_id(), cpus.prefix(max(0, Int(count))).map(Int.init), Int(ckv_current_cpu()))
            told.withLock { $0[worker] = answer }
        }
        let answers = told.withLock { $0 }
        ids = answers.map(\.id)
        affinities = answers.map(\.affinity)
        seen = answers.map { $0.cpu >= 0 ? [$0.cpu] : [] }
    }

    /// Looks once more, from outside.
    package func look() {
        for (worker, id) in ids.enumerated() {
            if let cpu = Self.processor(thread: id) { seen[worker].insert(cpu) }
        }
    }

    /// The CPU that a thread of this process ran on last (field 39 of its stat; the name before may hold anything).
    private static func processor(thread: Int32) -> Int? {
        guard let text = SystemFiles(root: "").text(at: "/proc/self/task/\(thread)/stat"), let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 36 ? Int(fields[36]) : nil
    }
}
