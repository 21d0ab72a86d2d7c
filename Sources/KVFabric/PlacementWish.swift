/// What the user wants of a placement.
package struct PlacementWish: Sendable, Equatable {
    /// How ranks and nodes come together; llama.cpp's names.
    package enum Mode: String, Sendable, CaseIterable {
        /// Ranks spread over nodes, none spans two unless it has to.
        case auto
        /// No node stays idle.
        case distribute
        /// Only the node that the process started on.
        case isolate
        /// The CPUs and the memory policy that the process was started with: nothing of our own.
        case numactl
        /// No pinning and no memory policy.
        case off
    }

    /// CPUs by name.
    package enum CPUs: Sendable, Equatable {
        /// For the ranks to share out.
        case pool(CPUList)
        /// Each rank's.
        case lists([CPUList])

        /// Reads "0-15" (a pool) or "0-15|16-31" (each rank's).
        /// - Throws: `.invalid` naming the part that is no list.
        package init(parsing text: String) throws(FabricError) {
            var lists: [CPUList] = []
            for part in text.split(separator: "|", omittingEmptySubsequences: false) {
                guard let list = CPUList(part) else { throw .invalid(field: "--cpus", value: "\"\(part)\"") }
                lists.append(list)
            }
            self = lists.count == 1 ? .pool(lists[0]) : .lists(lists)
        }
    }

    package var ranks: Int
    package var threadsPerRank: Int?
    /// Fewer threads, with a note, where the CPUs do not suffice.
    package var fits: Bool
    package var mode: Mode
    package var cpus: CPUs?
    /// The CPU that the process started on.
    package var start: Int?

    package init(
        ranks: Int, threadsPerRank: Int? = nil, fits: Bool = true, mode: Mode = .auto, cpus: CPUs? = nil, start: Int? = nil
    ) {
        self.ranks = ranks
        self.threadsPerRank = threadsPerRank
        self.fits = fits
        self.mode = mode
        self.cpus = cpus
        self.start = start
    }
}

/// A wish that this machine cannot fulfil; says which CPU or list is at fault.
package struct PlacementError: Error, Equatable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension Placement {
    /// Fulfils a wish on a machine; a pure function.
    /// - Throws: `PlacementError` for CPUs that are offline, not allowed or none, or lists that do not suit the ranks.
    package init(_ wish: PlacementWish, on topology: Topology) throws(PlacementError) {
        if let cpus = wish.cpus, wish.mode != .auto, wish.mode != .distribute {
            throw PlacementError("--cpus \(cpus) and --numa \(wish.mode.rawValue) contradict each other")
        }
        if case .lists(let lists) = wish.cpus {
            self = try Self.placed(lists, wish, on: topology)
            return
        }
        let machine = try Self.machine(for: wish, of: topology)
        self = Self.plan(
            topology: machine, ranks: wish.ranks, threadsPerRank: wish.threadsPerRank, fit: wish.fits,
            everywhere: wish.mode == .distribute)
        guard wish.mode == .numactl || wish.mode == .off else { return }
        isPinned = false
        notes.removeAll { $0.hasPrefix("rank ") }
        ranks = ranks.map { Rank(cpus: $0.cpus, node: nil) }
    }

    /// What of a machine a wish without lists leaves.
    package static func machine(for wish: PlacementWish, of topology: Topology) throws(PlacementError) -> Topology {
        var machine = topology
        if case .pool(let pool) = wish.cpus {
            try check(pool, "--cpus", topology)
            machine.allowed = pool.ids
        }
        if wish.mode == .isolate {
            let start = topology.cpus.first { $0.id == wish.start } ?? topology.cpus.first { topology.allowed.contains($0.id) }
            machine.allowed = topology.cpus.filter { $0.node == start?.node && topology.allowed.contains($0.id) }.map(\.id)
        }
        return machine
    }

    private static func placed(
        _ lists: [CPUList], _ wish: PlacementWish, on topology: Topology
    ) throws(PlacementError) -> Placement {
        guard lists.count == wish.ranks else {
            throw PlacementError(
                "--cpus has \(lists.count) lists for \(wish.ranks) ranks; give one a rank, or one for all without |")
        }
        var notes: [String] = []
        var sets: [[Int]] = []
        var owner: [Int: Int] = [:]
        var oversubscribed = false
        for (rank, list) in lists.enumerated() {
            try check(list, "--cpus, list \(rank + 1)", topology)
            var machine = topology
            machine.allowed = list.ids
            var threads = max(1, wish.threadsPerRank ?? list.ids.count)
            if threads > list.ids.count, wish.fits {
                notes.append("rank \(rank): \(threads) threads asked, \(list.ids.count) fit on CPUs \(list)")
                threads = list.ids.count
            }
            let cores = Cores(machine)
            sets +=
                threads > list.ids.count
                ? cores.roundRobin(ranks: 1, threads: threads) : cores.distribute(ranks: 1, threads: threads)
            oversubscribed = oversubscribed || threads > list.ids.count
            for cpu in list.ids {
                if let other = owner[cpu] {
                    notes.append("CPU \(cpu) is in the lists of ranks \(other) and \(rank), which share it")
                    oversubscribed = true
                }
                owner[cpu] = rank
            }
        }
        if sets.joined().count > topology.budget {
            notes.append("\(sets.joined().count) threads share \(cpus(topology))")
            oversubscribed = true
        }
        return Placement(sets, topology: topology, oversubscribed: oversubscribed, notes: notes)
    }

    private static func check(_ list: CPUList, _ what: String, _ topology: Topology) throws(PlacementError) {
        if list.ids.isEmpty { throw PlacementError("\(what) names no CPU") }
        let online = topology.cpus.map(\.id)
        let off = list.ids.filter { !online.contains($0) }
        guard off.isEmpty else {
            throw PlacementError("\(what): CPUs \(CPUList(off)) are offline or not there; online are \(CPUList(online))")
        }
        let refused = list.ids.filter { !topology.allowed.contains($0) }
        guard refused.isEmpty else {
            throw PlacementError(
                "\(what): CPUs \(CPUList(refused)) are not allowed to this process (affinity, cpuset); allowed are "
                    + "\(CPUList(topology.allowed))")
        }
    }
}

extension PlacementWish.CPUs: CustomStringConvertible {
    package var description: String {
        switch self {
        case .pool(let list): "\(list)"
        case .lists(let lists): lists.map(\.description).joined(separator: "|")
        }
    }
}
