import KVFabric
import KVModel

/// What the parts of an engine take, and so what each way of placing the weights takes on each node.
struct MemoryNeeds {
    let placement: Placement
    let topology: Topology
    /// Bytes of one copy of the weights.
    let weights: Int
    /// Bytes of one KV-cache, and whether every rank has one.
    let cache: Int
    let ownCaches: Bool
    /// Bytes of each rank's scratch, and of its ways in.
    let arenas: [Int]
    let rings: [Int]
    let available: Int?

    /// - Throws: `EngineError` (memory) when the context is beyond any machine.
    init(
        _ model: Model, _ configuration: Configuration, context: Int, _ placement: Placement, _ topology: Topology,
        devices: [Configuration.Device] = []
    ) throws(EngineError) {
        let ranks = placement.ranks.count
        let type = CacheType(configuration.cacheElement)
        let geometry = model.geometry
        // A context so large that its cache's size overflows is refused like one that only exceeds the memory.
        let perPosition = 2 * geometry.layers * geometry.keyValueWidth * type.bytes
        let (cache, overflow) = perPosition.multipliedReportingOverflow(by: context)
        guard !overflow, cache < 1 << 50 else {
            throw EngineError(.memory, "a context of \(context) positions needs more memory than any machine has (-c)")
        }
        // What lies on devices is planned there.
        let isOnHost = placement.ranks.indices.map { devices.isEmpty || devices[$0] == .cpu }
        self.placement = placement
        self.topology = topology
        // An image of a device's cache has few pages, and none before somebody wants to see it.
        self.cache = isOnHost.contains(true) ? cache : 0
        weights = isOnHost.contains(true) ? WeightCopy.bytes(of: model.weights) : 0
        ownCaches = Ranks.resolve(configuration.link, placement, devices: devices) == .ring
        do {
            arenas = try placement.ranks.enumerated().map { index, rank throws(ModelError) in
                guard isOnHost[index] else { return 0 }
                return try Arena(geometry, weights: model.weights, chunk: context, context: context, workers: rank.cpus.count)
                    .region.bytes
            }
        } catch { throw EngineError(.memory, error.description) }
        let rows = Connections.Rows(geometry, type: type, context: context)
        let all = ownCaches ? rows.ringBytes(configuration.strategy, ranks: ranks) : 0
        // Along a chain the first rank has no way in; in a mesh all have as many.
        let gathers = configuration.strategy.gathers
        let receivers = gathers ? ranks : max(1, ranks - 1)
        rings = (0..<ranks).map { $0 == 0 && !gathers ? 0 : all / receivers }
        let given = [AvailableMemory.machine(), (topology.memoryAvailable ?? topology.memoryLimit).map { Int(clamping: $0) }]
        let nodes = topology.nodes.filter { topology.allowedNodes.contains($0.id) }
        let ofNodes = nodes.reduce(0) { $0 + Int(clamping: $1.memoryAvailable) }
        available = (given + [nodes.count < topology.nodes.count ? ofNodes : nil]).compactMap { $0 }.min()
    }

    /// The plan for what is asked; for `auto` the first that fits.
    func plan(_ asked: Configuration.Memory) -> MemoryPlan {
        if placement.nodes.count < 2 { return plan(for: .shared) }
        guard asked == .auto else { return plan(for: asked) }
        let mirror = plan(for: .mirror)
        return mirror.fits ? mirror : plan(for: .interleave)
    }

    private func plan(for mode: Configuration.Memory) -> MemoryPlan {
        let nodes = placement.nodes
        let ranks = placement.ranks
        let copies = mode == .mirror ? nodes.count * weights : weights
        return MemoryPlan(
            mode: mode, weights: copies, caches: ownCaches ? cache * ranks.count : cache, arenas: arenas.reduce(0, +),
            rings: rings.reduce(0, +), available: available,
            nodes: topology.nodes.filter { node in nodes.contains(node.id) || ranks.contains { $0.node == node.id } }
                .map { need(of: $0, mode) })
    }

    private func need(of node: Topology.Node, _ mode: Configuration.Memory) -> MemoryPlan.Node {
        let own = placement.ranks.indices.filter { placement.ranks[$0].node == node.id }
        let workers = placement.ranks.flatMap(\.workerNodes)
        let share =
            switch mode {
            case .mirror: placement.nodes.contains(node.id) ? weights : 0
            case .interleave: weights / placement.nodes.count
            // Packed by all workers, each its share.
            case .shared, .auto: weights / max(1, workers.count) * workers.filter { $0 == node.id }.count
            }
        let caches = ownCaches ? cache * own.count : cache / placement.ranks.count * own.count
        return MemoryPlan.Node(
            id: node.id, weights: share, caches: caches, arenas: own.reduce(0) { $0 + arenas[$1] },
            rings: own.reduce(0) { $0 + rings[$1] }, available: Int(clamping: node.memoryAvailable))
    }
}
