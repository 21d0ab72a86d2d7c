import CKVLinux

extension Topology {
    /// Reads the machine. Never fails: what is not there is assumed in the plainest way, with a note.
    ///
    /// - Parameters:
    ///   - root: what stands before "/sys" and "/proc"; empty for the machine itself.
    ///   - affinity: the CPUs that the process is bound to; nil asks the kernel.
    package static func read(root: String = "", affinity: [Int]? = nil) -> Topology {
        var reader = TopologyReader(files: SystemFiles(root: root))
        var topology = reader.read(affinity: affinity)
        if root.isEmpty { topology.notes += libraryNotes(nodes: topology.nodes) }
        return topology
    }

    /// What libnuma, if there is one, says to what /sys told.
    private static func libraryNotes(nodes: [Node]) -> [String] {
        switch ckv_libnuma_available() {
        case -1: return ["libnuma.so.1 is not installed; memory policies are set by system call"]
        case 0: return ["libnuma reports no NUMA support; memory policies may not work"]
        default: break
        }
        let highest = Int(ckv_libnuma_max_node())
        let read = nodes.last?.id ?? 0
        return highest == read ? [] : ["libnuma's highest node is \(highest), /sys has \(read)"]
    }
}

/// Makes a `Topology` from /sys and /proc.
struct TopologyReader {
    let files: SystemFiles
    private var notes: [String] = []

    init(files: SystemFiles) { self.files = files }

    private static let cpuFolder = "/sys/devices/system/cpu"
    private static let nodeFolder = "/sys/devices/system/node"

    mutating func read(affinity: [Int]?) -> Topology {
        let bound = affinity ?? Self.affinity()
        var online = list(at: "\(Self.cpuFolder)/online")?.ids ?? []
        if online.isEmpty {
            online = bound.isEmpty ? [0] : bound
            notes.append("\(Self.cpuFolder)/online cannot be read; taking CPUs \(CPUList(online))")
        }
        let nodes = readNodes(online: online)
        let nodeOf = Dictionary(nodes.flatMap { node in node.cpus.map { ($0, node.id) } }) { first, _ in first }
        let cpus = online.map { readCPU($0, node: nodeOf[$0] ?? nodes.first?.id ?? 0, online: online) }

        let group = ControlGroup(files: files)
        let allowed = intersect(online: online, affinity: bound, cpuset: group.cpus)
        let memoryNodes = group.memoryNodes ?? nodes.map(\.id)
        return Topology(
            cpus: cpus, nodes: nodes, allowed: allowed,
            allowedNodes: nodes.map(\.id).filter(memoryNodes.contains), cpuQuota: group.cpuQuota,
            memoryLimit: group.memoryLimit, memoryAvailable: group.memoryAvailable, notes: notes)
    }

    private mutating func intersect(online: [Int], affinity: [Int], cpuset: [Int]?) -> [Int] {
        let bound = online.filter(Set(affinity).contains)
        let allowed = cpuset.map { bound.filter(Set($0).contains) } ?? bound
        if !allowed.isEmpty { return allowed }
        if !bound.isEmpty {
            let cpuset = CPUList(cpuset ?? [])
            notes.append("cpuset \(cpuset) and affinity \(CPUList(affinity)) share no CPU; taking the affinity")
            return bound
        }
        notes.append("affinity \(CPUList(affinity)) names no online CPU; taking all of \(CPUList(online))")
        return online
    }

    // MARK: CPUs

    private func readCPU(_ id: Int, node: Int, online: [Int]) -> Topology.CPU {
        let folder = "\(Self.cpuFolder)/cpu\(id)"
        let online = Set(online)
        let siblings =
            (list(at: "\(folder)/topology/core_cpus_list")
            ?? list(at: "\(folder)/topology/thread_siblings_list"))?.ids.filter(online.contains) ?? []
        return Topology.CPU(
            id: id, node: node,
            package: files.integer(at: "\(folder)/topology/physical_package_id") ?? 0,
            core: files.integer(at: "\(folder)/topology/core_id") ?? id,
            siblings: siblings.contains(id) ? siblings : [id],
            cacheGroup: lastLevelCache(of: folder)?.ids.first(where: online.contains) ?? -1 - node)
    }

    /// The CPUs that share the highest level of cache; nil if /sys does not say, as on some virtual machines.
    private func lastLevelCache(of folder: String) -> CPUList? {
        var best: (level: Int, cpus: CPUList)?
        for index in 0..<16 {
            let cache = "\(folder)/cache/index\(index)"
            guard let level = files.integer(at: "\(cache)/level") else { break }
            guard files.text(at: "\(cache)/type") != "Instruction", level > best?.level ?? 0,
                let cpus = list(at: "\(cache)/shared_cpu_list")
            else { continue }
            best = (level, cpus)
        }
        return best?.cpus
    }

    // MARK: Nodes

    private mutating func readNodes(online: [Int]) -> [Topology.Node] {
        guard let ids = list(at: "\(Self.nodeFolder)/online")?.ids, !ids.isEmpty else {
            notes.append("\(Self.nodeFolder) cannot be read; taking the machine as one node")
            let memory = files.memory(at: "/proc/meminfo", prefix: "")
            return [
                Topology.Node(
                    id: 0, memoryTotal: memory.total, memoryFree: memory.free, memoryAvailable: memory.available, cpus: online,
                    distances: [0: 10])
            ]
        }
        return ids.map { id in
            let folder = "\(Self.nodeFolder)/node\(id)"
            let memory = files.memory(at: "\(folder)/meminfo", prefix: "Node \(id) ")
            // One number for each online node, in their order.
            let distances = files.text(at: "\(folder)/distance")?.split(separator: " ").map { Int($0) ?? 0 } ?? []
            return Topology.Node(
                id: id, memoryTotal: memory.total, memoryFree: memory.free, memoryAvailable: memory.available,
                cpus: list(at: "\(folder)/cpulist")?.ids.filter(online.contains) ?? [],
                distances: Dictionary(uniqueKeysWithValues: zip(ids, distances)))
        }
    }

    private func list(at path: String) -> CPUList? { files.text(at: path).flatMap { CPUList($0) } }

    private static func affinity() -> [Int] {
        var ids = [Int32](repeating: 0, count: 8192)
        let count = ckv_affinity_get(&ids, Int32(ids.count))
        return ids.prefix(max(0, Int(count))).map(Int.init)
    }
}
