import CKVLinux
import Glibc

/// A run of this process's memory: where its pages are to come from, and where they are.
package struct Pages: @unchecked Sendable {
    // Sendable by hand for the address, which is only handed to the kernel.
    package let start: UnsafeMutableRawPointer
    package let bytes: Int

    /// - Parameter start: policies count from its page on.
    package init(_ start: UnsafeMutableRawPointer, bytes: Int) {
        self.start = start
        self.bytes = bytes
    }

    /// Pages come from this node while it has free ones, whoever touches them first; those that are there move.
    /// - Throws: `.system`.
    package func prefer(_ node: Int) throws(FabricError) {
        try check("mbind to node \(node)") { ckv_memory_prefer($0, $1, Int32(clamping: node)) }
    }

    /// Pages come from these nodes in turns.
    /// - Throws: `.system`.
    package func interleave(_ nodes: [Int]) throws(FabricError) {
        let ids = nodes.map { Int32(clamping: $0) }
        try check("mbind over nodes \(CPUList(nodes))") { ckv_memory_interleave($0, $1, ids, Int32(ids.count)) }
    }

    /// Huge pages are wanted here; the kernel gives them as it can.
    /// - Throws: `.system`.
    package func preferHuge() throws(FabricError) {
        try check("madvise for huge pages") { ckv_memory_huge($0, $1) }
    }

    /// False where the kernel is set to give no huge pages whatever is asked.
    package static func hugePagesAreGiven() -> Bool {
        let text = SystemFiles(root: "").text(at: "/sys/kernel/mm/transparent_hugepage/enabled")
        return text.map { !$0.contains("[never]") } ?? false
    }

    /// Where the pages are now; one call of the kernel per 512.
    /// - Parameter isShared: other processes' pages of the same memory count.
    /// - Throws: `.system` where it does not say.
    package func residence(isShared: Bool = false) throws(FabricError) -> Residence {
        var nodes = [UInt64](repeating: 0, count: 1024)
        var absent: UInt64 = 0
        var unknown: UInt64 = 0
        let code = ckv_memory_residence(start, bytes, isShared ? 1 : 0, &nodes, Int32(nodes.count), &absent, &unknown)
        guard code == 0 else { throw .system(call: "move_pages (to ask where pages are)", errno: code) }
        var residence = Residence()
        for (node, count) in nodes.enumerated() where count > 0 { residence.byNode[node] = Int(count) }
        residence.absent = Int(absent)
        residence.unknown = Int(unknown)
        return residence
    }

    private func check(_ call: String, _ body: (UnsafeMutableRawPointer, Int) -> Int32) throws(FabricError) {
        let page = UInt(getpagesize())
        let address = UInt(bitPattern: start)
        let inside = Int(address & (page - 1))
        let code = body(start - inside, bytes + inside)
        guard code == 0 else { throw .system(call: call, errno: code) }
    }
}

/// Where pages are.
package struct Residence: Sendable, Equatable {
    /// Pages on each node.
    package var byNode: [Int: Int] = [:]
    /// Pages that nobody has touched yet.
    package var absent = 0
    /// Pages of which the kernel tells nothing.
    package var unknown = 0

    package init() {}

    /// Pages that are somewhere.
    package var present: Int { byNode.values.reduce(0, +) }

    /// The part of them on a node, 0 ... 1; 1 where there are none.
    package func share(of node: Int) -> Double {
        present == 0 ? 1 : Double(byNode[node] ?? 0) / Double(present)
    }

    package static func + (a: Residence, b: Residence) -> Residence {
        var sum = a
        for (node, count) in b.byNode { sum.byNode[node, default: 0] += count }
        sum.absent += b.absent
        sum.unknown += b.unknown
        return sum
    }
}
