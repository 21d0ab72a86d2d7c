import KVFabric
import KVGGUF
import KVModel

/// Decides where an engine's prompts are cut: by the stored table, by the costs known so far, or after measuring them.
package final class Planner: @unchecked Sendable {
    // Belongs to the engine's queue, as the ranks that it plans for.

    /// Tokens per rank below which `auto` measures nothing and learns nothing: chunks so short gain less than timing them costs.
    static let shortest = 512
    /// Tokens per rank from which `auto` times chunks before the first prompt, for a twentieth of what the prompt is expected to take.
    /// Between the two the first prompt goes even, and its own timeline tells the costs for the next ones.
    static let worthwhile = 2048
    static let share = 0.05

    /// Where tables are kept; nil: nowhere, everything is forgotten with the engine.
    package let store: PlanStore?
    package let key: PlanKey?
    package private(set) var table: PlanTable?
    package private(set) var costs: LayerCosts?
    /// What the user should know: ignored tables, calibrations without result.
    package private(set) var notices: [String] = []
    private var isCalibrated = false
    /// Of the prompts that were computed with `auto`, as long as nothing was calibrated.
    private var samples: [LayerSample] = []
    private var promptsLearned = 0
    /// The last decision: prompts of one length come in rows.
    private var last: (tokens: Int, prefix: Int, sizes: [Int])?

    /// Reads the key's table; one that cannot be trusted is named in `notices` and ignored.
    package init(store: PlanStore? = nil, key: PlanKey? = nil) {
        self.store = store
        self.key = key
        guard let store, let key else { return }
        do {
            table = try store.load(key)
            costs = table?.costs
            isCalibrated = costs != nil && table?.isCalibrated == true
            if table == nil, let foreign = store.foreign(key) { notices.append("\(foreign); ignored") }
        } catch { notices.append("\(error); ignored") }
    }

    /// - Parameters:
    ///   - prefix: positions before these tokens that are computed already: tables know no such prompts, the cost model does.
    ///   - calibrate: times chunks; its argument is the share of the prompt's expected time that it may take, nil: as much as it
    ///     needs. Returns nil of a model of one layer, whose costs cannot be timed.
    /// - Throws: `EngineError` (request) where a table is asked for that is not there, and what `calibrate` throws.
    package func sizes(
        _ partition: Partition, _ tokens: Int, behind prefix: Int = 0, ranks: Int,
        calibrate: (Double?) throws(EngineError) -> LayerCosts?
    ) throws(EngineError) -> [Int] {
        if prefix > 0, partition.isPlanned { return modelled(tokens, ranks, behind: prefix) }
        switch partition {
        case .searched:
            guard let entry = table?.entries.first(where: { $0.tokens == tokens }) else {
                let lengths = table.map { $0.entries.map { "\($0.tokens)" }.joined(separator: ", ") } ?? ""
                throw EngineError(
                    .request,
                    "partition searched: no stored search of \(tokens) tokens on \(ranks) ranks (there are: "
                        + "\(lengths.isEmpty ? "none" : lengths)); kvcpu plan --ranks \(ranks) --lengths \(tokens) makes it")
            }
            return entry.sizes
        case .predicted:
            guard let table, !table.entries.isEmpty else {
                throw EngineError(
                    .request,
                    "partition predicted: no stored searches on \(ranks) ranks; kvcpu plan --ranks \(ranks) --lengths 1024,4096 "
                        + "makes some")
            }
            if let sizes = table.interpolated(tokens) { return sizes }
            try measure(share: nil, calibrate)
            return beyond(table, tokens, ranks)
        case .modelled:
            try measure(share: nil, calibrate)
            return modelled(tokens, ranks)
        case .auto:
            if let sizes = table?.interpolated(tokens) { return sizes }
            if tokens >= Self.worthwhile * ranks { try measure(share: Self.share, calibrate) }
            if let table, !table.entries.isEmpty, costs != nil { return beyond(table, tokens, ranks) }
            return modelled(tokens, ranks)
        case .even, .tokens, .ratios: return Partition.even(tokens, ranks: ranks)
        }
    }

    private func beyond(_ table: PlanTable, _ tokens: Int, _ ranks: Int) -> [Int] {
        table.extrapolated(tokens) { modelled($0, ranks) } ?? modelled(tokens, ranks)
    }

    /// By the costs; even while they are not known.
    private func modelled(_ tokens: Int, _ ranks: Int, behind prefix: Int = 0) -> [Int] {
        guard let costs else { return Partition.even(tokens, ranks: ranks) }
        if let last, last.tokens == tokens, last.prefix == prefix { return last.sizes }
        let sizes = Pipeline(costs, prefix: prefix).modelled(tokens, ranks: ranks)
        last = (tokens, prefix, sizes)
        return sizes
    }

    private func measure(
        share: Double?, _ calibrate: (Double?) throws(EngineError) -> LayerCosts?
    ) throws(EngineError) {
        // Costs that a prompt told will do for `auto`.
        guard !isCalibrated, costs == nil || share == nil else { return }
        // Only after it: a cancelled calibration is begun again by the next prompt.
        let measured = try calibrate(share)
        if let measured {
            learned(measured)
        } else if share == nil {
            notices.append("partition: chunks are even, as what tokens cost cannot be timed on one layer")
        }
        if share == nil { isCalibrated = true }
    }

    // MARK: What was found out

    /// Until some prompts were learned from, or chunks were timed for their own sake.
    var wantsSamples: Bool { promptsLearned < 4 && !isCalibrated }

    /// Fits the costs to the samples of a prompt and of those before it.
    func learn(_ fresh: [LayerSample], fit: ([LayerSample]) -> LayerCosts?) {
        promptsLearned += 1
        for sample in fresh { samples.merge(sample) }
        if let costs = fit(samples) { learned(costs, calibrated: false) }
    }

    /// Keeps costs that were measured, for the next prompts and processes.
    package func learned(_ costs: LayerCosts, calibrated: Bool = true) {
        self.costs = costs
        if calibrated { isCalibrated = true }
        last = nil
        update {
            $0.costs = costs
            $0.isCalibrated = calibrated
        }
    }

    /// Changes the table here and in the store.
    package func update(_ change: (inout PlanTable) -> Void) {
        guard let key else { return }
        do {
            if let store {
                table = try store.update(key, change)
            } else {
                var table = table ?? PlanTable(key)
                change(&table)
                self.table = table
            }
        } catch {
            let notice = "\(error); what was measured is not kept"
            if !notices.contains(notice) { notices.append(notice) }
        }
    }
}

extension Planner {
    /// The planner of an engine about to be opened; one rank has nothing to plan.
    convenience init(_ opening: Opening, link: Configuration.Link) {
        guard opening.placement.ranks.count > 1, let folder = opening.configuration.planFolder else {
            self.init()
            return
        }
        self.init(store: PlanStore(folder: folder), key: PlanKey(opening, link: link))
    }
}

extension PlanKey {
    package init(_ opening: Opening, link: Configuration.Link) {
        let file = opening.file
        let path = file.hasData ? String(file.path.split(separator: "/").last ?? "") : file.path
        self.init(
            model: Fingerprint.model(file), label: path.hasSuffix(".gguf") ? String(path.dropLast(5)) : path,
            machine: Fingerprint.machine(opening.topology, opening.placement, kernels: opening.kernels),
            ranks: opening.placement.ranks.count, threadsPerRank: opening.placement.threadsPerRank,
            weights: opening.model.weights.type?.name.lowercased() ?? Fingerprint.weights(file),
            activations: opening.configuration.activations.rawValue,
            cache: opening.configuration.cacheElement.rawValue, link: opening.devices.cuda == nil ? link.rawValue : "devices",
            engine: Engine.version)
    }
}
