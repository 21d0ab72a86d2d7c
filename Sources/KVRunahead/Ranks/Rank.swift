import KVCUDA
import KVFabric
import KVModel

/// Workers that compute together, with their own scratch: a virtual rank's group on its chunk of a prompt, or all groups as one team. They may be
/// of several processes, each of which has the operations of its own workers.
final class Rank: @unchecked Sendable {
    // Its workers write disjoint parts; `alone`'s and the exchanges' state is set by worker 0 before the others read it.
    let index: Int
    let arena: Arena
    /// The one that it writes, and for a team of several ranks all that it reads.
    let caches: CacheSet
    var cache: KVCache { caches.caches[0] }
    let record: RankRecord
    let runahead: RunaheadAttention
    let allGather: AllGatherAttention
    /// Where the rank is on a device; its cache is then the image of the device's.
    private(set) var device: DeviceRunahead?
    let alone = LocalAttention()
    /// The groups whose workers take part.
    let groups: [Int]
    private let team: BarrierTeam
    /// Each group's workers' places in the team, nil for those that do not take part.
    private let places: [[Int?]]
    /// By place; nil for another process's worker.
    private let operations: [(any Computation)?]
    private let architecture: any Architecture

    /// What teams of one engine have in common.
    struct Common {
        let model: Model
        let weights: WeightCopies
        let angles: Angles
        let context: Int
        let state: RunState
        let memory: RunMemory
        /// Each group's CPUs and nodes.
        let placement: [Placement.Rank]
        /// Where each group's workers get their orders.
        let boards: [JobBoard]
        /// The groups whose workers are of this process.
        let here: Range<Int>
        /// Where each group notes the layer that it has begun.
        let watch: Watch
        /// Of ranks on devices.
        let devices: DeviceRanks?
    }

    /// A rank's own group.
    convenience init(_ index: Int, _ common: Common, cache: KVCache) throws(EngineError) {
        let count = common.placement[index].cpus.count
        let places = common.placement.indices.map { group in
            (0..<common.placement[group].cpus.count).map { group == index ? $0 : nil }
        }
        if let devices = common.devices, let place = devices.place(of: index) {
            try self.init(index, common, cache: cache, on: place, devices)
            return
        }
        try self.init(
            index: index, label: "rank \(index)", places: places, count: count, barrier: common.boards[index].barrier, common,
            caches: [cache], chunk: common.context, node: common.placement[index].node, records: true)
    }

    /// All groups as one team.
    /// - Parameters:
    ///   - atMost: of workers that share a CPU only one takes part, and no more than so many, as a run's many barriers would otherwise be as
    ///     many context switches.
    ///   - caches: one for all, or one for each group.
    ///   - chunk: the most tokens of a run.
    ///   - records: takes times and work down.
    convenience init(
        together label: String, atMost budget: Int, _ common: Common, caches: [KVCache], chunk: Int, records: Bool
    ) throws(EngineError) {
        var taken: Set<Int> = []
        var count = 0
        let places = common.placement.map { rank in
            rank.cpus.map { cpu -> Int? in
                guard count < max(1, budget), taken.insert(cpu).inserted else { return nil }
                count += 1
                return count - 1
            }
        }
        // A member with a CPU of its own may spin, and should: see WaitStrategy.
        let barrier = Barrier(count: count, wait: .spinning, in: try common.memory.lines(Barrier.lines))
        try self.init(
            index: 0, label: label, places: places, count: count, barrier: barrier, common, caches: caches, chunk: chunk, node: nil,
            records: records)
    }

