import KVFabric
import KVModel

/// The ranks, the teams of all their workers, and the ways between them, as one process has them: all of it in one process, or each process's view
/// of memory that all share, with the operations of its own workers. It carries orders out; it has no threads.
final class Station: @unchecked Sendable {
    // Its owner changes it between runs, its workers read it during one.
    let ranks: [Rank]
    /// All workers, for one token at a time.
    let decoder: Rank
    /// All workers, for the sequential strategy on several ranks.
    private(set) var together: Rank?
    let connections: Connections
    let state: RunState
    let book: OrderBook
    let boards: [JobBoard]
    let watch: Watch
    /// Every token's logits of a prompt, [context, vocabulary], where ranks are processes and somebody wants them.
    let allLogits: UnsafeMutablePointer<Float>?
    private let common: Rank.Common
    /// Of ranks on devices.
    let devices: DeviceRanks?
    /// CPUs that can be busy all the time.
    private let budget: Int
    private let logitsRegion: Region?

    /// What ranks are made for.
    struct Plan {
        var placement: Placement
        var contextLength: Int
        var link: Configuration.Link
        /// Where the weights lie, as decided.
        var memory: Configuration.Memory
        var hugePages: Bool
        var cacheElement: Configuration.CacheElement
        var waitLimit: Double
        var throttle: LinkProfile?
    }

    /// - Parameters:
    ///   - watch, state: nil: of its own.
    ///   - here: ranks whose workers are of this process.
    ///   - needs: what is to be there from the beginning.
    /// - Throws: `EngineError` when there is no memory.
    init(
        _ plan: Plan, model: Model, weights: WeightCopies, memory: RunMemory, watch: Watch? = nil, state: RunState? = nil,
        here: Range<Int>, needs: Needs, devices: DeviceRanks? = nil, detour: LinkDetour? = nil
    ) throws(EngineError) {
        let placed = plan.placement.ranks
        let count = placed.count
        let wait = plan.placement.wait
        let state =
            if let state { state } else { RunState(waitLimit: plan.waitLimit, in: try memory.lines(RunState.lines)) }
        let lines = try memory.lines(count * JobBoard.lines)
        let boards = placed.enumerated().map { index, rank in
            JobBoard(
                label: "rank \(index)", count: rank.cpus.count, wait: wait, in: Lines(of: lines, from: index * JobBoard.lines))
        }
        let watch = if let watch { watch } else { Watch(in: try memory.lines(count)) }
        let geometry = model.geometry
        let type = CacheType(plan.cacheElement)
        func cache(_ node: Int?) throws(EngineError) -> KVCache {
            let bytes = KVCache.bytes(geometry, type: type, capacity: plan.contextLength)
            let region = try memory.region(bytes, for: "a KV-cache", node: node)
            do { return try KVCache(geometry, type: type, capacity: plan.contextLength, in: region) } catch {
                throw EngineError(.memory, error.description)
            }
        }
        let common = Rank.Common(
            model: model, weights: weights, angles: Angles(geometry.rotaries, positions: plan.contextLength),
            context: plan.contextLength, state: state, memory: memory, placement: placed, boards: boards, here: here,
            watch: watch, devices: devices)
        book = try OrderBook(workers: placed.map(\.cpus.count), capacity: plan.contextLength, in: memory)
        // One for ranks of several nodes lies where they write it.
        let isFar = plan.link != .ring && plan.placement.nodes.count > 1
        var caches = [try cache(isFar ? nil : placed[0].node)]
        if plan.link == .ring {
            for rank in placed.dropFirst() { caches.append(try cache(rank.node)) }
        }
        var ranks: [Rank] = []
        for index in placed.indices { ranks.append(try Rank(index, common, cache: caches[plan.link == .ring ? index : 0])) }
        decoder = try Rank(together: "decode", atMost: plan.placement.budget, common, caches: caches, chunk: 1, records: false)
        connections = Connections(
            plan.link, nodes: placed.map(\.node), rows: .init(geometry, type: type, context: plan.contextLength),
            wait: wait, throttle: plan.throttle, in: memory, devices: devices, detour: detour)
        logitsRegion =
            needs.contains(.allLogits)
            ? try memory.region(plan.contextLength * geometry.vocabulary * 4, for: "all tokens' logits") : nil
        allLogits = logitsRegion?.base.bindMemory(to: Float.self, capacity: plan.contextLength * geometry.vocabulary)
        self.common = common
        self.devices = devices
        budget = plan.placement.budget
        self.ranks = ranks
        self.state = state
        self.boards = boards
        self.watch = watch
        for strategy in needs.strategies { try prepare(strategy) }
    }

