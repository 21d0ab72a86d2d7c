/// What a plan table is for: where one of these differs, its figures mean nothing.
package struct PlanKey: Sendable, Equatable, Codable {
    /// Hash of header, tensor list and size; and a readable name.
    package var model: String
    package var label: String
    /// CPU, CPUs of each rank, kernels, nodes and caches.
    package var machine: String
    package var ranks: Int
    package var threadsPerRank: Int
    package var weights: String
    package var activations: String
    package var cache: String
    package var link: String
    /// The engine's version: kernels change from one to the next.
    package var engine: String

    package init(
        model: String, label: String, machine: String, ranks: Int, threadsPerRank: Int, weights: String, activations: String,
        cache: String, link: String, engine: String
    ) {
        self.model = model
        self.label = label
        self.machine = machine
        self.ranks = ranks
        self.threadsPerRank = threadsPerRank
        self.weights = weights
        self.activations = activations
        self.cache = cache
        self.link = link
        self.engine = engine
    }

    /// What differs from the key of a table that was found in its place, as "machine is A, this is B"; nil: nothing.
    package func difference(from other: PlanKey) -> String? {
        for (name, mine, theirs) in [
            ("model", model, other.model), ("machine", machine, other.machine), ("engine version", engine, other.engine),
            ("ranks", "\(ranks)", "\(other.ranks)"), ("threads per rank", "\(threadsPerRank)", "\(other.threadsPerRank)"),
            ("weight format", weights, other.weights), ("activations", activations, other.activations),
            ("KV-cache type", cache, other.cache), ("link", link, other.link), ("model name", label, other.label),
        ] where mine != theirs {
            return "its \(name) is \"\(theirs)\", here it is \"\(mine)\""
        }
        return nil
    }
}

/// The measured partitions of one key, and what was fitted on the way. Versioned; kept as JSON by `PlanStore`.
package struct PlanTable: Sendable, Equatable, Codable {
    package static let version = 1

    /// The result of one search.
    package struct Entry: Sendable, Equatable, Codable {
        package var tokens: Int
        /// Of each rank's chunk.
        package var sizes: [Int]
        /// Median TTFT of these chunks, of even ones, and of modelled ones.
        package var seconds: Double
        package var even: Double
        package var modelled: Double?
        /// The search came to its end within its budget.
        package var isSettled: Bool

        package init(tokens: Int, sizes: [Int], seconds: Double, even: Double, modelled: Double?, isSettled: Bool) {
            self.tokens = tokens
            self.sizes = sizes
            self.seconds = seconds
            self.even = even
            self.modelled = modelled
            self.isSettled = isSettled
        }
    }

    /// All timings of one cut.
    package struct Sample: Sendable, Equatable, Codable {
        package var sizes: [Int]
        package var seconds: [Double]
        package init(sizes: [Int], seconds: [Double]) {
            self.sizes = sizes
            self.seconds = seconds
        }
    }

    package var version = PlanTable.version
    package var key: PlanKey
    package var costs: LayerCosts?
    /// The costs are of chunks timed for their own sake, not of some prompt.
    package var isCalibrated = false
    /// In the table of the machine as a whole.
    package var shape: PlanShape?
    /// In order of length.
    package private(set) var entries: [Entry] = []
    package private(set) var samples: [Sample] = []

    package init(_ key: PlanKey) { self.key = key }

    package mutating func set(_ entry: Entry) {
        entries.removeAll { $0.tokens == entry.tokens }
        entries.append(entry)
        entries.sort { $0.tokens < $1.tokens }
    }

    /// Adds timings to those there are.
    package mutating func add(_ sample: Sample) {
        if let index = samples.firstIndex(where: { $0.sizes == sample.sizes }) {
            samples[index].seconds += sample.seconds
        } else {
            samples.append(sample)
        }
    }

    package func samples(_ tokens: Int) -> [Sample] { samples.filter { $0.sizes.reduce(0, +) == tokens } }

    /// What is wrong with a table that was read, beyond its syntax; nil: nothing.
    package var flaw: String? {
        for entry in entries {
            let seconds = [entry.seconds, entry.even, entry.modelled ?? 1]
            guard entry.sizes.count == key.ranks, entry.sizes.allSatisfy({ $0 >= 0 && $0 <= 1 << 40 }), entry.tokens > 0,
                entry.sizes.reduce(0, +) == entry.tokens, seconds.allSatisfy({ $0 > 0 && $0.isFinite })
            else { return "the entry of \(entry.tokens) tokens, \(entry.sizes), contradicts itself" }
        }
        for sample in samples {
            guard sample.sizes.count == key.ranks, sample.sizes.allSatisfy({ $0 >= 0 && $0 <= 1 << 40 }),
                sample.seconds.allSatisfy({ $0 > 0 && $0.isFinite })
            else { return "the sample \(sample.sizes) contradicts itself" }
        }
        if Set(entries.map(\.tokens)).count != entries.count { return "a length comes twice" }
        if let shape, shape.ranks < 1 || shape.threadsPerRank < 1 || shape.ranks > 1024 || shape.threadsPerRank > 1024 {
            return "\(shape.ranks) ranks of \(shape.threadsPerRank) threads are no shape"
        }
        if let costs, !costs.isSensible { return "the costs are none: of \(costs.layers) layers, or not 0 or more" }
        return nil
    }

    // MARK: KVR-P

    /// Sizes by ratios interpolated between the two neighbouring lengths; nil outside the tabulated range.
    package func interpolated(_ tokens: Int) -> [Int]? {
        guard let above = entries.first(where: { $0.tokens >= tokens }), let below = entries.last(where: { $0.tokens <= tokens })
        else {
            return nil
        }
        if above.tokens == tokens { return above.sizes }
        let weight = Double(tokens - below.tokens) / Double(above.tokens - below.tokens)
        return sizes(zip(ratios(below), ratios(above)).map { $0 * (1 - weight) + $1 * weight }, tokens)
    }

    /// Sizes beyond the tabulated range: the model's, shifted by what the table's edge is off the model.
    package func extrapolated(_ tokens: Int, _ modelled: (Int) -> [Int]) -> [Int]? {
        guard let first = entries.first, let last = entries.last else { return nil }
        let edge = tokens < first.tokens ? first : last
        let atEdge = modelled(edge.tokens).map { Double($0) / Double(edge.tokens) }
        let here = modelled(tokens).map { Double($0) / Double(tokens) }
        return sizes(zip(here, zip(ratios(edge), atEdge)).map { max(0, $0 + $1.0 - $1.1) }, tokens)
    }

    private func ratios(_ entry: Entry) -> [Double] { entry.sizes.map { Double($0) / Double(entry.tokens) } }

    private func sizes(_ ratios: [Double], _ tokens: Int) -> [Int] {
        (try? Partition.ratios(ratios).chunks(of: tokens, ranks: ratios.count).map(\.count))
            ?? Partition.even(tokens, ranks: ratios.count)
    }
}
