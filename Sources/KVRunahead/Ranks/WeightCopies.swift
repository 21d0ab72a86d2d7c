import KVFabric
package import KVModel

/// The weights in memory: one copy for all workers, or one on each node that has some.
package struct WeightCopies: Sendable {
    package let all: [WeightCopy]
    /// Of each copy; nil: of no node in particular.
    package let nodes: [Int?]
    /// [rank][worker] → copy.
    private let near: [[Int]]

    /// Reserves the copies; nothing is packed yet.
    /// - Parameter packed: used where one copy is enough.
    /// - Throws: `EngineError` when there is no memory.
    init(
        _ weights: Weights, packed: WeightCopy?, _ mode: Configuration.Memory, _ placement: Placement, on memory: inout NodeMemory
    ) throws(EngineError) {
        let nodes: [Int?] = mode == .mirror ? placement.nodes : [nil]
        self.nodes = nodes
        near = placement.ranks.map { rank in rank.workerNodes.map { nodes.firstIndex(of: $0) ?? 0 } }
        if let packed, nodes.count == 1 {
            all = [packed]
            return
        }
        var all: [WeightCopy] = []
        for node in nodes {
            let copy: WeightCopy
            do { copy = try WeightCopy(weights, hasTables: nodes.count > 1) } catch {
                throw EngineError(.memory, error.description)
            }
            if mode == .interleave {
                memory.interleave(copy.region, over: placement.nodes)
            } else {
                memory.place(copy.region, on: node)
            }
            all.append(copy)
        }
        self.all = all
    }

    /// The copy that a worker of a rank reads.
    func copy(rank: Int, worker: Int) -> WeightCopy { all[near[rank][worker]] }

    /// The copies that a rank's workers read.
    package func copies(of rank: Int) -> [Int] { Set(near[rank]).sorted() }

    /// Packs every copy by the workers that will read it, each its share.
    func pack(by groups: [WorkerGroup], progress: (Double) -> Void) {
        if all.allSatisfy(\.isPacked) { return }
        // A worker's place among those of its copy.
        var counts = all.map { _ in 0 }
        let places = near.map { workers in
            workers.map { copy in
                counts[copy] += 1
                return counts[copy] - 1
            }
        }
        for (rank, group) in groups.enumerated() {
            let (own, near, all, counts) = (places[rank], near[rank], all, counts)
            group.start { worker in all[near[worker]].pack(worker: own[worker], of: counts[near[worker]]) }
        }
        let bytes = Double(max(1, all.reduce(0) { $0 + $1.bytesToPack }))
        for group in groups {
            while true {
                do {
                    try group.join(deadline: MonotonicClock.now + 50_000_000)
                    break
                } catch { progress(Double(all.reduce(0) { $0 + $1.packedSoFar }) / bytes) }
            }
        }
        progress(1)
    }
}

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

    /// - Parameter node: nil leaves it to those who touch it first.
    mutating func place(_ region: Region, on node: Int?) {
        attempt { () throws(FabricError) in
            if let node { try Pages(region.base, bytes: region.bytes).prefer(node) }
        }
        widen(region)
    }

    mutating func interleave(_ region: Region, over nodes: [Int]) {
        attempt { () throws(FabricError) in try Pages(region.base, bytes: region.bytes).interleave(nodes) }
        widen(region)
    }

    private mutating func widen(_ region: Region) {
        if hugePages { attempt { () throws(FabricError) in try Pages(region.base, bytes: region.bytes).preferHuge() } }
    }

    private mutating func attempt(_ body: () throws(FabricError) -> Void) {
        do { try body() } catch {
            let text = "\(error); pages may lie elsewhere"
            if !refusals.contains(text) { refusals.append(text) }
        }
    }
}
