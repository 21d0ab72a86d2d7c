import KVFabric
package import KVModel

/// The weights in memory: one copy for all workers, or one on each node that has some.
package struct WeightCopies: Sendable {
    package let all: [WeightCopy]
    /// Of each copy; nil: of no node in particular.
    package let nodes: [Int?]
    /// [rank][worker] → copy.
    private let near: [[Int]]

    /// Of each worker, [rank][worker]: its place among those that read the same copy; and of each copy how many these are.
    private let places: [[Int]]
    private let readers: [Int]

    /// Reserves the copies; nothing is packed yet.
    /// - Parameters:
    ///   - packed: used where one copy is enough.
    ///   - shared: of ``bytes(of:_:_:)``, where ranks are processes; nil: memory of this process's own.
    ///   - memory: places the copies; nil where another process has.
    /// - Throws: `EngineError` when there is no memory.
    init(
        _ weights: Weights, packed: WeightCopy? = nil, _ mode: Configuration.Memory, _ placement: Placement,
        in shared: SharedMemory? = nil, by memory: RunMemory?
    ) throws(EngineError) {
        let nodes = Self.nodes(mode, placement)
        self.nodes = nodes
        let near = placement.ranks.map { rank in rank.workerNodes.map { nodes.firstIndex(of: $0) ?? 0 } }
        var readers = nodes.map { _ in 0 }
        places = near.map { workers in
            workers.map { copy in
                readers[copy] += 1
                return readers[copy] - 1
            }
        }
        self.near = near
        self.readers = readers
        if let packed, nodes.count == 1 {
            all = [packed]
            return
        }
        var all: [WeightCopy] = []
        let stride = Self.stride(weights, nodes)
        for (index, node) in nodes.enumerated() {
            let copy: WeightCopy
            do {
                let lent = shared.map { Region(base: $0.pointer + index * stride, bytes: stride, owner: $0) }
                copy = try WeightCopy(weights, in: lent)
            } catch { throw EngineError(.memory, error.description) }
            memory?.place(copy.region, on: mode == .interleave ? placement.nodes : [node].compactMap(\.self))
            all.append(copy)
        }
        self.all = all
    }

    private static func nodes(_ mode: Configuration.Memory, _ placement: Placement) -> [Int?] {
        mode == .mirror && !placement.nodes.isEmpty ? placement.nodes : [nil]
    }

    /// Whole pages for each copy.
    private static func stride(_ weights: Weights, _ nodes: [Int?]) -> Int {
        let page = 1 << 16
        return (WeightCopy.bytes(of: weights) + page - 1) / page * page
    }

    /// Of all copies, in memory that processes share.
    static func bytes(of weights: Weights, _ mode: Configuration.Memory, _ placement: Placement) -> Int {
        let nodes = nodes(mode, placement)
        return nodes.count * stride(weights, nodes)
    }

    /// The copy that a worker of a rank reads.
    func copy(rank: Int, worker: Int) -> WeightCopy { all[near[rank][worker]] }

    /// The copies that a rank's workers read.
    package func copies(of rank: Int) -> [Int] { Set(near[rank]).sorted() }

    var isPacked: Bool { all.allSatisfy(\.isPacked) }
    var packedSoFar: Int { all.reduce(0) { $0 + $1.packedSoFar } }
    var bytesToPack: Int { all.reduce(0) { $0 + $1.bytesToPack } }

    /// A worker's share of the copy that it will read.
    func pack(rank: Int, worker: Int) {
        let copy = near[rank][worker]
        all[copy].pack(worker: places[rank][worker], of: readers[copy])
    }
}
