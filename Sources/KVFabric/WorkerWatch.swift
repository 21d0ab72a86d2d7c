import CKVLinux
import Glibc

/// Looks where workers really are, of this process or of others: what the kernel lets them run on, and the CPUs that they are seen on.
package final class WorkerWatch {
    private let ids: [(process: Int32, thread: Int32)]
    /// Of each worker, what the kernel says that it may run on.
    package let affinities: [[Int]]
    /// Of each worker, the CPUs that it was seen on.
    package private(set) var seen: [Set<Int>]

    /// Bytes of a worker's note of itself: process, thread, CPU, and the CPUs that it may run on, a bit each.
    package static let noteBytes = noteCPUs + maximumCPUs / 8
    private static let noteCPUs = 64
    private static let maximumCPUs = 8192

    /// Writes the calling worker's note.
    package static func note(to memory: UnsafeMutableRawPointer) {
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: noteBytes)
        let values = memory.assumingMemoryBound(to: Int32.self)
        values[0] = getpid()
        values[1] = ckv_thread_id()
        values[2] = ckv_current_cpu()
        var cpus = [Int32](repeating: 0, count: maximumCPUs)
        let count = min(Int(ckv_affinity_get(&cpus, Int32(cpus.count))), cpus.count)
        let bits = (memory + noteCPUs).assumingMemoryBound(to: UInt8.self)
        for cpu in cpus.prefix(max(0, count)) where cpu < maximumCPUs { bits[Int(cpu) / 8] |= 1 << UInt8(cpu % 8) }
    }

    /// - Parameter notes: of each worker, written.
    package init(_ notes: [UnsafeMutableRawPointer]) {
        let values = notes.map { $0.assumingMemoryBound(to: Int32.self) }
        ids = values.map { ($0[0], $0[1]) }
        seen = values.map { $0[2] >= 0 ? [Int($0[2])] : [] }
        affinities = notes.map { note in
            let bits = (note + Self.noteCPUs).assumingMemoryBound(to: UInt8.self)
            return (0..<Self.maximumCPUs).filter { bits[$0 / 8] & 1 << UInt8($0 % 8) != 0 }
        }
    }

    /// Looks once more, from outside.
    package func look() {
        for (worker, id) in ids.enumerated() {
            if let cpu = Self.processor(id.process, thread: id.thread) { seen[worker].insert(cpu) }
        }
    }

    /// The CPU that a thread ran on last (field 39 of its stat; the name before may hold anything).
    private static func processor(_ process: Int32, thread: Int32) -> Int? {
        guard let text = SystemFiles(root: "").text(at: "/proc/\(process)/task/\(thread)/stat"), let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        return fields.count > 36 ? Int(fields[36]) : nil
    }
}