    /// Makes what a strategy needs beyond the ranks, so that the first prompt need not wait for it.
    /// - Throws: `EngineError` when there is no memory.
    func prepare(_ strategy: Configuration.Strategy) throws(EngineError) {
        try connections.prepare(strategy)
        guard strategy == .sequential, ranks.count > 1, together == nil, devices == nil else { return }
        together = try Rank(
            together: "all ranks", atMost: budget, common, caches: [ranks[0].cache], chunk: common.context, records: true)
    }

    /// Forgets what the run before left; between runs, by the ranks' owner.
    func reset() throws(EngineError) {
        state.reset()
        watch.reset(ranks: ranks.count)
        for rank in ranks { rank.reset() }
        together?.reset()
        decoder.reset()
        try connections.reset()
        try devices?.settle(deadline: state.deadline)
    }

    // MARK: The workers' side

    /// One worker's part of the order at hand. Allocates nothing, save for packing.
    func perform(group: Int, worker: Int) {
        let order = book.order
        switch order.kind {
        case .pack: common.weights.pack(rank: group, worker: worker)
        case .prefill: prefill(order, ranks[group], worker)
        case .together:
            guard let together else { return }
            compute(order, together, book[0], group, worker, exchange: together.runahead)
        case .decode: decode(order, group, worker)
        case .locate: WorkerWatch.note(to: book.note(rank: group, worker: worker))
        }
    }

    private func prefill(_ order: Order, _ rank: Rank, _ worker: Int) {
        let gathers = order.strategy.gathers
        if worker == 0 {
            if gathers {
                connections.gather(rank, book)
            } else {
                do { try connections.join(rank, book) } catch {
                    state.fail(EngineError(error))
                    return
                }
            }
        }
        // The others may read what worker 0 has set up.
        do { try rank.synchronise(group: rank.index, worker: worker) } catch { return }
        let chain: any Attention = if let device = rank.device { device } else { rank.runahead }
        compute(order, rank, book[rank.index], rank.index, worker, exchange: gathers ? rank.allGather : chain)
    }

    private func compute(
        _ order: Order, _ rank: Rank, _ positions: Positions, _ group: Int, _ worker: Int, exchange: any Attention
    ) {
        var job = Job()
        job.positions = positions
        job.keys = order.strategy.gathers ? order.tokens : positions.upperBound
        job.locates = order.locates
        job.isDense = order.strategy == .tsp
        job.tokens = book.tokens + positions.lowerBound
        job.logits =
            order.allLogits ? destination.map { .all($0) } ?? .none : rank.index == order.rank ? .last : .none
        rank.compute(job, group: group, worker: worker, exchange: exchange)
    }

    private func decode(_ order: Order, _ group: Int, _ worker: Int) {
        var job = Job()
        job.positions = Positions(order.position..<order.position + 1)
        job.keys = order.position + 1
        job.tokens = UnsafePointer(book.token)
        job.logits = .last
        job.isDecode = true
        let rank = decoder(order.rank)
        rank.compute(job, group: group, worker: worker, exchange: rank.alone)
    }

    /// Who computes the next token: all workers, or beside devices the rank that has the sequence.
    func decoder(_ holder: Int) -> Rank { devices == nil ? decoder : ranks[holder] }

    /// Where all tokens' logits go: memory that the ranks share, or in one process the caller's own.
    private var destination: UnsafeMutablePointer<Float>? { allLogits ?? callersLogits }
    /// Set between runs.
    var callersLogits: UnsafeMutablePointer<Float>?
}

/// What ranks that are processes have to have from their beginning: it cannot be made while they run.
struct Needs: OptionSet, Codable {
    let rawValue: Int
    static let chain = Needs(rawValue: 1)
    static let gathers = Needs(rawValue: 2)
    static let together = Needs(rawValue: 4)
    static let allLogits = Needs(rawValue: 8)

    init(rawValue: Int) { self.rawValue = rawValue }

    init(_ strategy: Configuration.Strategy) {
        self =
            switch strategy {
            case .runahead: .chain
            case .sequential: .together
            case .tsp, .tspCausal, .zigzag: .gathers
            }
    }

    /// One of each kind, in an order that all processes keep.
    var strategies: [Configuration.Strategy] {
        (contains(.chain) ? [.runahead] : []) + (contains(.gathers) ? [.tsp] : []) + (contains(.together) ? [.sequential] : [])
    }
}
