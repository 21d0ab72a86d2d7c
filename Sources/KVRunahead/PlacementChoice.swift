package import KVFabric

extension Configuration {
    /// One rank per last-level cache of the CPUs that this process may use, or one per list of `cpus`.
    public static func defaultRanks(numa: NUMA = .auto, cpus: String? = nil) -> Int {
        var configuration = Configuration(model: "")
        configuration.numa = numa
        configuration.cpus = cpus
        guard let wish = try? configuration.placementWish(ranks: 1) else { return 1 }
        if case .lists(let lists) = wish.cpus { return lists.count }
        let topology = Topology.read()
        guard let machine = try? Placement.machine(for: wish, of: topology) else { return 1 }
        let allowed = Set(machine.allowed)
        let caches = Set(machine.cpus.filter { allowed.contains($0.id) }.map(\.cacheGroup)).count
        return max(1, min(caches, machine.budget))
    }

    /// What is asked of the placement.
    /// - Throws: `EngineError` (request) where `cpus` cannot be read.
    package func placementWish(ranks: Int) throws(EngineError) -> PlacementWish {
        var wish = PlacementWish(ranks: ranks, threadsPerRank: threadsPerRank, fits: fitsThreads, start: Topology.currentCPU)
        wish.mode = PlacementWish.Mode(numa)
        do { wish.cpus = try cpus.map { text throws(FabricError) in try PlacementWish.CPUs(parsing: text) } } catch {
            throw EngineError(.request, "\(error): CPUs as 0-15, or each rank's as 0-15|16-31")
        }
        return wish
    }

    /// Where the weights are to lie: what `auto` means for a placement, memory being enough.
    func resolvedMemory(_ placement: Placement) -> Memory {
        if placement.nodes.count < 2 { return .shared }
        return memory == .auto ? .mirror : memory
    }
}

extension PlacementWish.Mode {
    init(_ numa: Configuration.NUMA) {
        switch numa {
        case .auto: self = .auto
        case .distribute: self = .distribute
        case .isolate: self = .isolate
        case .numactl: self = .numactl
        case .off: self = .off
        }
    }
}
