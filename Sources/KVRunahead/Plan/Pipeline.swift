/// Who computes a simulated prompt, and what the ranks exchange in each layer.
package enum PipelineStrategy: String, Sendable, CaseIterable {
    /// One rank, one chunk.
    case sequential
    /// KV-Runahead: a chain, no barrier.
    case runahead
    /// Tensor/sequence parallelism as in the paper: all-gather of keys and values, dense scores.
    case tsp
    /// The same with the upper triangle left out.
    case tspCausal = "tsp-causal"
    /// All-gather; rank i takes the pieces i and 2p - 1 - i of 2p.
    case zigzag
}

/// A simulation of ranks computing a prompt, layer by layer: compute, hand-over, waiting.
package struct Pipeline: Sendable {
    package let costs: LayerCosts
    /// CPUs that the ranks share fairly, rank r on r mod cores; nil: each rank has its own.
    package var cores: Int?
    /// Positions before the prompt's first whose keys and values all ranks have already.
    package var prefix: Int

    package init(_ costs: LayerCosts, cores: Int? = nil, prefix: Int = 0) {
        self.costs = costs
        self.cores = cores
        self.prefix = prefix
    }

    package struct Outcome: Sendable, Equatable {
        /// Until the first token.
        package var seconds: Double
        /// Of computing, per rank with a chunk.
        package var busy: [Double]
    }

    /// What one rank does in a layer, and in the last one.
    struct Load {
        var before, beforeLast: Double
        var after: Double
        /// Bytes received and sent.
        var bytesIn, bytesOut: Double
        /// It computes the prompt's last token.
        var closes = false
    }

    /// - Parameter sizes: tokens of each rank's chunk in order (of the whole prompt's sum alone for `sequential`; only their number and sum
    ///   for `zigzag`).
    /// - Complexity: O(ranks × layers); with shared cores O(ranks² × layers).
    package func run(_ strategy: PipelineStrategy = .runahead, _ sizes: [Int]) -> Outcome {
        let loads = loads(strategy, sizes)
        guard !loads.isEmpty else { return Outcome(seconds: 0, busy: []) }
        let gathers = strategy != .runahead && strategy != .sequential
        let layers = Double(costs.layers - 1)
        let busy = loads.map { $0.beforeLast + layers * ($0.before + $0.after) + ($0.closes ? costs.closing : 0) }
        if let cores, cores < loads.count {
            var shared = SharedCores(costs, loads, cores: cores, gathers: gathers)
            return Outcome(seconds: shared.run(), busy: busy)
        }
        return Outcome(seconds: gathers ? barriers(loads) : chain(loads), busy: busy)
    }

    private func loads(_ strategy: PipelineStrategy, _ sizes: [Int]) -> [Load] {
        let total = sizes.reduce(0, +)
        guard total > 0 else { return [] }
        var chunks: [[Range<Int>]]
        switch strategy {
        case .sequential: chunks = [[0..<total]]
        case .runahead, .tsp, .tspCausal: chunks = Self.ranges(sizes).map { [$0] }
        case .zigzag:
            let pieces = Self.ranges(Partition.even(total, ranks: 2 * sizes.count))
            chunks = sizes.indices.map { [pieces[$0], pieces[pieces.count - 1 - $0]] }
        }
        chunks = chunks.filter { !$0.allSatisfy(\.isEmpty) }
        let closing = chunks.firstIndex { $0.contains { !$0.isEmpty && $0.upperBound == total } }
        return chunks.indices.map { index in
            let tokens = Double(chunks[index].reduce(0) { $0 + $1.count })
            let pairs = chunks[index].reduce(0.0) { sum, chunk in
                let n = Double(chunk.count)
                return sum + n
                    * (Double(prefix) + (strategy == .tsp ? Double(total) : Double(chunk.lowerBound) + costs.triangle * n))
            }
            let end = Double(chunks[index][0].upperBound)
            let isChain = strategy == .runahead
            return Load(
                before: costs.overhead.before + costs.project * tokens,
                beforeLast: costs.overhead.before + costs.projectLast * tokens,
                after: costs.overhead.after + costs.rest * tokens + costs.pair * pairs,
                bytesIn: isChain ? Double(chunks[index][0].lowerBound) * costs.rowBytes : 0,
                bytesOut: isChain
                    ? (index == chunks.count - 1 ? 0 : end * costs.rowBytes)
                    : tokens * costs.rowBytes * Double(chunks.count - 1),
                closes: index == closing)
        }
    }

    private static func ranges(_ sizes: [Int]) -> [Range<Int>] {
        var start = 0
        return sizes.map { size in
            defer { start += size }
            return start..<start + size
        }
    }

    /// Every rank on its own cores, each waiting for the one before only.
    private func chain(_ loads: [Load]) -> Double {
        let link = costs.link
        let ranks = loads.count
        var end = [Double](repeating: 0, count: ranks)
        var port = end
        // When a rank had received a layer, of the last `lead` layers: the slots that its sender waits for.
        let lead = link.lead ?? 0
        var received = [Double](repeating: 0, count: ranks * max(1, lead))
        for layer in 0..<costs.layers {
            let isLast = layer == costs.layers - 1
            var sendStart = 0.0
            var available = 0.0
            for rank in 0..<ranks {
                let load = loads[rank]
                let projected = end[rank] + (isLast ? load.beforeLast : load.before)
                var now = projected
                if rank > 0 {
                    now = max(max(projected, sendStart) + load.bytesIn * link.copy, available)
                    if lead > 0 { received[rank * lead + layer % lead] = now }
                }
                if rank < ranks - 1 {
                    if lead > 0, layer >= lead { now = max(now, received[(rank + 1) * lead + layer % lead]) }
                    sendStart = now
                    now += load.bytesOut * link.copy
                    port[rank] = max(now, port[rank]) + load.bytesOut * link.wire
                    available = port[rank] + link.latency
                }
                end[rank] = now + (isLast ? (load.closes ? costs.closing : 0) : load.after)
            }
        }
        return end[ranks - 1]
    }

    /// Every rank on its own cores, all waiting for all in every layer.
    private func barriers(_ loads: [Load]) -> Double {
        let link = costs.link
        var end = [Double](repeating: 0, count: loads.count)
        var gathered = 0.0
        for layer in 0..<costs.layers {
            let isLast = layer == costs.layers - 1
            gathered = 0
            for (rank, load) in loads.enumerated() {
                let sent = end[rank] + (isLast ? load.beforeLast : load.before) + load.bytesOut * (link.copy + link.wire)
                gathered = max(gathered, sent)
            }
            if loads.count > 1 { gathered += link.latency }
            if !isLast { for (rank, load) in loads.enumerated() { end[rank] = gathered + load.after } }
        }
        return gathered + costs.closing
    }

    // MARK: Bounds

    /// What no partition of the ranks can be below: the paper's area of an even staircase, and all causal work shared out evenly.
    package func bounds(_ tokens: Int, ranks: Int) -> (staircase: Double, ideal: Double) {
        let n = Double(tokens)
        let p = Double(ranks)
        let layers = Double(costs.layers - 1)
        let linear = n * (layers * (costs.project + costs.rest) + costs.projectLast) / p
        let square = layers * costs.pair * n * n / 2
        return (linear + square * (1 / p + 1 / (p * p)), linear + square / p)
    }
}