    /// - Throws: `EngineError` when there is no memory.
    private init(
        index: Int, label: String, places: [[Int?]], count: Int, barrier: Barrier, _ common: Common, caches: [KVCache], chunk: Int,
        node: Int?, records: Bool
    ) throws(EngineError) {
        let model = common.model
        let team = BarrierTeam(label: label, count: count, barrier: barrier, state: common.state)
        func scratch(_ bytes: Int) throws(ModelError) -> Region {
            do { return try common.memory.region(bytes, for: "scratch of \(label)", node: node) } catch {
                throw ModelError(.memory, error.description)
            }
        }
        let arena: Arena
        do {
            arena = try Arena(
                model.geometry, weights: model.weights, chunk: chunk, context: common.context, workers: count, caches: caches.count,
                in: scratch)
        } catch { throw EngineError(.memory, error.description) }
        let readers = places.map { group in group.reduce(0) { $0 + ($1 == nil ? 0 : 1) } }
        let caches = CacheSet(
            caches, readers: caches.count == 1 ? [count] : readers,
            in: try common.memory.region(CacheSet.bytes(caches: caches.count), for: "what \(label) holds"))
        let record = try RankRecord(layers: model.geometry.layers, in: common.memory)
        var operations = [(any Computation)?](repeating: nil, count: count)
        for group in common.here {
            for (worker, place) in places[group].enumerated() {
                guard let place else { continue }
                let member = CPUOperations(
                    weights: common.weights.copy(rank: group, worker: worker), geometry: model.geometry, arena: arena,
                    caches: caches, home: caches.caches.count == 1 ? 0 : group, angles: common.angles, team: team, worker: place)
                if places[group].firstIndex(where: { $0 != nil }) == worker { member.reached = common.watch.layer(group) }
                if records, place == 0 { member.recorder = record }
                operations[place] = member
            }
        }
        let cache = caches.caches[0]
        runahead = RunaheadAttention(rank: index, cache: cache, record: record, state: common.state)
        allGather = AllGatherAttention(
            rank: index, ranks: places.count, cache: cache, record: record, state: common.state)
        self.index = index
        self.caches = caches
        self.team = team
        self.arena = arena
        self.record = record
        self.places = places
        self.operations = operations
        groups = places.indices.filter { group in places[group].contains { $0 != nil } }
        architecture = model.architecture
    }

    /// A rank on a device: its first worker asks for everything.
    private init(
        _ index: Int, _ common: Common, cache: KVCache, on place: DeviceRanks.Place, _ devices: DeviceRanks
    ) throws(EngineError) {
        let geometry = common.model.geometry
        let run = SupervisedRun(common.state, rank: index, device: devices.devices[index])
        record = try RankRecord(layers: geometry.layers, in: common.memory)
        let operations: CUDAOperations
        do {
            // Logits and progress only: its pages come with the first touch.
            arena = try Arena(geometry, weights: common.model.weights, chunk: common.context, context: common.context, workers: 1)
        } catch { throw EngineError(.memory, error.description) }
        do throws(CUDAError) {
            operations = try CUDAOperations(
                weights: place.weights, geometry: geometry, cache: place.cache, kernels: place.kernels, host: arena,
                chunk: common.context, run: run)
        } catch { throw EngineError(error) }
        operations.recorder = record
        operations.reached = common.watch.layer(index)
        runahead = RunaheadAttention(rank: index, cache: cache, record: record, state: common.state)
        allGather = AllGatherAttention(
            rank: index, ranks: common.placement.count, cache: cache, record: record, state: common.state)
        device = DeviceRunahead(
            rank: index, operations, image: cache, devices: devices, record: record, state: common.state, run: run)
        self.index = index
        caches = CacheSet(cache, readers: 1)
        team = BarrierTeam(label: "rank \(index)", count: 1, barrier: common.boards[index].barrier, state: common.state)
        places = common.placement.indices.map { group in
            common.placement[group].cpus.indices.map { group == index && $0 == 0 ? 0 : nil }
        }
        self.operations = [operations]
        groups = [index]
        architecture = common.model.architecture
    }

    /// Workers that take part.
    var threads: Int { operations.count }

    /// Whether both ranks compute on the same rows.
    func sharesCache(with other: Rank) -> Bool {
        if let device, let theirs = other.device { return device.sharesCache(with: theirs) }
        return device == nil && other.device == nil && cache === other.cache
    }

    /// Makes ready for the next run; between runs, by the ranks' owner.
    func reset() {
        team.reset()
        arena.reset()
        record.reset()
    }

    /// Waits until the team's workers are here.
    func synchronise(group: Int, worker: Int) throws(Stopped) {
        if let place = places[group][worker] { try team.synchronise(worker: place) }
    }

    /// One worker's part of a run. Allocates nothing. A stop is reported by whoever raised it (see RunState).
    func compute(_ job: Job, group: Int, worker: Int, exchange attention: any Attention) {
        guard let place = places[group][worker], let operations = operations[place] else { return }
        operations.prepare(job)
        try? operations.compute { () throws(Stopped) in try architecture.forward(on: operations, attention: attention) }
    }
}
