import CKVLinux

/// What the machine offers this process: CPUs, how they share cores, caches and memory, and what it may use of them.
///
/// A value: ``read(root:affinity:)`` makes it from the system, tests and simulations make it by hand.
package struct Topology: Sendable, Equatable {
    /// One online CPU, a hardware thread.
    package struct CPU: Sendable, Equatable {
        package var id: Int
        package var node: Int
        package var package: Int
        /// The kernel's core number, unique within a package only.
        package var core: Int
        /// The CPUs of the same core, itself among them, ascending.
        package var siblings: [Int]
        /// The lowest CPU of those that share its last-level cache: names the group.
        package var cacheGroup: Int

        package init(id: Int, node: Int, package: Int, core: Int, siblings: [Int], cacheGroup: Int) {
            self.id = id
            self.node = node
            self.package = package
            self.core = core
            self.siblings = siblings
            self.cacheGroup = cacheGroup
        }
    }

    /// One NUMA node; it may lack CPUs or memory.
    package struct Node: Sendable, Equatable {
        package var id: Int
        /// Bytes.
        package var memoryTotal: UInt64
        /// Bytes free when this was read.
        package var memoryFree: UInt64
        /// The same with what the kernel gives up at once: pages of files, mostly.
        package var memoryAvailable: UInt64
        /// Its online CPUs, ascending.
        package var cpus: [Int]
        /// Relative distance (10 is local) to each node, by that node's id.
        package var distances: [Int: Int]

        package init(
            id: Int, memoryTotal: UInt64, memoryFree: UInt64, memoryAvailable: UInt64? = nil, cpus: [Int], distances: [Int: Int]
        ) {
            self.id = id
            self.memoryTotal = memoryTotal
            self.memoryFree = memoryFree
            self.memoryAvailable = memoryAvailable ?? memoryFree
            self.cpus = cpus
            self.distances = distances
        }
    }

    /// The online CPUs, ascending.
    package var cpus: [CPU]
    /// The online nodes, ascending.
    package var nodes: [Node]
    /// The CPUs that this process may run on: its affinity, its cpuset, online; ascending.
    package var allowed: [Int]
    /// The nodes that its memory may come from, ascending.
    package var allowedNodes: [Int]
    /// CPU time a second of wall time that its control group grants, in CPUs; nil: no limit.
    package var cpuQuota: Double?
    /// Bytes that its control group may use; nil: no limit.
    package var memoryLimit: UInt64?
    /// Bytes that its control groups could still give when this was read; nil: no limit.
    package var memoryAvailable: UInt64?
    /// What could not be read, and what was assumed instead.
    package var notes: [String]

    package init(
        cpus: [CPU], nodes: [Node], allowed: [Int]? = nil, allowedNodes: [Int]? = nil, cpuQuota: Double? = nil,
        memoryLimit: UInt64? = nil, memoryAvailable: UInt64? = nil, notes: [String] = []
    ) {
        self.cpus = cpus
        self.nodes = nodes
        self.allowed = allowed ?? cpus.map(\.id)
        self.allowedNodes = allowedNodes ?? nodes.map(\.id)
        self.cpuQuota = cpuQuota
        self.memoryLimit = memoryLimit
        self.memoryAvailable = memoryAvailable
        self.notes = notes
    }

    /// The CPU that the calling thread is on; nil where the kernel does not say.
    package static var currentCPU: Int? {
        let cpu = ckv_current_cpu()
        return cpu >= 0 ? Int(cpu) : nil
    }

    /// Physical cores with at least one allowed CPU.
    package var allowedCores: Int {
        let allowed = Set(allowed)
        return Set(cpus.filter { allowed.contains($0.id) }.compactMap(\.siblings.first)).count
    }

    /// How many CPUs can be busy all the time: the allowed ones, or fewer by quota (rounded up); at least 1.
    package var budget: Int {
        guard let cpuQuota, cpuQuota < Double(allowed.count) else { return max(1, allowed.count) }
        return max(1, Int(cpuQuota.rounded(.up)))
    }
}
