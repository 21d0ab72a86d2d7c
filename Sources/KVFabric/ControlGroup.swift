/// The limits of the control groups that this process is in, of both versions of the interface, side by side if need
/// be.
///
/// A limit of any group on the way up to the mount's root holds, so the smallest one counts. Groups above the mount's
/// root (outside a container's view) cannot be seen; their cpuset shows in the affinity all the same.
struct ControlGroup {
    /// CPUs of the cpuset; nil without one.
    let cpus: [Int]?
    /// Nodes of the cpuset; nil without one.
    let memoryNodes: [Int]?
    /// CPUs' worth of time; nil without a limit.
    let cpuQuota: Double?
    /// Bytes; nil without a limit.
    let memoryLimit: UInt64?
    /// Bytes that the tightest group can still give: its limit less what it uses, pages of files that the kernel gives up first not counted;
    /// nil without a limit.
    let memoryAvailable: UInt64?

    init(files: SystemFiles) {
        let paths = Paths(files: files)
        let cpuset = paths.folders(of: "cpuset")
        func list(_ names: [String]) -> [Int]? {
            // The group's own list, or that of the nearest one above that has the controller.
            for folder in cpuset {
                for name in names {
                    if let list = files.text(at: "\(folder)/\(name)").flatMap({ CPUList($0) }), !list.ids.isEmpty {
                        return list.ids
                    }
                }
            }
            return nil
        }
        cpus = list(["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"])
        memoryNodes = list(["cpuset.mems.effective", "cpuset.effective_mems", "cpuset.mems"])
        cpuQuota = paths.folders(of: "cpu").compactMap { Self.quota(files, in: $0) }.min()
        let groups = paths.folders(of: "memory").compactMap { Self.memory(files, in: $0) }
        memoryLimit = groups.map(\.limit).min()
        memoryAvailable = groups.map(\.available).min()
    }

    /// `memoryAvailable` as of now.
    static func memoryAvailable(files: SystemFiles) -> UInt64? {
        Paths(files: files).folders(of: "memory").compactMap { memory(files, in: $0)?.available }.min()
    }

    private static func quota(_ files: SystemFiles, in folder: String) -> Double? {
        if let words = files.text(at: "\(folder)/cpu.max")?.split(separator: " ") {
            guard words.count == 2, let quota = Double(words[0]), let period = Double(words[1]) else { return nil }
            return period > 0 && quota > 0 ? quota / period : nil
        }
        guard let quota = files.integer(at: "\(folder)/cpu.cfs_quota_us"), quota > 0,
            let period = files.integer(at: "\(folder)/cpu.cfs_period_us"), period > 0
        else { return nil }
        return Double(quota) / Double(period)
    }

    /// One group's limit, the lower one of version 2's two: beyond `memory.high` it is slowed down until it stands still.
    private static func memory(_ files: SystemFiles, in folder: String) -> (limit: UInt64, available: UInt64)? {
        func number(_ name: String) -> UInt64? { files.text(at: "\(folder)/\(name)").flatMap { UInt64($0) } }
        if let limit = [number("memory.max"), number("memory.high")].compactMap(\.self).min() {
            return (limit, left(of: limit, used: number("memory.current"), files, in: folder))
        }
        // Version 1 writes "no limit" as the largest multiple of a page.
        guard let limit = number("memory.limit_in_bytes"), limit < 1 << 60 else { return nil }
        return (limit, left(of: limit, used: number("memory.usage_in_bytes"), files, in: folder))
    }

    private static func left(of limit: UInt64, used: UInt64?, _ files: SystemFiles, in folder: String) -> UInt64 {
        guard let used else { return limit }
        var statistics: [Substring: UInt64] = [:]
        for line in files.lines(at: "\(folder)/memory.stat") {
            let words = line.split(separator: " ")
            if words.count == 2, let value = UInt64(words[1]) { statistics[words[0]] = value }
        }
        // Version 1's own line is of the group alone, the total of those below it as well.
        let files = statistics["total_inactive_file"] ?? statistics["inactive_file"] ?? 0
        let held = used > files ? used - files : 0
        return limit > held ? limit - held : 0
    }

    /// Where the groups' files are.
    private struct Paths {
        private struct Mount {
            let root: String
            let point: String
            /// nil for version 2.
            let controllers: [Substring]?
        }

        private let mounts: [Mount]
        /// Lines of /proc/self/cgroup: controllers (empty for version 2) and path.
        private let groups: [(controllers: [Substring], path: String)]

        init(files: SystemFiles) {
            groups = files.lines(at: "/proc/self/cgroup").compactMap { line in
                let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
                guard fields.count == 3 else { return nil }
                return (fields[1].split(separator: ","), String(fields[2]))
            }
            mounts = files.lines(at: "/proc/self/mountinfo").compactMap { line in
                // id parent device root point options … - type source superoptions
                let fields = line.split(separator: " ")
                guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
                switch fields[dash + 1] {
                case "cgroup2": return Mount(root: String(fields[3]), point: String(fields[4]), controllers: nil)
                case "cgroup":
                    return Mount(
                        root: String(fields[3]), point: String(fields[4]),
                        controllers: fields[dash + 3].split(separator: ","))
                default: return nil
                }
            }
        }

        /// The folders of this process's groups with that controller, from its own up to the mount's root.
        /// Version 2 has one tree for all; where version 1 holds the controller, the files are missing from it.
        func folders(of controller: Substring) -> [String] {
            mounts.flatMap { mount -> [String] in
                let isOurs = mount.controllers?.contains(controller) ?? true
                let group = groups.first {
                    mount.controllers == nil ? $0.controllers.isEmpty : $0.controllers.contains(controller)
                }
                guard isOurs, let group else { return [] }
                return Self.way(up: group.path, below: mount)
            }
        }

        private static func way(up path: String, below mount: Mount) -> [String] {
            // The path counts from the hierarchy's root, the mount may start further down (a container's).
            var parts = path.split(separator: "/")
            let root = mount.root.split(separator: "/")
            if parts.starts(with: root) { parts.removeFirst(root.count) }
            var folders: [String] = []
            while true {
                folders.append(([mount.point] + parts.map(String.init)).joined(separator: "/"))
                if parts.popLast() == nil { return folders }
            }
        }
    }
}
