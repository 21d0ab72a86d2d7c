package import KVFabric
package import KVGGUF
package import KVModel

extension Configuration {
    /// One rank per last-level cache of the CPUs that this process may use.
    public static func defaultRanks() -> Int {
        let topology = Topology.read()
        let allowed = Set(topology.allowed)
        let caches = Set(topology.cpus.filter { allowed.contains($0.id) }.map(\.cacheGroup)).count
        return max(1, min(caches, topology.budget))
    }
}

/// Everything decided about a model before any memory is taken: file, kernels, context, placement, memory plan.
package struct Opening {
    package let file: GGUFFile
    package let model: Model
    /// As asked, with the sequential strategy's ranks folded into one.
    package let configuration: Configuration
    package let contextLength: Int
    package let topology: Topology
    package let placement: Placement
    package let memory: MemoryPlan
    package var notices: [String]

    /// - Throws: `EngineError`.
    package init(_ asked: Configuration) throws(EngineError) {
        var configuration = asked
        guard (1...1024).contains(asked.ranks) else {
            throw EngineError(.request, "ranks is \(asked.ranks); it must be 1 to 1024")
        }
        if let threads = asked.threadsPerRank, !(1...1024).contains(threads) {
            throw EngineError(.request, "threads per rank is \(threads); it must be 1 to 1024")
        }
        if asked.strategy == .sequential {
            configuration.threadsPerRank = asked.threadsPerRank.map { $0 * asked.ranks }
            configuration.ranks = 1
            configuration.partition = .even
        }
        try configuration.strategy.check(configuration.partition)
        file = try asked.model.open()
        do {
            model = try Model(
                file, kernels: try Kernels.choose(named: asked.instructionSet),
                activations: asked.activations == .int8 ? .int8 : .float)
        } catch { throw EngineError(.model, error.description) }
        let geometry = model.geometry
        contextLength = asked.contextLength == 0 ? geometry.contextLength : asked.contextLength
        guard contextLength > 0 else {
            throw EngineError(.request, "the context is \(asked.contextLength); it must be 0 (the model's) or more")
        }
        topology = Topology.read()
        placement = Placement.plan(
            topology: topology, ranks: configuration.ranks, threadsPerRank: configuration.threadsPerRank,
            fit: configuration.fitsThreads)
        notices = topology.notes + placement.notes
        if contextLength > geometry.contextLength {
            notices.append("the model was trained for \(geometry.contextLength) positions, the context is \(contextLength)")
        }
        self.configuration = configuration
        memory = try Self.plan(model, configuration, contextLength, placement, topology)
    }

    private static func plan(
        _ model: Model, _ configuration: Configuration, _ context: Int, _ placement: Placement, _ topology: Topology
    ) throws(EngineError) -> MemoryPlan {
        let ranks = placement.ranks.count
        let type = CacheType(configuration.cacheElement)
        let geometry = model.geometry
        // A context so large that its cache's size overflows is refused like one that only exceeds the memory.
        let perPosition = 2 * geometry.layers * geometry.keyValueWidth * type.bytes
        let (cache, overflow) = perPosition.multipliedReportingOverflow(by: context)
        guard !overflow, cache < 1 << 50 else {
            throw EngineError(.memory, "a context of \(context) positions needs more memory than any machine has (-c)")
        }
        let ownCaches = Ranks.resolve(configuration.link, placement) == .ring
        let rows = Connections.Rows(geometry, type: type, context: context)
        let arena: Int
        do {
            arena = try Arena(geometry, weights: model.weights, chunk: context, context: context, workers: 1).region.bytes
        } catch { throw EngineError(.memory, error.description) }
        let available = [MemoryPlan.machineAvailable(), topology.memoryLimit.map { Int(clamping: $0) }].compactMap { $0 }.min()
        return MemoryPlan(
            weights: model.weights.bytes, caches: cache * (ownCaches ? ranks : 1), arenas: arena * ranks,
            rings: ownCaches ? rows.ringBytes(configuration.strategy, ranks: ranks) : 0, available: available)
    }

    func information(link: Configuration.Link, notices more: [String]) -> Engine.Information {
        Engine.Information(
            modelPath: file.path, architecture: model.name, kernels: model.weights.kernels.name,
            contextLength: contextLength, ranks: placement.ranks.count,
            threadsPerRank: placement.ranks.first?.cpus.count ?? 0, cpus: placement.ranks.map(\.cpus), link: link,
            memory: memory, notices: notices + more)
    }
}
