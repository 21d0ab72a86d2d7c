import Foundation
import KVFabric
import KVModel
import KVRunahead

/// Measures the cases that have no result yet, one after the other.
struct PaperMeasuring {
    let plan: PaperPlan
    let store: PaperStore
    let progress: Bool

    func run() async throws {
        for (index, item) in plan.cases.enumerated() {
            let key = try key(item)
            if store.find(item, key) != nil { continue }
            if Task.isCancelled { throw Failure(code: 130, message: "interrupted; the next run goes on from here") }
            let title =
                "\(index + 1)/\(plan.cases.count) \(item.experiment.rawValue): \(key.label), \(item.ranks) ranks, \(item.tokens) tokens"
            let bar = ProgressBar(title, enabled: progress)
            let start = Date()
            let result = try await measure(item, key, bar)
            bar.clear()
            try store.add(result)
            Terminal.note(title + ", " + duration(Date().timeIntervalSince(start)))
        }
    }

    /// Under what a case's figures hold.
    func key(_ item: PaperCase) throws -> PlanKey {
        PlanKey(try Opening(plan.configuration(item, throttle: nil)), link: .auto)
    }

    private func measure(_ item: PaperCase, _ key: PlanKey, _ bar: ProgressBar) async throws -> PaperResult {
        switch item.work {
        case .compare(let runs): try await compare(item, runs, key, bar)
        case .search(let budget): try await search(item, budget, key, bar)
        case .calibrate(let limit): try await calibrate(item, limit, key)
        }
    }

    private func open(_ item: PaperCase, _ throttle: String?) async throws -> Engine {
        try await Session.open(plan.configuration(item, throttle: throttle), progress: progress, verbose: false, notices: false)
    }

    private func result(_ item: PaperCase, _ key: PlanKey, _ engine: Engine) async throws -> PaperResult {
        let layers = try await engine.withRanks { ranks, _ in ranks.model.geometry.layers }
        return PaperResult(
            experiment: item.experiment, name: item.name, key: key, ranks: engine.information.ranks,
            threads: engine.information.threadsPerRank, tokens: item.tokens, layers: layers)
    }

    // MARK: The kinds of work

    private func search(_ item: PaperCase, _ budget: Double, _ key: PlanKey, _ bar: ProgressBar) async throws -> PaperResult {
        let engine = try await open(item, nil)
        var result = try await result(item, key, engine)
        let finding = try await engine.withRanks { ranks, isCancelled in
            try PlanSearch.search(item.tokens, budget, ranks, bar, isCancelled)
        }
        result.searched = finding.entry.sizes
        result.isSettled = finding.entry.isSettled
        return result
    }

    private func calibrate(_ item: PaperCase, _ limit: Double, _ key: PlanKey) async throws -> PaperResult {
        let engine = try await open(item, nil)
        var result = try await result(item, key, engine)
        result.costs = try await engine.withRanks { ranks, isCancelled in try ranks.costs(limit: limit, isCancelled) }
        return result
    }

