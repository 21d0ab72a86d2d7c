import KVFabric
import KVModel

extension Ranks {
    /// Time after which a calibration begins no further run, in seconds; a run under way is ended within a layer of it.
    package static let calibrationLimit = 2.5

    /// The sizes of a partition that is not given in numbers; nil where there is nothing to decide.
    /// - Parameter progress: as of `prefill`, told of 0 while chunks are timed.
    /// - Throws: `EngineError`, also when the run is cancelled meanwhile.
    func plan(
        _ partition: Partition, _ tokens: Int, behind prefix: Int = 0, progress: (Double) -> Void
    ) throws(EngineError) -> [Int]? {
        guard ranks.count > 1, partition.isPlanned else { return nil }
        return try planner.sizes(partition, tokens, behind: prefix, ranks: ranks.count) { (share: Double?) throws(EngineError) in
            try calibrate(share: share.map { (tokens, $0) }, progress: progress)
        }
    }

    /// Times even chunks of growing prompts, as many layers of each as the limit allows, and fits the costs to them.
    ///
    /// All ranks are busy at once, as in the runs that are to be predicted; where ranks share CPUs, one of each CPU.
    /// - Parameters:
    ///   - share: a prompt's tokens, and the share of its expected time that this may take; nil: the limit.
    ///   - limit: seconds; more of them tell the cost of a query-key pair better, from longer chunks.
    /// - Returns: nil of a model of one layer: only layers before the last one are timed.
    package func calibrate(
        share: (tokens: Int, part: Double)? = nil, limit most: Double = Ranks.calibrationLimit,
        progress: (Double) -> Void = { _ in }
    ) throws(EngineError) -> LayerCosts? {
        guard model.geometry.layers > 1 else { return nil }
        let start = MonotonicClock.now
        var limit = most
        func left() -> Double { limit - Double(MonotonicClock.now - start) * 1e-9 }
        let alone = unshared
        var samples: [LayerSample] = []
        // One token through all layers: what the last one takes, and everything is warm.
        let closing = try timed(1, among: [alone[0]], limit: limit / 4, progress).closing
        let longest = min(contextLength, 16_384)
        var counts = [min(64 * alone.count, longest)]
        while let last = counts.last, last < longest, counts.count < 4 { counts.append(min(longest, 4 * last)) }
        var secondsPerLayer = [Double](repeating: 0, count: counts.count)
        // Twice, if there is time: a short disturbance then hits one of both only. More often where that takes no time at all.
        for pass in 0..<8 where pass < 2 || left() > 0.95 * limit {
            for (index, count) in counts.enumerated() {
                // Two layers at the least must fit.
                let perLayer = pass > 0 ? secondsPerLayer[index] : Self.expected(secondsPerLayer[..<index])
                guard samples.isEmpty || left() > 2.5 * perLayer else { break }
                let run = try timed(count, among: alone, limit: min(limit / 8, left() / 2), progress)
                for sample in run.samples { samples.merge(sample) }
                secondsPerLayer[index] = run.seconds / Double(max(1, run.layers))
                if let share, pass == 0, index == 0 {
                    let expected = secondsPerLayer[0] * Double(model.geometry.layers * share.tokens) / Double(count)
                    limit = min(limit, expected * share.part)
                }
            }
        }
        guard var costs = LayerCosts(fitting: samples, shape: shape, copies: link == .ring) else { return nil }
        costs.closing = closing ?? 0
        return costs
    }

    /// A layer's seconds of four times the tokens of the last run: as the ones before grew, a little more for attention.
    private static func expected(_ seconds: ArraySlice<Double>) -> Double {
        guard let last = seconds.last else { return 0 }
        guard let before = seconds.dropLast().last, before > 0 else { return 5 * last }
        return last * min(16, max(4, 1.25 * last / before))
    }

