package import KVFabric
package import KVModel

/// All virtual ranks of an engine, the links between them, and the decoder over their workers. Used by one thread at a time.
package final class Ranks: @unchecked Sendable {
    // Its mutable state belongs to the engine's queue.
    package let model: Model
    package let weights: WeightCopy
    package let placement: Placement
    package let configuration: Configuration
    package let contextLength: Int
    package var link: Configuration.Link { connections.kind }
    let state: RunState
    let ranks: [Rank]
    /// Where prompts are cut.
    package let planner: Planner
    private let groups: [WorkerGroup]
    private let common: Rank.Common
    private let connections: Connections
    private let decoder: Decoder
    /// All workers as one team, for the sequential strategy on several ranks.
    private var together: Rank?
    /// The cache that holds the sequence, and how many positions of it.
    package private(set) var cache: KVCache
    package private(set) var length = 0

    /// What one prefill took.
    package struct Prefill: Sendable {
        /// Each rank's positions.
        package let chunks: [Positions]
        /// Seconds from the start to the last token's logits.
        package let duration: Double
        package let timeline: Timeline
        package let accounting: Accounting
        package let bytesHandedOver: UInt64
    }

    /// Starts the worker groups, packs the weights by them, reserves caches and scratch.
    /// - Parameters:
    ///   - packed: the model's weights where they are in memory already.
    ///   - progress: told of the packed fraction now and then.
    /// - Throws: `EngineError`.
    package init(
        model: Model, weights packed: WeightCopy? = nil, configuration: Configuration, placement: Placement,
        contextLength: Int, planner: Planner = Planner(), progress: (Double) -> Void
    ) throws(EngineError) {
        let state = RunState(waitLimit: configuration.waitLimit)
        let wait = WaitStrategy(oversubscribed: placement.oversubscribed)
        let groups = placement.ranks.enumerated().map { index, rank in
            WorkerGroup(label: "rank \(index)", cpus: rank.cpus, node: rank.node, wait: wait)
        }
        let weights: WeightCopy
        do { weights = if let packed { packed } else { try WeightCopy(model.weights) } } catch {
            throw EngineError(.memory, error.description)
        }
        if !weights.isPacked { Self.pack(weights, by: groups, progress: progress) }
        let geometry = model.geometry
        let angles = Angles(geometry.rotaries, positions: contextLength)
        let link = Self.resolve(configuration.link, placement)
        let type = CacheType(configuration.cacheElement)
        func cache() throws(EngineError) -> KVCache {
            do { return try KVCache(geometry, type: type, capacity: contextLength) } catch {
                throw EngineError(.memory, error.description)
            }
        }
        let shared = try cache()
        let common = Rank.Common(model: model, weights: weights, angles: angles, context: contextLength, state: state)
        var ranks: [Rank] = []
        for (index, group) in groups.enumerated() {
            ranks.append(
                try Rank(
                    index: index, label: "rank \(index)", groups: [group], onePerCPU: false, common,
                    cache: link == .ring && index > 0 ? try cache() : shared, chunk: contextLength, records: true))
        }
        decoder = try Decoder(groups: groups, common, cache: shared)
        connections = Connections(
            link, ranks: groups.count, rows: .init(geometry, type: type, context: contextLength), wait: wait,
            throttle: configuration.throttle)
        self.model = model
        self.weights = weights
        self.placement = placement
        self.configuration = configuration
        self.contextLength = contextLength
        self.state = state
        self.groups = groups
        self.common = common
        self.ranks = ranks
        self.planner = planner
        self.cache = shared
        try prepare(configuration.strategy)
    }

    /// Makes what a strategy needs beyond the ranks, so that the first prompt need not wait for it.
    /// - Throws: `EngineError` when there is no memory.
    package func prepare(_ strategy: Configuration.Strategy) throws(EngineError) {
        try connections.prepare(strategy)
        guard strategy == .sequential, ranks.count > 1, together == nil else { return }
        together = try Rank(
            index: 0, label: "all ranks", groups: groups, onePerCPU: true, common, cache: ranks[0].cache, chunk: contextLength,
            records: true)
    }

    // MARK: Prompt phase

    /// Computes a prompt from position 0: every rank its chunk, all at once.
    /// - Parameters:
    ///   - tokens: ids below the vocabulary's size; at least one, at most the context.
    ///   - strategy: the configuration's unless given; see `prepare`.
    ///   - partition: the configuration's unless given, even where the strategy knows no other.
    ///   - allLogits: room for [tokens, vocabulary] floats when every token's logits are wanted, else only the last token's are computed.
    ///   - progress: told of the done fraction about twenty times a second.
    /// - Throws: `EngineError`; the ranks stay usable.
    package func prefill(
        _ tokens: [Int32], strategy: Configuration.Strategy? = nil, partition: Partition? = nil,
        allLogits: UnsafeMutablePointer<Float>? = nil, progress: (Double) -> Void = { _ in }
    ) throws(EngineError) -> Prefill {
        try check(tokens)
        let usual = strategy == nil || strategy == configuration.strategy
        let strategy = strategy ?? configuration.strategy
        let partition = partition ?? (usual || strategy == .runahead ? configuration.partition : .even)
        try prepare(strategy)
        let planned = strategy == .runahead ? try plan(partition, tokens.count, progress: progress) : nil
        let chunks = try strategy.positions(of: tokens.count, ranks: ranks.count, partition: partition, planned: planned)
        length = 0
        try reset()
        let crew = strategy == .sequential ? [together ?? ranks[0]] : ranks
        let active = crew.filter { !chunks[$0.index].isEmpty }
        guard let last = active.first(where: { chunks[$0.index].upperBound == tokens.count }) else {
            throw EngineError(.request, "the prompt is empty")
        }
        let handedOver = connections.bytesSent
        connect(active, strategy, chunks)
        let start = MonotonicClock.now
        let failure: EngineError? = tokens.withUnsafeBufferPointer { buffer in
            for rank in active {
                var job = CPUOperations.Job()
                job.positions = chunks[rank.index]
                job.keys = strategy.gathers ? tokens.count : job.positions.upperBound
                job.isDense = strategy == .tsp
                job.tokens = buffer.baseAddress.map { $0 + job.positions.lowerBound }
                job.logits = allLogits.map { .all($0) } ?? (rank === last ? .last : .none)
                rank.start(job, exchange: exchange(rank, strategy), cache: rank.cache)
            }
            let total = Double(tokens.count * model.geometry.layers)
            return join(active) {
                progress(Double(active.reduce(0) { $0 + $1.arena.tokenLayersDone }) / total)
            }
        }
        let end = MonotonicClock.now
        if let failure { throw failure }
        cache = last.cache
        length = tokens.count
        finished = last
        let none = [Accounting.Work](repeating: .init(), count: model.geometry.layers)
        let run = Prefill(
            chunks: chunks, duration: Double(end - start) * 1e-9,
            timeline: Timeline(
                spans: active.flatMap { $0.record.spans(rank: $0.index, since: start) }, ranks: ranks.count),
            accounting: Accounting(
                work: chunks.indices.map { index in active.first { $0.index == index }?.record.work ?? none }),
            bytesHandedOver: connections.bytesSent - handedOver)
        if strategy == .runahead { learn(partition, run) }
        return run
    }

    private func exchange(_ rank: Rank, _ strategy: Configuration.Strategy) -> any Attention {
        switch strategy {
        case .sequential, .runahead: rank.runahead
        case .tsp, .tspCausal, .zigzag: rank.allGather
        }
    }

    /// Tells the ranks that take part of each other. Those without a token are left out.
    private func connect(_ active: [Rank], _ strategy: Configuration.Strategy, _ chunks: [Positions]) {
        if !strategy.gathers {
            let chain = connections.chain
            for (place, rank) in active.enumerated() {
                rank.runahead.prepare(
                    chunk: chunks[rank.index].first, before: place == 0 ? nil : chain[place - 1],
                    after: place == active.count - 1 ? nil : chain[place])
            }
        } else {
            let parts = active.map { (rank: $0.index, positions: chunks[$0.index]) }
            for rank in active {
                rank.allGather.prepare(
                    own: chunks[rank.index], peers: connections.peers(of: rank.index, among: parts),
                    barrier: connections.barrier(active.count))
            }
        }
    }

    /// The rank that ended the last prefill.
    private var finished: Rank?

    /// Waits until the ranks are done, telling of progress every 50 ms. No deadline of its own: every wait of a rank has one, and
    /// computing ends.
    private func join(_ active: [Rank], progress: () -> Void) -> EngineError? {
        for rank in active {
            while true {
                do {
                    try rank.join(deadline: MonotonicClock.now + 50_000_000)
                    break
                } catch {
                    // Only the slice has passed.
                    progress()
                }
            }
        }
        return state.error
    }

    private func reset() throws(EngineError) {
        state.reset()
        for rank in ranks { rank.reset() }
        together?.reset()
        try connections.reset()
    }

    private func check(_ tokens: [Int32]) throws(EngineError) {
        guard !tokens.isEmpty else { throw EngineError(.request, "the prompt is empty: there is no token to compute") }
        guard tokens.count <= contextLength else {
            throw EngineError(
                .context, "the prompt has \(tokens.count) tokens, the context holds \(contextLength) (-c)")
        }
        let vocabulary = model.geometry.vocabulary
        for (index, id) in tokens.enumerated() where id < 0 || Int(id) >= vocabulary {
            throw EngineError(.request, "token \(index) is \(id); the vocabulary has ids 0 to \(vocabulary - 1)")
        }
    }

    // MARK: Extension phase

    /// Forgets the sequence: decoding then begins at position 0.
    package func clear() throws(EngineError) {
        try reset()
        length = 0
        finished = nil
    }

    /// Appends one token to the sequence and computes its logits. Allocates nothing.
    /// - Throws: `EngineError` when the context is full, a wait failed or the run was cancelled.
    package func decode(_ id: Int32) throws(EngineError) {
        guard length < contextLength else {
            throw EngineError(.context, "the context of \(contextLength) positions (-c) is full")
        }
        guard id >= 0, Int(id) < model.geometry.vocabulary else {
            throw EngineError(.request, "token \(id) is not in the vocabulary of \(model.geometry.vocabulary)")
        }
        try decoder.step(id, at: length, cache: cache)
        length += 1
        finished = nil
    }

    /// The last computed token's logits, [vocabulary]; valid until the next prefill or decode.
    package var logits: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: (finished?.arena ?? decoder.arena).logits, count: model.geometry.vocabulary)
    }

    /// Ends the run under way within one layer of the slowest rank; any thread.
    package func cancel() {
        state.fail(EngineError(.cancelled, "cancelled"))
    }

    package func shutdown() {
        for group in groups { group.shutdown() }
    }

    // MARK: Parts of init

    private static func pack(_ copy: WeightCopy, by groups: [WorkerGroup], progress: (Double) -> Void) {
        let total = groups.reduce(0) { $0 + $1.count }
        let bytes = Double(max(1, copy.weights.packedBytes))
        var first = 0
        for group in groups {
            let offset = first
            group.start { worker in copy.pack(worker: offset + worker, of: total) }
            first += group.count
        }
        for group in groups {
            while true {
                do {
                    try group.join(deadline: MonotonicClock.now + 50_000_000)
                    break
                } catch { progress(Double(copy.packedSoFar) / bytes) }
            }
        }
        progress(1)
    }

    /// What `auto` means for a placement.
    static func resolve(_ link: Configuration.Link, _ placement: Placement) -> Configuration.Link {
        guard link == .auto else { return link }
        return Set(placement.ranks.map(\.node)).count > 1 ? .ring : .shared
    }
}

extension CacheType {
    package init(_ element: Configuration.CacheElement) {
        switch element {
        case .f16: self = .f16
        case .f32: self = .f32
        }
    }
}
