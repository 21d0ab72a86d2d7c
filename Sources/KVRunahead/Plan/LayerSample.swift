/// What one chunk took per layer in one run, in the middle over its layers: CPU time, so that others on the same CPUs count little.
package struct LayerSample: Sendable, Equatable {
    package var tokens: Int
    package var prefix: Int
    /// Seconds before and after the hand-over.
    package var before: Double
    package var after: Double
    /// Seconds before the hand-over of the last layer, which computes less; nil where it was not reached.
    package var beforeLast: Double?
    /// Seconds of sending, nil on the last rank.
    package var send: Double?

    package init(tokens: Int, prefix: Int, before: Double, after: Double, beforeLast: Double? = nil, send: Double? = nil) {
        self.tokens = tokens
        self.prefix = prefix
        self.before = before
        self.after = after
        self.beforeLast = beforeLast
        self.send = send
    }

    /// How much longer computing took than its CPU time: what interrupts all ranks now and then, as a virtual machine's host does, will
    /// interrupt the runs to be predicted. Bounded, as another program on the same CPUs may be gone by then.
    private static func stretch(_ timeline: Timeline) -> Double {
        let computed = timeline.spans.filter { $0.activity == .compute }
        let busy = computed.reduce(0) { $0 + $1.busy }
        return busy > 0 ? max(1, min(1.15, computed.reduce(0) { $0 + $1.duration } / busy)) : 1
    }

    /// The samples of a run's ranks; of an interrupted run, of the layers that were completed.
    package static func samples(_ timeline: Timeline, chunks: [Range<Int>], layers: Int) -> [LayerSample] {
        var byRank = [[[Timeline.Span]]](repeating: [[Timeline.Span]](repeating: [], count: layers), count: chunks.count)
        for span in timeline.spans where span.rank < chunks.count && span.layer < layers {
            byRank[span.rank][span.layer].append(span)
        }
        let last = chunks.lastIndex { !$0.isEmpty }
        let stretch = stretch(timeline)
        return chunks.indices.compactMap { rank in
            let computed = byRank[rank].map { spans in spans.filter { $0.activity == .compute } }
            // Complete layers have both computing spans; the first one, which is cold, counts only where there are few.
            let complete = (0..<max(0, layers - 1)).filter { computed[$0].count == 2 }
            let counted = complete.count > 3 ? Array(complete.dropFirst()) : complete
            guard let before = counted.map({ computed[$0][0].busy }).median,
                let after = counted.map({ computed[$0][1].busy }).median
            else { return nil }
            let sends = counted.compactMap { layer in byRank[rank][layer].first { $0.activity == .send }?.busy }
            return LayerSample(
                tokens: chunks[rank].count, prefix: chunks[rank].lowerBound,
                before: before * stretch, after: after * stretch,
                beforeLast: layers > 0 ? computed[layers - 1].first.map { $0.busy * stretch } : nil,
                send: rank == last ? nil : sends.median)
        }
    }
}

extension [LayerSample] {
    /// Adds a sample; of two of the same chunk the lesser times count, as what disturbs a run makes it slower.
    package mutating func merge(_ sample: LayerSample) {
        func least(_ a: Double?, _ b: Double?) -> Double? { a.map { Swift.min($0, b ?? $0) } ?? b }
        guard let index = firstIndex(where: { $0.tokens == sample.tokens && $0.prefix == sample.prefix }) else {
            append(sample)
            return
        }
        self[index].before = Swift.min(self[index].before, sample.before)
        self[index].after = Swift.min(self[index].after, sample.after)
        self[index].beforeLast = least(self[index].beforeLast, sample.beforeLast)
        self[index].send = least(self[index].send, sample.send)
    }
}

/// What is known of a model's layer before anything is measured.
package struct LayerShape: Sendable {
    package var layers: Int
    /// Bytes of one position's keys and values.
    package var rowBytes: Double
    /// Multiplications per token of its matrices over those per query-key pair of its attention: so many keys cost as much as the rest.
    package var tokensPerPair: Double

    package init(layers: Int, rowBytes: Double, tokensPerPair: Double) {
        self.layers = layers
        self.rowBytes = rowBytes
        self.tokensPerPair = tokensPerPair
    }
}

extension LayerCosts {
    /// Least squares over samples of chunks of different length or place; short ones leave what a pair takes to the model's shape.
    /// - Parameter copies: links copy bytes, so that sending takes time by the byte.
    /// - Returns: nil without samples.
    package init?(fitting samples: [LayerSample], shape: LayerShape, copies: Bool) {
        let usable = samples.filter { $0.tokens > 0 && $0.before > 0 && $0.after > 0 }
        let rows = usable.map { LeastSquares.Row(columns: [1, Double($0.tokens)], value: $0.before) }
        guard let before = LeastSquares.nonNegative(rows, keeping: 1),
            let after = Self.after(usable, project: before[1], shape: shape)
        else { return nil }
        self.init(layers: shape.layers, project: before[1], rest: after[1], pair: after[2], rowBytes: shape.rowBytes)
        overhead = Overhead(before: before[0], after: after[0])
        let lasts = usable.compactMap { sample in sample.beforeLast.map { (sample.tokens, $0) } }.filter { $0.1 > 0 }
        if let last = LeastSquares.nonNegative(lasts.map { .init(columns: [Double($0.0)], value: max(1e-9, $0.1 - before[0])) }) {
            projectLast = min(last[0], project)
        }
        if copies {
            let sends = usable.compactMap { sample in
                sample.send.map {
                    LeastSquares.Row(columns: [1, Double(sample.prefix + sample.tokens) * rowBytes], value: max($0, 1e-9))
                }
            }
            if let link = LeastSquares.nonNegative(sends) { self.link = LinkCosts(latency: link[0], copy: link[1], lead: 2) }
        } else {
            link.latency = usable.compactMap(\.send).median ?? 0
        }
        guard isSensible else { return nil }
    }

    /// Seconds after the hand-over: of any chunk, of a token, of a pair.
    private static func after(_ samples: [LayerSample], project: Double, shape: LayerShape) -> [Double]? {
        let rows = samples.map { sample in
            let tokens = Double(sample.tokens)
            return LeastSquares.Row(columns: [1, tokens, tokens * (Double(sample.prefix) + tokens / 2)], value: sample.after)
        }
        let alone = rows.map { LeastSquares.Row(columns: Array($0.columns.prefix(2)), value: $0.value) }
        guard let token = LeastSquares.nonNegative(alone, keeping: 1)?[1] else { return nil }
        // What a pair takes if its multiplications are as quick as the token's: a guess, right to within a small factor where timings are
        // right to a per cent or so. Chunks long enough to tell outweigh it by far.
        let guess = (project + token) / shape.tokensPerPair
        let told = LeastSquares.nonNegative(rows + [.init(columns: [0, 0, 1 / guess], value: 1, weight: 0.01)], keeping: 1)
        // Less than nothing is told where the first rank's CPU is a slow one.
        return told.map { [$0[0], $0[1], $0[2] > 0 ? $0[2] : guess] }
    }
}