    /// What the model's geometry tells.
    private var shape: LayerShape {
        let geometry = model.geometry
        let embedding = geometry.embedding
        let weights = embedding * (2 * geometry.queryWidth + 2 * geometry.keyValueWidth + 3 * geometry.activeFeedForward)
        return LayerShape(
            layers: geometry.layers,
            rowBytes: Double(2 * geometry.keyValueWidth * CacheType(configuration.cacheElement).bytes),
            tokensPerPair: Double(weights) / Double(2 * geometry.queryWidth))
    }

    /// The ranks that share no CPU, and no device, with one before them.
    private var unshared: [Int] {
        var taken: Set<Int> = []
        var used: Set<Configuration.Device> = []
        return placement.ranks.indices.filter { rank in
            if devices[rank] != .cpu { return used.insert(devices[rank]).inserted }
            let cpus = placement.ranks[rank].cpus
            guard taken.isDisjoint(with: cpus) else { return false }
            taken.formUnion(cpus)
            return true
        }
    }

    private struct Timed {
        var samples: [LayerSample]
        var seconds: Double
        /// Completed by the slowest rank.
        var layers: Int
        /// Of the prompt's last token after the last hand-over; nil when it was not reached.
        var closing: Double?
    }

    /// Runs even chunks until all layers are done or the limit has passed.
    private func timed(
        _ count: Int, among active: [Int], limit: Double, _ progress: (Double) -> Void
    ) throws(EngineError) -> Timed {
        let even = Partition.even(count, ranks: active.count)
        var sizes = [Int](repeating: 0, count: ranks.count)
        for (index, rank) in active.enumerated() { sizes[rank] = even[index] }
        let layers = model.geometry.layers
        let start = MonotonicClock.now
        let deadline = MonotonicClock.deadline(after: limit)
        var stopped = false
        var chunks: [Range<Int>] = []
        var duration: Double?
        do {
            chunks = try Partition.tokens(sizes).chunks(of: count, ranks: ranks.count)
            let run = try prefill([Int32](repeating: 0, count: count), strategy: .runahead, partition: .tokens(sizes)) { done in
                progress(0)
                // Two layers at least, however long they take; one where there are but two.
                if MonotonicClock.now > deadline, done * Double(layers) >= min(2.5, Double(layers) - 0.5) {
                    stopped = true
                    cancel()
                }
            }
            duration = run.duration
        } catch {
            guard stopped, error.code == .cancelled else { throw error }
        }
        let seconds = Double(MonotonicClock.now - start) * 1e-9
        let spans = active.flatMap { ranks[$0].record.spans(rank: $0, since: start) }
        let timeline = Timeline(spans: spans, ranks: ranks.count)
        let reached = active.map { rank in
            Set(spans.filter { $0.rank == rank && $0.activity == .compute }.map(\.layer)).count
        }
        var closing: Double?
        if let duration, let last = active.last {
            let handedOver = spans.filter { $0.rank == last && $0.layer == layers - 1 && $0.activity == .compute }.first?.end
            closing = handedOver.map { max(0, duration - $0) }
        }
        return Timed(
            samples: LayerSample.samples(timeline, chunks: chunks, layers: layers), seconds: seconds,
            layers: reached.min() ?? 0, closing: closing)
    }

    /// Learns the costs from a prompt that was computed anyway, where none were measured for their own sake.
    func learn(_ partition: Partition, _ run: Prefill) {
        guard partition == .auto, ranks.count > 1, planner.wantsSamples, !placement.oversubscribed,
            run.chunks.reduce(0, { $0 + $1.count }) >= Planner.shortest * ranks.count
        else { return }
        let layers = model.geometry.layers
        let last = run.chunks.lastIndex { !$0.isEmpty } ?? 0
        let handedOver = run.timeline.spans.first { $0.rank == last && $0.layer == layers - 1 && $0.activity == .compute }?.end
        planner.learn(LayerSample.samples(run.timeline, chunks: run.chunks.map(\.first), layers: layers)) { samples in
            var costs = LayerCosts(fitting: samples, shape: shape, copies: link == .ring)
            costs?.closing = handedOver.map { max(0, run.duration - $0) } ?? 0
            return costs
        }
    }
}
