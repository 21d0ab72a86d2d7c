/// Which CPU each worker of each rank gets, and which node each rank's memory comes from.
///
/// A pure function of topology and wish. In order of weight:
/// * ranks spread over nodes, and within a node over last-level-cache groups, as evenly as the sizes allow; ranks that
///   follow each other stay together, as they exchange segments;
/// * no rank spans two nodes, or two cache groups, unless it has to;
/// * a rank has whole cores to itself and takes one CPU of each first; SMT siblings come last.
package struct Placement: Sendable, Equatable {
    package struct Rank: Sendable, Equatable {
        /// The CPU of each worker.
        package var cpus: [Int]
        /// Where its memory should come from; nil if no node has any, or none is to be chosen.
        package var node: Int?
        /// The node that each worker reads fastest: its CPU's, or the nearest one with memory.
        package var workerNodes: [Int?]

        /// - Parameter workerNodes: `node` for all unless given.
        package init(cpus: [Int], node: Int?, workerNodes: [Int?]? = nil) {
            self.cpus = cpus
            self.node = node
            self.workerNodes = workerNodes ?? cpus.map { _ in node }
        }
    }

    package var ranks: [Rank]
    /// There are more workers than CPUs that can be busy all the time (quota included): waiting should not spin.
    package var oversubscribed: Bool
    /// Workers are bound to their CPUs; else `cpus` only says how many there are.
    package var isPinned = true
    /// CPUs that can be busy all the time (see ``Topology/budget``): more workers than these that meet at one barrier after the other only
    /// wait for each other.
    package var budget: Int
    /// What differs from the wish, and why; for the user.
    package var notes: [String]

    package init(ranks: [Rank], oversubscribed: Bool, budget: Int = .max, notes: [String]) {
        self.ranks = ranks
        self.oversubscribed = oversubscribed
        self.budget = budget
        self.notes = notes
    }

    package var threadsPerRank: Int { ranks.first?.cpus.count ?? 0 }

    /// The nodes that workers read their memory from, ascending; empty where none is chosen.
    package var nodes: [Int] { Set(ranks.flatMap { $0.workerNodes.compactMap { $0 } }).sorted() }

    /// The wait strategy that suits.
    package var wait: WaitStrategy { WaitStrategy(oversubscribed: oversubscribed) }

    /// Places `ranks` groups of workers.
    ///
    /// - Parameters:
    ///   - ranks: at least 1; more than CPUs is legal, they share them.
    ///   - threadsPerRank: workers of each; nil: the physical cores, or what the quota leaves of them, over the ranks.
    ///   - fit: asks for fewer threads, with a note, when the wish exceeds the CPUs; otherwise workers share CPUs.
    ///   - everywhere: no node stays idle: with fewer ranks than nodes, ranks span nodes.
    package static func plan(
        topology: Topology, ranks: Int, threadsPerRank: Int?, fit: Bool = false, everywhere: Bool = false
    ) -> Placement {
        var notes: [String] = []
        let ranks = max(1, ranks)
        let budget = topology.budget
        // CPUs beyond the cores are siblings: only for ranks that would have to share a core otherwise.
        let natural = max(1, max(min(topology.allowedCores, budget), min(ranks, budget)) / ranks)
        var threads = max(1, threadsPerRank ?? natural)
        let share = max(1, budget / ranks)
        if fit, threads > share {
            notes.append("\(threads) threads per rank asked, \(share) fit on \(cpus(topology)) with \(ranks) ranks")
            threads = share
        }
        let (workers, overflow) = threads.multipliedReportingOverflow(by: ranks)
        let oversubscribed = overflow || workers > budget
        if oversubscribed { notes.append("\(ranks) ranks of \(threads) threads share \(cpus(topology))") }

        let machine = Cores(topology)
        let sets =
            overflow || workers > topology.allowed.count
            ? machine.roundRobin(ranks: ranks, threads: threads)
            : machine.distribute(ranks: ranks, threads: threads, everywhere: everywhere)
        return Placement(sets, topology: topology, oversubscribed: oversubscribed, notes: notes)
    }

    /// Ranks of these CPUs, each with the memory that is nearest.
    init(_ sets: [[Int]], topology: Topology, oversubscribed: Bool, notes: [String]) {
        var notes = notes
        var ranks: [Rank] = []
        for (index, cpus) in sets.enumerated() {
            let (node, note) = Self.memoryNode(for: cpus, topology: topology)
            let workerNodes = cpus.map { Self.memoryNode(for: [$0], topology: topology).node }
            ranks.append(Rank(cpus: cpus, node: node, workerNodes: workerNodes))
            if let note { notes.append("rank \(index): \(note)") }
        }
        self.init(ranks: ranks, oversubscribed: oversubscribed, budget: topology.budget, notes: notes)
    }

    static func cpus(_ topology: Topology) -> String {
        let count = topology.allowed.count
        let all = count == 1 ? "1 CPU" : "\(count) CPUs"
        guard let quota = topology.cpuQuota, topology.budget < count else { return all }
        return "\(all) with a quota of \(quota)"
    }

    /// The node of most of the CPUs, or the nearest one to it that has memory for us.
    private static func memoryNode(for cpus: [Int], topology: Topology) -> (node: Int?, note: String?) {
        let nodeOf = Dictionary(topology.cpus.map { ($0.id, $0.node) }) { first, _ in first }
        let counts = Dictionary(cpus.compactMap { nodeOf[$0] }.map { ($0, 1) }, uniquingKeysWith: +)
        guard let home = counts.max(by: { ($0.value, $1.key) < ($1.value, $0.key) })?.key else { return (nil, nil) }
        let spans = counts.count > 1 ? "its CPUs are on nodes \(CPUList(counts.keys))" : nil
        let usable = topology.nodes.filter { $0.memoryTotal > 0 && topology.allowedNodes.contains($0.id) }
        if usable.contains(where: { $0.id == home }) { return (home, spans) }
        let distances = topology.nodes.first { $0.id == home }?.distances ?? [:]
        let nearest = usable.min { (distances[$0.id] ?? Int.max, $0.id) < (distances[$1.id] ?? Int.max, $1.id) }
        guard let nearest else { return (nil, spans) }
        return (nearest.id, "node \(home) has no memory to use, taking node \(nearest.id)'s")
    }
}
