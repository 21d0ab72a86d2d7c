/// The allowed CPUs as whole cores in the order of the machine, cut among ranks.
struct Cores {
    /// CPUs of one core, the first to be used first.
    private typealias Core = [Int]

    /// Cores by node and cache group, each in ascending order.
    private let nodes: [[[Core]]]

    init(_ topology: Topology) {
        let allowed = Set(topology.allowed)
        let cpus = topology.cpus.filter { allowed.contains($0.id) }
        nodes = Self.grouped(cpus) { $0.node }.map { node in
            Self.grouped(node) { $0.cacheGroup }.map { group in
                Self.grouped(group) { $0.siblings.first ?? $0.id }.map { $0.map(\.id).sorted() }
            }
        }
    }

    private static func grouped(_ cpus: [Topology.CPU], by key: (Topology.CPU) -> Int) -> [[Topology.CPU]] {
        Dictionary(grouping: cpus, by: key).sorted { $0.key < $1.key }.map(\.value)
    }

    /// More workers than CPUs: one CPU after the other, in the order of preference, again and again. A rank's workers so have parts of all
    /// CPUs, and none is idle while a rank that got less work waits.
    func roundRobin(ranks: Int, threads: Int) -> [[Int]] {
        var order = Self.preferred(nodes.flatMap { $0.flatMap { $0 } })
        if order.isEmpty { order = [0] }  // There is a CPU, as this runs.
        return (0..<ranks).map { rank in (0..<threads).map { order[(rank * threads + $0) % order.count] } }
    }

    /// At most as many workers as CPUs: a CPU each.
    /// - Parameter everywhere: every node gets work before one gets more.
    func distribute(ranks: Int, threads: Int, everywhere: Bool = false) -> [[Int]] {
        if everywhere, ranks < nodes.count, let sets = acrossNodes(ranks: ranks, threads: threads) { return sets }
        let cores = nodes.map { $0.flatMap { $0 } }
        // Siblings count as room only if the cores do not suffice.
        let needsSiblings = ranks * threads > cores.reduce(0) { $0 + $1.count }
        func room(_ cores: [Core]) -> Int { needsSiblings ? cores.reduce(0) { $0 + $1.count } : cores.count }

        guard let perNode = Self.spread(ranks, rooms: cores.map(room), threads: threads, everywhere: everywhere) else {
            return Self.cut(cores.flatMap { $0 }, ranks: ranks, threads: threads)
        }
        return zip(nodes, perNode).flatMap { node, ranks in
            guard let perGroup = Self.spread(ranks, rooms: node.map(room), threads: threads) else {
                return Self.cut(node.flatMap { $0 }, ranks: ranks, threads: threads)
            }
            return zip(node, perGroup).flatMap { Self.cut($0, ranks: $1, threads: threads) }
        }
    }

    /// Each rank on nodes of its own, their cores taken in turns; nil where these are too few.
    private func acrossNodes(ranks: Int, threads: Int) -> [[Int]]? {
        var sets: [[Int]] = []
        for rank in 0..<ranks {
            let own = nodes[rank * nodes.count / ranks..<(rank + 1) * nodes.count / ranks].map { $0.flatMap { $0 } }
            var cores: [Core] = []
            for turn in 0..<(own.map(\.count).max() ?? 0) { cores += own.compactMap { turn < $0.count ? $0[turn] : nil } }
            let cpus = Self.preferred(cores).prefix(threads)
            if cpus.count < threads { return nil }
            sets.append(Array(cpus))
        }
        return sets
    }

    /// How many ranks each domain takes, so that none spans two and the load is even; nil if that cannot be.
    private static func spread(_ ranks: Int, rooms: [Int], threads: Int, everywhere: Bool = false) -> [Int]? {
        var counts = rooms.map { _ in 0 }
        for _ in 0..<ranks {
            let open = rooms.indices.filter { (counts[$0] + 1) * threads <= rooms[$0] }
            // The least filled after taking one more: compares (count + 1) / room without dividing. An idle one where that is the same.
            let next = open.min { a, b in
                if everywhere, (counts[a] == 0) != (counts[b] == 0) { return counts[a] == 0 }
                let (after, other) = ((counts[a] + 1) * rooms[b], (counts[b] + 1) * rooms[a])
                return after != other ? after < other : counts[a] < counts[b]
            }
            guard let next else { return nil }
            counts[next] += 1
        }
        return counts
    }

    /// Even shares of consecutive cores; a rank takes what it needs of its share, and where a share is too small, what
    /// others left.
    private static func cut(_ cores: [Core], ranks: Int, threads: Int) -> [[Int]] {
        if cores.count < ranks {
            let order = preferred(cores)
            return (0..<ranks).map { Array(order[$0 * threads..<($0 + 1) * threads]) }
        }
        var sets: [[Int]] = []
        var left: [Int] = []
        for rank in 0..<ranks {
            let share = preferred(Array(cores[rank * cores.count / ranks..<(rank + 1) * cores.count / ranks]))
            sets.append(Array(share.prefix(threads)))
            left += share.dropFirst(threads)
        }
        for rank in sets.indices {
            let missing = threads - sets[rank].count
            sets[rank] += left.prefix(missing)
            left.removeFirst(min(missing, left.count))
        }
        return sets
    }

    /// The first CPU of every core, then the second ones, and so on.
    private static func preferred(_ cores: [Core]) -> [Int] {
        (0..<(cores.map(\.count).max() ?? 0)).flatMap { thread in
            cores.compactMap { thread < $0.count ? $0[thread] : nil }
        }
    }
}
