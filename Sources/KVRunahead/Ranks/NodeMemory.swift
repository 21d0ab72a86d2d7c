import KVFabric
import KVModel

/// Gives memory to nodes, and remembers what the kernel refused.
struct NodeMemory {
    let hugePages: Bool
    private(set) var refusals: [String] = []

    init(hugePages: Bool) {
        self.hugePages = hugePages
        if hugePages, !Pages.hugePagesAreGiven() {
            refusals.append("huge pages are switched off on this machine (/sys/kernel/mm/transparent_hugepage/enabled)")
        }
    }

    /// - Parameter nodes: none leaves it to those who touch it first, several take it in turns.
    mutating func place(_ region: Region, on nodes: [Int]) {
        let pages = Pages(region.base, bytes: region.bytes)
        attempt { () throws(FabricError) in
            if nodes.count == 1 { try pages.prefer(nodes[0]) }
            if nodes.count > 1 { try pages.interleave(nodes) }
        }
        if hugePages { attempt { () throws(FabricError) in try pages.preferHuge() } }
    }

    private mutating func attempt(_ body: () throws(FabricError) -> Void) {
        do { try body() } catch {
            let text = "\(error); pages may lie elsewhere"
            if !refusals.contains(text) { refusals.append(text) }
        }
    }
}
