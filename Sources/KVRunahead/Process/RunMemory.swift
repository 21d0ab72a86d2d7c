import KVFabric
import KVModel

/// The memory that ranks meet in: each part of its own in one process, or all of one memory file, where ranks are processes.
///
/// Of a file every process takes the same parts in the same order; only its maker lays anything out in them.
final class RunMemory {
    private let file: MemoryFile?
    private var nodes: NodeMemory

    /// - Parameter file: nil for ranks of one process.
    init(_ file: MemoryFile? = nil, hugePages: Bool = false) {
        self.file = file
        nodes = NodeMemory(hugePages: hugePages)
    }

    /// What the kernel refused.
    var refusals: [String] { nodes.refusals }

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
    /// - Parameter node: preferred for them, whoever touches them.
    func region(_ bytes: Int, for what: String, node: Int? = nil) throws(EngineError) -> Region {
        let region: Region
        if let file {
            let part = try part(file, max(1, bytes), node: nil)
            region = Region(base: part.pointer, bytes: part.count, owner: part)
        } else {
            do { region = try Region(reserving: bytes, for: what) } catch { throw EngineError(.memory, error.description) }
        }
        if isMaker { place(region, on: node.map { [$0] } ?? []) }
        return region
    }

    /// - Parameter nodes: none leaves a region's pages to those who touch them first, several take them in turns.
    func place(_ region: Region, on nodes: [Int]) { self.nodes.place(region, on: nodes) }

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