/// The same ranks on fewer cores: an event-driven simulation in which the ranks of a core that have work share it fairly.
private struct SharedCores {
    private enum Phase { case before, waiting, copying, after, done }
    private struct State {
        var phase = Phase.before
        var layer = 0
        /// Seconds of a core that the phase still needs.
        var left = 0.0
        var port = 0.0
        /// Per layer, when what this rank sent can be used; infinite: not sent yet.
        var available: [Double]
    }

    private let costs: LayerCosts
    private let loads: [Pipeline.Load]
    private let cores: Int
    private let gathers: Bool
    private var states: [State]

    init(_ costs: LayerCosts, _ loads: [Pipeline.Load], cores: Int, gathers: Bool) {
        self.costs = costs
        self.loads = loads
        self.cores = max(1, cores)
        self.gathers = gathers
        states = loads.map { load in
            State(
                left: costs.layers == 1 ? load.beforeLast : load.before,
                available: [Double](repeating: .infinity, count: costs.layers))
        }
    }

    mutating func run() -> Double {
        var now = 0.0
        var finished = 0.0
        while true {
            var moved = true
            while moved {
                moved = false
                for rank in states.indices where step(rank, now) {
                    moved = true
                    if states[rank].phase == .done, loads[rank].closes { finished = now }
                }
            }
            guard states.contains(where: { $0.phase != .done }) else { return finished }
            let runnable = states.map { $0.phase == .before || $0.phase == .copying || $0.phase == .after }
            var sharing = [Int](repeating: 0, count: cores)
            for rank in states.indices where runnable[rank] { sharing[rank % cores] += 1 }
            var next = Double.infinity
            for rank in states.indices {
                if runnable[rank] {
                    next = min(next, now + states[rank].left * Double(sharing[rank % cores]))
                } else if states[rank].phase == .waiting {
                    next = min(next, ready(rank))
                }
            }
            // Nothing can go on: not reachable, as the chain's first rank waits for nobody.
            guard next.isFinite else { return finished }
            next = max(next, now)
            for rank in states.indices where runnable[rank] {
                states[rank].left -= (next - now) / Double(sharing[rank % cores])
            }
            now = next
        }
    }

    /// When a waiting rank can go on, as far as is known.
    private func ready(_ rank: Int) -> Double {
        let layer = states[rank].layer
        if gathers { return states.reduce(0) { max($0, $1.available[layer]) } }
        return rank == 0 ? 0 : states[rank - 1].available[layer]
    }

    /// Moves a rank to its next phase if it can.
    private mutating func step(_ rank: Int, _ now: Double) -> Bool {
        let load = loads[rank]
        let layer = states[rank].layer
        let isLast = layer == costs.layers - 1
        switch states[rank].phase {
        case .before:
            guard states[rank].left <= 1e-12 else { return false }
            if gathers { send(rank, now) }
            states[rank].phase = .waiting
        case .waiting:
            guard ready(rank) <= now + 1e-12 else { return false }
            states[rank].left = (load.bytesIn + (gathers ? 0 : load.bytesOut)) * costs.link.copy
            states[rank].phase = .copying
        case .copying:
            guard states[rank].left <= 1e-12 else { return false }
            if !gathers { send(rank, now) }
            states[rank].left = isLast ? (load.closes ? costs.closing : 0) : load.after
            states[rank].phase = .after
        case .after:
            guard states[rank].left <= 1e-12 else { return false }
            states[rank].layer += 1
            states[rank].left = layer + 1 == costs.layers - 1 ? load.beforeLast : load.before
            states[rank].phase = isLast ? .done : .before
        case .done: return false
        }
        return true
    }

    private mutating func send(_ rank: Int, _ now: Double) {
        let bytes = loads[rank].bytesOut
        let perByte = costs.link.wire + (gathers ? costs.link.copy : 0)
        states[rank].port = max(now, states[rank].port) + bytes * perByte
        states[rank].available[states[rank].layer] = states[rank].port + costs.link.latency
    }
}
