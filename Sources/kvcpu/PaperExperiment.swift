import KVModel
import KVRunahead

/// How an experiment's run cuts the prompt: the paper's KVR-E, -S, -P and -M.
enum PaperCut: String, Sendable, Codable {
    case even, searched, predicted, modelled
}

/// A way to compute a prompt that is compared with others.
struct PaperRun: Sendable {
    let name: String
    var strategy = Configuration.Strategy.runahead
    var cut = PaperCut.even
    /// A `LinkProfile`'s text; nil: the machine's own memory.
    var throttle: String?

    static let sequential = PaperRun(name: "one rank", strategy: .sequential)
    static let tsp = PaperRun(name: "TSP", strategy: .tsp)
    static let causal = PaperRun(name: "TSP causal", strategy: .tspCausal)
    static let zigzag = PaperRun(name: "zigzag", strategy: .zigzag)
    static let even = PaperRun(name: "KVR-E")
    static let searched = PaperRun(name: "KVR-S", cut: .searched)
    static let predicted = PaperRun(name: "KVR-P", cut: .predicted)
    static let modelled = PaperRun(name: "KVR-M", cut: .modelled)

    func throttled(_ throttle: String?) -> PaperRun {
        var run = self
        run.throttle = throttle
        return run
    }
}

/// What is measured in one go: runs that take turns, on the same ranks and tokens.
struct PaperCase: Sendable {
    enum Work: Sendable {
        /// Rounds of all runs in turn.
        case compare([PaperRun])
        /// The fastest partition, in so many seconds.
        case search(Double)
        /// What layers cost, in so many seconds.
        case calibrate(Double)
    }

    let experiment: PaperExperiment
    let model: ModelSource
    let ranks, tokens, rounds: Int
    let work: Work

    /// Says all that tells it from other cases of the same model and machine.
    var name: String {
        let what =
            switch work {
            case .compare(let runs):
                "\(rounds) rounds of "
                    + runs.map { $0.name + ($0.throttle.map { " at " + $0 } ?? "") }
                    .joined(separator: "; ")
            case .search(let seconds): "search in \(Int(seconds * 1e3)) ms"
            case .calibrate(let seconds): "calibration in \(Int(seconds * 1e3)) ms"
            }
        return "\(ranks) ranks, \(tokens) tokens, \(what)"
    }
}

/// The paper's experiments, in the order in which they build on each other.
enum PaperExperiment: String, CaseIterable, Sendable, Codable {
    /// KVR-S: the partitions.
    case search
    /// TTFT by length and ranks, all strategies and partitions.
    case context
    case bandwidth
    case noise
    /// Multi-head, grouped-query, multi-query.
    case attention
    /// Geometries of 7B models, of few layers: costs for the simulation, and a check of it.
    case large

    /// GB/s of the paper, and lower ones: CPUs compute slower than its GPUs, so that links hurt later.
    static let bandwidths = ["300GB/s", "10GB/s", "1GB/s", "100MB/s"]
    static let quiet = "bandwidth=100MB/s,latency=5us"
    static let noises = (1...3).map { quiet + ",jitter=1ms,bursts=20%,burst=10ms,seed=\($0)" }
    static let narrow = "bandwidth=100MB/s,latency=5us"

    /// The same geometry with a key/value head for each query head, for four, and for all.
    static func variants(_ text: String) throws(Failure) -> [(name: String, model: String)] {
        let sizes: Synthetic.Sizes
        do { sizes = try Synthetic(parsing: text).sizes } catch { throw .usage("\(error)") }
        let share = [4, 2].first { sizes.heads % $0 == 0 && sizes.heads > $0 } ?? 1
        let groups = sizes.heads / share
        let base = text.split(separator: ",").filter { !$0.hasPrefix("kv=") }.joined(separator: ",")
        return [("MHA", sizes.heads), ("GQA", groups), ("MQA", 1)].map { ($0, "\(base),kv=\($1)") }
    }

    func cases(_ plan: PaperPlan) -> [PaperCase] {
        func compare(_ runs: [PaperRun], _ ranks: Int, _ tokens: Int, _ model: ModelSource? = nil) -> PaperCase {
            PaperCase(
                experiment: self, model: model ?? plan.source, ranks: ranks, tokens: tokens, rounds: plan.rounds,
                work: .compare(runs))
        }
        let most = plan.ranks[plan.ranks.count - 1]
        switch self {
        case .search:
            let total = Double(plan.lengths.reduce(0, +))
            return plan.ranks.flatMap { ranks in
                plan.lengths.map { tokens in
                    PaperCase(
                        experiment: self, model: plan.source, ranks: ranks, tokens: tokens, rounds: 1,
                        work: .search(plan.searchBudget * Double(tokens) / total))
                }
            }
        case .context:
            let alone = plan.lengths.map { compare([.sequential], 1, $0) }
            return alone
                + plan.ranks.flatMap { ranks in
                    plan.lengths.map { tokens in
                        // KVR-P is interpolated between its neighbours: the shortest and the longest have none.
                        let predicted = tokens == plan.lengths.first || tokens == plan.lengths.last ? [] : [PaperRun.predicted]
                        return compare(
                            [.sequential, .tsp, .causal, .zigzag, .even, .searched] + predicted + [.modelled], ranks, tokens)
                    }
                }
        case .bandwidth:
            let links = [nil] + Self.bandwidths.map { "bandwidth=\($0),latency=5us" as String? }
            return [
                compare(
                    links.flatMap { link in [PaperRun.tsp, .zigzag, .even, .modelled].map { $0.throttled(link) } }, most,
                    plan.linkTokens)
            ]
        case .noise:
            return [
                compare(
                    ([Self.quiet] + Self.noises).flatMap { link in
                        [PaperRun.tsp, .causal, .zigzag, .even, .modelled].map { $0.throttled(link) }
                    }, most, plan.linkTokens)
            ]
        case .attention:
            return plan.variants.map { variant in
                compare(
                    [nil, Self.narrow].flatMap { link in [PaperRun.tsp, .zigzag, .even, .modelled].map { $0.throttled(link) } },
                    most, plan.variantTokens, .synthetic(variant.model))
            }
        case .large:
            return plan.geometries.flatMap { text in
                [
                    PaperCase(
                        experiment: self, model: .synthetic(text), ranks: most,
                        tokens: max(plan.largeTokens, min(4096, 2 * plan.largeTokens)),
                        rounds: 1, work: .calibrate(plan.calibration)),
                    compare([.tsp, .causal, .zigzag, .even, .modelled], most, plan.largeTokens, .synthetic(text)),
                ]
            }
        }
    }
}
