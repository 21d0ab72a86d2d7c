import KVFabric
import KVModel

/// The memory that ranks meet in: each part of its own in one process, or all of one memory file, where ranks are processes.
///
/// Of a file every process takes the same parts in the same order; only its maker lays anything out in them.
final class RunMemory {
    private let file: MemoryFile?

    /// - Parameter file: nil for ranks of one process.
    init(_ file: MemoryFile? = nil) { self.file = file }

    /// False where another process has laid everything out.
    var isMaker: Bool { file?.isMade ?? true }
    /// Several processes have this memory.
    var isShared: Bool { file != nil }

    /// Zeroed cache lines.
    func lines(_ count: Int) throws(EngineError) -> Lines {
        guard let file else { return Lines(count) }
        return Lines(of: try part(file, count * CacheLine.bytes, node: nil))
    }

    /// Zeroed bytes, whose pages come with the first touch.
    /// - Parameter node: preferred for pages of a file; a process's own come from where they are touched.
    func region(_ bytes: Int, for what: String, node: Int? = nil) throws(EngineError) -> Region {
        guard let file else {
            do { return try Region(reserving: bytes, for: what) } catch { throw EngineError(.memory, error.description) }
        }
        let part = try part(file, max(1, bytes), node: node)
        return Region(base: part.pointer, bytes: part.count, owner: part)
    }

    /// A ring without ends as yet.
    func ring(_ label: String, capacity: Int, node: Int?) throws(EngineError) -> Ring {
        do {
            guard let file else { return try Ring.anonymous(label: label, capacity: capacity, node: node) }
            let capacity = Ring.roundedCapacity(capacity)
            let part = try file.next(Ring.bytes(capacity: capacity), node: node)
            return isMaker ? try Ring(makingIn: part, capacity: capacity) : try Ring(attachingTo: part)
        } catch { throw EngineError(.system, "\(label): \(error)") }
    }

    private func part(_ file: MemoryFile, _ bytes: Int, node: Int?) throws(EngineError) -> SharedMemory {
        do { return try file.next(bytes, node: node) } catch { throw EngineError(.memory, "memory that ranks share: \(error)") }
    }
}
