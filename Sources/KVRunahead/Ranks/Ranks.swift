package import KVFabric
package import KVModel

/// All virtual ranks of an engine, the links between them, and the decoder over their workers. Used by one thread at a time.
package final class Ranks: @unchecked Sendable {
    // Its mutable state belongs to the engine's queue.
    package let model: Model
    package let placement: Placement
    package let configuration: Configuration
    package let contextLength: Int
    package let link: Configuration.Link
    let state: RunState
    let ranks: [Rank]
    /// Where prompts are cut.
    package let planner: Planner
    private let links: [any Link]
    private let decoder: Decoder
    /// The cache that holds the sequence, and how many positions of it.
    package private(set) var cache: KVCache
    package private(set) var length = 0

    /// What one prefill took.
    package struct Prefill: Sendable {
        package let chunks: [Range<Int>]
        /// Seconds from the start to the last token's logits.
        package let duration: Double
        package let timeline: Timeline
        package let bytesHandedOver: UInt64
    }

    /// Starts the worker groups, packs the weights by them, reserves caches and scratch.
    /// - Parameter progress: told of the packed fraction now and then.
    /// - Throws: `EngineError`.
    package init(
        model: Model, configuration: Configuration, placement: Placement, contextLength: Int,
        planner: Planner = Planner(), progress: (Double) -> Void
    ) throws(EngineError) {
        let state = RunState(waitLimit: configuration.waitLimit)
        let wait = WaitStrategy(oversubscribed: placement.oversubscribed)
        let groups = placement.ranks.enumerated().map { index, rank in
            WorkerGroup(label: "rank \(index)", cpus: rank.cpus, node: rank.node, wait: wait)
        }
        try Self.pack(model.weights, by: groups, state: state, progress: progress)
        let geometry = model.geometry
        let angles = Angles(geometry.rotary, positions: contextLength)
        let link = Self.resolve(configuration.link, placement)
        let type = CacheType(configuration.cacheElement)
        func cache() throws(EngineError) -> KVCache {
            do { return try KVCache(geometry, type: type, capacity: contextLength) } catch {
                throw EngineError(.memory, error.description)
            }
        }
        let shared = try cache()
        var ranks: [Rank] = []
        for (index, group) in groups.enumerated() {
            ranks.append(
                try Rank(
                    index: index, group: group, model: model, angles: angles,
                    cache: link == .ring && index > 0 ? try cache() : shared, context: contextLength, state: state))
        }
        var links: [any Link] = []
        for _ in 1..<max(1, groups.count) {
            do {
                switch link {
                case .ring:
                    links.append(
                        try RingLink(capacity: Self.ringBytes(geometry, type: type, context: contextLength), wait: wait))
                case .shared, .auto: links.append(try SharedCacheLink(wait: wait))
                }
            } catch { throw EngineError(.system, "link between ranks: \(error)") }
        }
        decoder = try Decoder(
            groups: groups, model: model, angles: angles, cache: shared, context: contextLength, state: state)
        self.model = model
        self.placement = placement
        self.configuration = configuration
        self.contextLength = contextLength
        self.link = link
        self.state = state
        self.ranks = ranks
        self.planner = planner
        self.links = links
        self.cache = shared
    }

    // MARK: Prompt phase

    /// Computes a prompt from position 0: every rank its chunk, all at once.
    /// - Parameters:
    ///   - tokens: ids below the vocabulary's size; at least one, at most the context.
    ///   - allLogits: room for [tokens, vocabulary] floats when every token's logits are wanted, else only the last token's are computed.
    ///   - progress: told of the done fraction about twenty times a second.
    /// - Throws: `EngineError`; the ranks stay usable.
    package func prefill(
        _ tokens: [Int32], partition: Partition? = nil, allLogits: UnsafeMutablePointer<Float>? = nil,
        progress: (Double) -> Void = { _ in }
    ) throws(EngineError) -> Prefill {
        try check(tokens)
        let partition = partition ?? configuration.partition
        let planned = try plan(partition, tokens.count, progress: progress)
        let chunks = try partition.chunks(of: tokens.count, ranks: ranks.count, planned: planned)
        length = 0
        try reset()
        let active = ranks.filter { !chunks[$0.index].isEmpty }
        guard let last = active.last else { throw EngineError(.request, "the prompt is empty") }
        let handedOver = bytesHandedOver
        let start = MonotonicClock.now
        let failure: EngineError? = tokens.withUnsafeBufferPointer { buffer in
            for (place, rank) in active.enumerated() {
                let chunk = chunks[rank.index]
                var job = CPUOperations.Job()
                job.chunk = chunk
                job.tokens = buffer.baseAddress.map { $0 + chunk.lowerBound }
                if let allLogits {
                    job.logits = .all(allLogits + chunk.lowerBound * model.geometry.vocabulary)
                } else {
                    job.logits = rank === last ? .last : .none
                }
                // Ranks without a chunk are left out of the chain.
                rank.start(
                    job, before: place == 0 ? nil : links[place - 1], after: rank === last ? nil : links[place])
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
        let run = Prefill(
            chunks: chunks, duration: Double(end - start) * 1e-9,
            timeline: Timeline(
                spans: active.flatMap { $0.timeline.spans(rank: $0.index, since: start) }, ranks: ranks.count),
            bytesHandedOver: bytesHandedOver - handedOver)
        learn(partition, run)
        return run
    }

    /// The rank that ended the last prefill.
    private var finished: Rank?

    /// Waits until the ranks are done, telling of progress every 50 ms. No deadline of its own: every wait of a rank has one, and
    /// computing ends.
    private func join(_ active: [Rank], progress: () -> Void) -> EngineError? {
        for rank in active {
            while true {
                do {
                    try rank.group.join(deadline: MonotonicClock.now + 50_000_000)
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
        for rank in ranks { rank.team.reset() }
        for link in links {
            do { try link.reset() } catch { throw EngineError(.system, "link between ranks: \(error)") }
        }
    }

    private var bytesHandedOver: UInt64 { links.reduce(0) { $0 + $1.bytesSent } }

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
        for rank in ranks { rank.group.shutdown() }
    }

    // MARK: Parts of init

    private static func pack(
        _ weights: Weights, by groups: [WorkerGroup], state: RunState, progress: (Double) -> Void
    ) throws(EngineError) {
        if weights.isPacked { return }
        let total = groups.reduce(0) { $0 + $1.count }
        let bytes = Double(max(1, weights.packedBytes))
        var first = 0
        for group in groups {
            let offset = first
            group.start { worker in weights.pack(worker: offset + worker, of: total) }
            first += group.count
        }
        for group in groups {
            while true {
                do {
                    try group.join(deadline: MonotonicClock.now + 50_000_000)
                    break
                } catch { progress(Double(weights.packedSoFar) / bytes) }
            }
        }
        progress(1)
    }

    /// What `auto` means for a placement.
    static func resolve(_ link: Configuration.Link, _ placement: Placement) -> Configuration.Link {
        guard link == .auto else { return link }
        return Set(placement.ranks.map(\.node)).count > 1 ? .ring : .shared
    }

    /// Room for two layers' whole prefix, within reason: a rank may then be two layers ahead of the next. Larger segments stream.
    static func ringBytes(_ geometry: Geometry, type: CacheType, context: Int) -> Int {
        min(256 << 20, 2 * 2 * context * geometry.keyValueWidth * type.bytes + 4096)
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
