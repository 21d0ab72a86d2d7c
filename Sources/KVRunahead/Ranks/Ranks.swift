package import KVFabric
import KVGGUF
package import KVModel
import Synchronization

/// All virtual ranks of an engine, as threads or as processes: orders prefills and decodes, and reads what came of them. Used by one thread at a time.
package final class Ranks: @unchecked Sendable {
    // Its mutable state belongs to the engine's queue.
    package let model: Model
    package let copies: WeightCopies
    /// The first copy.
    package var weights: WeightCopy { copies.all[0] }
    /// What the kernel refused.
    package let notices: [String]
    package let placement: Placement
    package let configuration: Configuration
    package let contextLength: Int
    package let link: Configuration.Link
    /// Where prompts are cut.
    package let planner: Planner
    /// Where ranks are processes: what each is told, and where the packed weights lie.
    private var processes: (blueprint: Blueprint, weights: SharedMemory)?
    private var workforce: Workforce
    /// A process failed: there will be others, and the sequence is lost.
    private var isGivenUp = false
    /// The rank whose cache holds the sequence.
    private var holder = 0
    /// Token ids of the sequence: the prompt's, and those decoded since.
    package private(set) var sequence: [Int32] = []
    package var length: Int { sequence.count }
    /// The run at hand looks for values that are no numbers (see `Ranks+Finite`).
    var isLocating = false
    /// Earlier sequences' keys and values.
    let prompts: PromptStore
    /// Who computed the last token.
    private var finished: Rank?

    var station: Station { workforce.station }
    private var decoder: Rank { station.decoder(holder) }
    /// Positions whose rows are up to date in the image of a device's cache.
    private var imaged = 0
    var ranks: [Rank] { station.ranks }
    /// The cache that holds the sequence: a device's as its image, which may take a copy of all rows.
    /// - Throws: `EngineError` where a device does not give them.
    package var cache: KVCache {
        get throws(EngineError) {
            if let device = ranks[holder].device, imaged < length {
                try device.download(imaged..<length)
                imaged = length
            }
            return ranks[holder].cache
        }
    }
    /// What keys and values computed here depend on.
    private(set) lazy var promptOrigin = PromptOrigin(
        model, packed: packsWeights ? weights : nil, ranks[0].cache, context: contextLength, devices: deviceNames)
    /// Of those that compute.
    private let deviceNames: [String]
    /// False where devices alone compute, which have the weights in their own memory.
    private let packsWeights: Bool
    /// Some of them.
    var isOnDevices: Bool { station.devices != nil }
    /// Where ranks compute, each rank's.
    package var devices: [Configuration.Device] { station.devices?.devices ?? ranks.map { _ in .cpu } }
    /// Of ranks that are processes, as of now.
    package var processIDs: [Int32] { workforce.pids }
    /// How many layers of the run at hand a rank has begun.
    package func layersBegun(by rank: Int) -> Int { Int(station.watch.layer(rank).pointee.load(ordering: .relaxed)) }

    /// What one prefill took.
    package struct Prefill: Sendable {
        /// Each rank's positions.
        package let chunks: [Positions]
        /// Positions before them that were not computed again.
        package let reused: Int
        /// Seconds from the start to the last token's logits.
        package let duration: Double
        package let timeline: Timeline
        package let accounting: Accounting
        package let bytesHandedOver: UInt64
    }

    /// Starts the workers, packs the weights by them, reserves caches and scratch.
    /// - Parameters:
    ///   - packed: the model's weights where they are in memory already; for threads.
    ///   - detour: for tests, what becomes of a link from a rank; for threads.
    ///   - progress: told of the packed fraction now and then.
    /// - Throws: `EngineError`.
    package init(
        model: Model, weights packed: WeightCopy? = nil, configuration: Configuration, placement: Placement,
        contextLength: Int, planner: Planner = Planner(), devices choice: DeviceChoice? = nil, detour: LinkDetour? = nil,
        progress: (Double) -> Void
    ) throws(EngineError) {
        let onDevices = try choice?.shared(by: placement.ranks.count) ?? []
        let link = Self.resolve(configuration.link, placement, devices: onDevices)
        let plan = Station.Plan(
            placement: placement, contextLength: contextLength, link: link, memory: configuration.resolvedMemory(placement),
            hugePages: configuration.hugePages, cacheElement: configuration.cacheElement, waitLimit: configuration.waitLimit,
            throttle: configuration.throttle)
        let needs = Needs(configuration.strategy)
        let memory = RunMemory(hugePages: plan.hugePages)
        switch configuration.rankMode {
        case .thread:
            processes = nil
            copies = try WeightCopies(model.weights, packed: packed, plan.memory, placement, by: memory)
            let devices = try choice?.cuda.map { (cuda) throws(EngineError) in
                try DeviceRanks(model, on: onDevices, of: cuda, context: contextLength, progress: progress)
            }
            let station = try Station(
                plan, model: model, weights: copies, memory: memory, here: placement.ranks.indices, needs: needs,
                devices: devices, detour: detour)
            workforce = try Workforce(threads: station, plan)
        case .process:
            let shared: SharedMemory
            let bytes = WeightCopies.bytes(of: model.weights, plan.memory, placement)
            do { shared = try .anonymous(label: "kvcpu-weights", count: bytes) } catch {
                throw EngineError(.memory, "the weights: \(error)")
            }
            copies = try WeightCopies(model.weights, plan.memory, placement, in: shared, by: memory)
            // A few ranks have everything from the beginning, so that no strategy needs other processes.
            let all = placement.ranks.count <= 8 ? needs.union([.chain, .gathers, .together]) : needs
            let blueprint = Blueprint(plan, configuration, model: model, needs: all)
            processes = (blueprint, shared)
            workforce = try Workforce(processes: blueprint, configuration, model: model, weights: copies, in: shared)
        }
        notices = memory.refusals
        self.model = model
        self.placement = placement
        self.configuration = configuration
        self.contextLength = contextLength
        self.link = link
        self.planner = planner
        prompts = PromptStore(limit: configuration.promptMemory ?? MemoryPlan.usualPromptMemory)
        sequence.reserveCapacity(contextLength)
        // Devices have theirs already.
        packsWeights = onDevices.isEmpty || onDevices.contains(.cpu)
        deviceNames = choice?.names(onDevices) ?? ["cpu"]
        if !copies.isPacked, packsWeights { try pack(progress: progress) }
        // All that is read from the file has been read, unless it was before.
        if packed == nil || !onDevices.isEmpty { try checkFile() }
    }

    private func checkFile() throws(EngineError) {
        do { try model.file.checkUnchanged() } catch { throw EngineError(.model, error.description) }
    }

    /// Makes what a strategy needs beyond the ranks, so that the first prompt need not wait for it.
    /// - Throws: `EngineError` when there is no memory.
    package func prepare(_ strategy: Configuration.Strategy) throws(EngineError) {
        try ready(Needs(strategy))
        try station.prepare(strategy)
    }

    /// Puts new processes in the place of those of which one has failed, or which lack something.
    private func ready(_ more: Needs) throws(EngineError) {
        guard let (blueprint, memory) = processes,
            isGivenUp || workforce.isBroken || !blueprint.needs.isSuperset(of: more)
        else { return }
        giveUp()
        processes?.blueprint.needs.formUnion(more)
        workforce = try Workforce(
            processes: processes?.blueprint ?? blueprint, configuration, model: model, weights: copies, in: memory)
        isGivenUp = false
    }

    /// Ends the processes; what they have computed is lost.
    private func giveUp() {
        guard processes != nil else { return }
        workforce.shutdown()
        isGivenUp = true
        sequence.removeAll(keepingCapacity: true)
        holder = 0
        finished = nil
    }

    // MARK: Prompt phase

    /// Computes a prompt: every rank its chunk, all at once.
    /// - Parameters:
    ///   - tokens: ids below the vocabulary's size; at least one, at most the context.
    ///   - strategy: the configuration's unless given; see `prepare`.
    ///   - partition: the configuration's unless given, even where the strategy knows no other.
    ///   - reuses: what the sequence at hand or an earlier prompt begins with alike is not computed again: the same bits. Not by strategies that
    ///     gather, nor where the partition names tokens or every token's logits are wanted.
    ///   - allLogits: room for [tokens, vocabulary] floats when every token's logits are wanted, else only the last token's are computed.
    ///   - progress: told of the done fraction about twenty times a second.
    /// - Throws: `EngineError`; the ranks stay usable.
    package func prefill(
        _ tokens: [Int32], strategy: Configuration.Strategy? = nil, partition: Partition? = nil,
        reuses: Bool = false, allLogits: UnsafeMutablePointer<Float>? = nil, progress: (Double) -> Void = { _ in }
    ) throws(EngineError) -> Prefill {
        try check(tokens)
        if isOnDevices, (strategy ?? configuration.strategy).gathers {
            throw EngineError(.request, "strategy \((strategy ?? configuration.strategy).rawValue) is not for CUDA devices")
        }
        let usual = strategy == nil || strategy == configuration.strategy
        let strategy = strategy ?? configuration.strategy
        let partition = partition ?? (usual || strategy == .runahead ? configuration.partition : .even)
        if allLogits != nil { try ready(.allLogits) }
        try prepare(strategy)
        let beginning =
            reuses && !strategy.gathers && !partition.isCounted && allLogits == nil ? self.beginning(of: tokens) : nil
        let kept = beginning?.count ?? 0
        let planned =
            strategy == .runahead ? try self.plan(partition, tokens.count - kept, behind: kept, progress: progress) : nil
        let chunks = try strategy.positions(of: tokens.count - kept, ranks: ranks.count, partition: partition, planned: planned)
            .map { $0.shifted(by: kept) }
        let crew = strategy == .sequential ? [station.together ?? ranks[0]] : ranks
        let active = crew.filter { !chunks[$0.index].isEmpty }
        guard let last = active.first(where: { chunks[$0.index].upperBound == tokens.count }) else {
            throw EngineError(.request, "the prompt is empty")
        }
        if reuses { try bring(beginning, from: ranks[holder], into: active[0]) }
        try forget()
        write(strategy, tokens, chunks, last: last, allLogits)
        let handedOver = station.connections.bytesSent
        let start = MonotonicClock.now
        for rank in active { for group in rank.groups { workforce.start(group) } }
        let total = Double((tokens.count - kept) * model.geometry.layers)
        for rank in active {
            for group in rank.groups {
                try join(group) { progress(Double(active.reduce(0) { $0 + $1.arena.tokenLayersDone }) / total) }
            }
        }
        let end = MonotonicClock.now
        try ended()
        if let allLogits, let computed = station.allLogits {
            allLogits.update(from: computed, count: tokens.count * model.geometry.vocabulary)
        }
        holder = last.index
        sequence.append(contentsOf: tokens)
        station.decoder.caches.hold(held(active, strategy, chunks), of: length)
        finished = last
        let none = [Accounting.Work](repeating: .init(), count: model.geometry.layers)
        let run = Prefill(
            chunks: chunks, reused: kept, duration: Double(end - start) * 1e-9,
            timeline: Timeline(
                spans: active.flatMap { $0.record.spans(rank: $0.index, since: start) }, ranks: ranks.count),
            accounting: Accounting(
                work: chunks.indices.map { index in active.first { $0.index == index }?.record.work ?? none }),
            bytesHandedOver: station.connections.bytesSent - handedOver)
        if isLocating { return run }
        if allLogits == nil { try refuseNonFinite(logits) }
        if strategy == .runahead { learn(partition, run) }
        return run
    }

    /// How much of the prompt each rank's cache holds after it.
    private func held(_ active: [Rank], _ strategy: Configuration.Strategy, _ chunks: [Positions]) -> [Int] {
        ranks.indices.map { index in
            guard let rank = active.first(where: { $0.index == index }) else { return 0 }
            return strategy.gathers ? chunks.map(\.upperBound).max() ?? 0 : chunks[rank.index].upperBound
        }
    }

    private func write(
        _ strategy: Configuration.Strategy, _ tokens: [Int32], _ chunks: [Positions], last: Rank,
        _ allLogits: UnsafeMutablePointer<Float>?
    ) {
        var order = Order(strategy == .sequential && station.together != nil ? .together : .prefill)
        order.strategy = strategy
        order.allLogits = allLogits != nil
        order.locates = isLocating
        order.tokens = tokens.count
        order.rank = last.index
        let book = station.book
        book.order = order
        book.setTokens(tokens)
        for (index, chunk) in chunks.enumerated() { book[index] = chunk }
        station.callersLogits = allLogits
    }

    /// Waits for a group. No deadline of its own: every wait of a rank has one, and computing ends.
    private func join(_ group: Int, meanwhile: () -> Void) throws(EngineError) {
        do { try workforce.join(group, meanwhile: meanwhile) } catch {
            giveUp()
            throw error
        }
    }

    /// - Throws: the reason for which the run ended early.
    private func ended() throws(EngineError) {
        guard let error = station.state.error else { return }
        // A process that has ended is why others got no further.
        if error.code == .rank, let fault = workforce.fault {
            giveUp()
            throw fault
        }
        throw error
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
        try ready([])
        try forget()
        finished = nil
    }

    /// Makes what is in rank 0's cache the sequence at hand; between runs.
    func adopt(_ tokens: [Int32]) throws(EngineError) {
        try forget()
        sequence.append(contentsOf: tokens)
        holder = 0
        station.decoder.caches.hold(ranks.indices.map { $0 == 0 ? tokens.count : 0 }, of: tokens.count)
        finished = nil
    }

    func forget() throws(EngineError) {
        sequence.removeAll(keepingCapacity: true)
        imaged = 0
        station.decoder.caches.hold([Int](repeating: 0, count: ranks.count), of: 0)
        try station.reset()
    }

    /// Appends one token to the sequence and computes its logits, by the workers of all ranks as one team, on the cache of the rank that ended the
    /// prefill. Allocates nothing.
    /// - Throws: `EngineError` when the context is full, a rank or a wait failed, or the run was cancelled.
    package func decode(_ id: Int32) throws(EngineError) {
        guard !isGivenUp else {
            throw EngineError(.rank, "a rank has failed and the sequence is lost: compute the prompt again")
        }
        guard length < contextLength else {
            throw EngineError(.context, "the context of \(contextLength) positions (-c) is full")
        }
        guard id >= 0, Int(id) < model.geometry.vocabulary else {
            throw EngineError(.request, "token \(id) is not in the vocabulary of \(model.geometry.vocabulary)")
        }
        let station = station
        let decoder = decoder
        decoder.reset()
        station.watch.reset(ranks: ranks.count)
        var order = Order(.decode)
        order.rank = holder
        order.position = length
        station.book.order = order
        station.book.token.pointee = id
        for group in decoder.groups { workforce.start(group) }
        let deadline = station.state.deadline
        for group in decoder.groups {
            do { try workforce.join(group, deadline: deadline) } catch {
                let position = length
                giveUp()
                throw EngineError(error.code, "decode at position \(position): \(error)", rank: error.rank, layer: error.layer)
            }
        }
        try ended()
        sequence.append(id)
        finished = nil
        try refuseNonFinite(logits)
    }

    /// Workers that decode: one of each CPU, no more than the machine has time for.
    package var decodingThreads: Int { decoder.threads }

    /// The last computed token's logits, [vocabulary]; valid until the next prefill or decode.
    package var logits: UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(start: (finished ?? decoder).arena.logits, count: model.geometry.vocabulary)
    }

    /// Ends the run under way within one layer of the slowest rank; from the run's `progress`.
    package func cancel() {
        station.state.fail(EngineError(.cancelled, "cancelled"))
    }

    package func shutdown() { workforce.shutdown() }

    // MARK: Proof of the placement

    /// Asks all workers where they run.
    func watches() throws(EngineError) -> [WorkerWatch] {
        try ready([])
        station.book.order = Order(.locate)
        for group in ranks.indices { workforce.start(group) }
        for group in ranks.indices { try join(group) {} }
        return placement.ranks.enumerated().map { rank, placed in
            WorkerWatch(placed.cpus.indices.map { station.book.note(rank: rank, worker: $0) })
        }
    }

    /// Where a rank's ways in lie.
    func rings(into rank: Int) -> [Pages] { station.connections.rings.filter { $0.receiver == rank }.map(\.pages) }

    /// What workers of this process could not be given.
    var workerNotes: [String] { workforce.notes }

    // MARK: Parts of init

    private func pack(progress: (Double) -> Void) throws(EngineError) {
        station.book.order = Order(.pack)
        let bytes = Double(max(1, copies.bytesToPack))
        for group in ranks.indices { workforce.start(group) }
        for group in ranks.indices {
            try workforce.join(group) { progress(min(1, Double(processes?.weights.resident ?? copies.packedSoFar) / bytes)) }
        }
        progress(1)
    }

    /// What `auto` means for a placement.
    static func resolve(
        _ link: Configuration.Link, _ placement: Placement, devices: [Configuration.Device] = []
    ) -> Configuration.Link {
        // Devices have their own ways; the host's cache is only their image.
        if !devices.isEmpty, !devices.contains(.cpu) { return .shared }
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
