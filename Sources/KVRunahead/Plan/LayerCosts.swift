/// What one layer of a model costs a rank, and what a link costs: measured on this machine, or assumed of another one.
///
/// A chunk of n tokens behind P earlier ones projects its queries, keys and values for `overhead.before + project · n` seconds, hands over,
/// and then attends and feeds forward for `overhead.after + rest · n + pair · n · (P + triangle · n)`.
package struct LayerCosts: Sendable, Equatable, Codable {
    /// What a chunk takes in a layer, however short it is.
    package struct Overhead: Sendable, Equatable, Codable {
        package var before = 0.0
        package var after = 0.0
        package init(before: Double = 0, after: Double = 0) {
            self.before = before
            self.after = after
        }
    }

    package var layers: Int
    package var overhead = Overhead()
    /// Seconds per token before the hand-over; in the last layer, where most tokens need keys and values only, `projectLast`.
    package var project: Double
    package var projectLast: Double
    /// Seconds per token after the hand-over, without attention.
    package var rest: Double
    /// Seconds per pair of a query and a key.
    package var pair: Double
    /// The computed fraction of the square of a chunk's own pairs: 1/2 where the upper triangle is left out, 1 where it is not.
    package var triangle = 0.5
    /// Seconds of the prompt's last token after the last hand-over, logits included.
    package var closing = 0.0
    /// Bytes of one position's keys and values in one layer.
    package var rowBytes: Double
    package var link = LinkCosts()

    package init(layers: Int, project: Double, rest: Double, pair: Double, rowBytes: Double = 0) {
        self.layers = layers
        self.project = project
        projectLast = project
        self.rest = rest
        self.pair = pair
        self.rowBytes = rowBytes
    }

    /// Without pipeline, overhead and link: what the closed form balances.
    package var model: CostModel { CostModel(perToken: project + rest, perPair: pair, triangle: triangle) }

    /// Layers that can be simulated: a step each.
    package static let mostLayers = 100_000
    /// Layers that a sender may be ahead: a time of every rank is kept for each.
    private static let mostLead = 1024

    /// Costs that can be planned with: finite, none below 0, of as many layers as models have, and work that grows with the chunk.
    package var isSensible: Bool {
        let all = [
            overhead.before, overhead.after, project, projectLast, rest, pair, triangle, closing, rowBytes, link.latency, link.copy,
            link.wire,
        ]
        guard (0...Self.mostLead).contains(link.lead ?? 0) else { return false }
        // Years a token, or a terabyte a row, are a damaged file's.
        return (1...Self.mostLayers).contains(layers) && all.allSatisfy { $0 >= 0 && $0 <= 1e12 }
            && (1e-18...).contains(project + rest)
    }
}

/// What handing over bytes costs.
package struct LinkCosts: Sendable, Equatable, Codable {
    /// Seconds from the end of a send to its arrival.
    package var latency = 0.0
    /// Seconds per byte for which sender and receiver are busy copying; 0 where descriptors alone pass.
    package var copy = 0.0
    /// Seconds per byte on the way, while both compute on; segments of one sender follow each other.
    package var wire = 0.0
    /// How many layers a sender may be ahead of its receiver; nil: any number.
    package var lead: Int?

    package init(latency: Double = 0, copy: Double = 0, wire: Double = 0, lead: Int? = nil) {
        self.latency = latency
        self.copy = copy
        self.wire = wire
        self.lead = lead
    }

    /// Parses `300GB/s`, `10 GB/s,5us` or `800MB/s,1ms`.
    /// - Throws: `EngineError` (request) naming the value.
    package init(parsing text: String) throws(EngineError) {
        func fail() -> EngineError {
            EngineError(.request, "link \"\(text)\": write a bandwidth and perhaps a latency, as 300GB/s or 10GB/s,5us")
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        guard (1...2).contains(parts.count),
            let bandwidth = Unit.value(of: parts[0], in: Unit.rates), bandwidth > 0
        else { throw fail() }
        wire = 1 / bandwidth
        if parts.count == 2 {
            guard let latency = Unit.value(of: parts[1], in: Unit.times), latency >= 0 else { throw fail() }
            self.latency = latency
        }
    }

    /// Behind a simulated network: its latency, half its jitter and its bandwidth.
    package mutating func throttle(_ profile: LinkProfile) {
        latency += profile.latency + profile.jitter / 2
        wire = 1 / profile.bandwidth
    }
}