    private func compare(_ item: PaperCase, _ runs: [PaperRun], _ key: PlanKey, _ bar: ProgressBar) async throws -> PaperResult {
        // One engine per link, all open at once: their workers sleep while another one's compute.
        var engines: [String?: Engine] = [:]
        for run in runs where engines[run.throttle] == nil { engines[run.throttle] = try await open(item, run.throttle) }
        guard let first = runs.first, let engine = engines[first.throttle] else { throw Failure.run("a case without a run") }
        var result = try await result(item, key, engine)
        if item.ranks > 1, runs.contains(where: { $0.cut == .modelled }) {
            // Without them a modelled partition would be an even one under another name.
            result.costs = try await engine.withRanks { ranks, isCancelled in try ranks.costs(isCancelled) }
        }
        var timings: [PaperResult.Timing] = []
        for run in runs {
            timings.append(
                PaperResult.Timing(
                    name: run.name, strategy: run.strategy.rawValue, throttle: run.throttle,
                    sizes: try sizes(run, item, key, result.costs)))
        }
        var breakdowns = [[Breakdown]](repeating: [], count: runs.count)
        for round in 0...item.rounds {
            for (index, run) in runs.enumerated() {
                // Round 0 warms every engine up, once.
                if round == 0, index > 0, runs[index - 1].throttle == run.throttle { continue }
                guard let engine = engines[run.throttle] else { continue }
                // Short prompts are over before they notice.
                if Task.isCancelled { throw Failure(code: 130, message: "interrupted; the next run goes on from here") }
                let measured = try await Self.prefill(engine, item.tokens, run.strategy, timings[index].sizes)
                if round > 0 {
                    timings[index].seconds.append(measured.seconds)
                    breakdowns[index].append(measured)
                }
                bar.show((Double(round) + Double(index + 1) / Double(runs.count)) / Double(item.rounds + 1))
            }
        }
        for index in timings.indices {
            let ordered = breakdowns[index].sorted { $0.seconds < $1.seconds }
            let middle = ordered[ordered.count / 2]
            timings[index].compute = middle.compute
            timings[index].wait = middle.wait
            timings[index].exchange = middle.exchange
            timings[index].rows = middle.rows
        }
        result.timings = timings
        if item.experiment == .context { result.memory = try memory(item) }
        return result
    }

    private struct Breakdown: Sendable {
        let seconds: Double
        let compute, wait, exchange: [Double]
        let rows: Int
    }

    private static func prefill(
        _ engine: Engine, _ tokens: Int, _ strategy: Configuration.Strategy, _ sizes: [Int]
    ) async throws -> Breakdown {
        try await engine.withRanks { ranks, isCancelled in
            let ids = Bench.tokens(tokens, vocabulary: ranks.model.geometry.vocabulary)
            let run = try ranks.prefill(ids, strategy: strategy, partition: strategy == .runahead ? .tokens(sizes) : .even) {
                _ in
                if isCancelled() { ranks.cancel() }
            }
            let crew = 0..<(strategy == .sequential ? 1 : ranks.placement.ranks.count)
            func total(_ activity: Timeline.Activity) -> [Double] { crew.map { run.timeline.total(activity, rank: $0) } }
            return Breakdown(
                seconds: run.duration, compute: total(.compute), wait: total(.wait), exchange: total(.send),
                rows: run.accounting.layer(0).reduce(0) { $0 + $1.rows })
        }
    }

    /// Tokens of each rank.
    private func sizes(_ run: PaperRun, _ item: PaperCase, _ key: PlanKey, _ costs: LayerCosts?) throws -> [Int] {
        let even = Partition.even(item.tokens, ranks: item.ranks)
        switch run.cut {
        case .even: return run.strategy == .sequential ? [item.tokens] : even
        case .modelled:
            guard var costs else { throw Failure.run("\(key.label): KVR-M without what tokens cost") }
            if let throttle = run.throttle { costs.link.throttle(try LinkProfile(parsing: throttle)) }
            return Pipeline(costs).modelled(item.tokens, ranks: item.ranks)
        case .searched, .predicted:
            var table = PlanTable(key)
            let searches = PaperExperiment.search.cases(plan).filter { $0.ranks == item.ranks }
            for search in searches {
                guard let sizes = store.find(search, try self.key(search))?.searched else {
                    throw Failure.usage("experiment context needs the partitions of experiment search: run both")
                }
                if run.cut == .searched, search.tokens == item.tokens { return sizes }
                // KVR-P knows all lengths but this one.
                if search.tokens != item.tokens {
                    table.set(
                        PlanTable.Entry(tokens: search.tokens, sizes: sizes, seconds: 1, even: 1, modelled: nil, isSettled: true))
                }
            }
            return table.interpolated(item.tokens) ?? even
        }
    }

    /// What each kind of link takes in memory.
    private func memory(_ item: PaperCase) throws -> [PaperResult.Memory] {
        try [Configuration.Link.shared, .ring].map { link in
            var configuration = try plan.configuration(item, throttle: nil)
            configuration.link = link
            let memory = try Opening(configuration).memory
            return PaperResult.Memory(
                link: link.rawValue, weights: memory.weights, caches: memory.caches, arenas: memory.arenas, rings: memory.rings)
        }
    }
}
