import Foundation

/// A tree of files as /sys and /proc have them, below a folder of its own that goes with this object.
final class FakeMachine {
    let root: String

    init() throws {
        root = NSTemporaryDirectory() + "fake-machine-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: root) }

    func write(_ path: String, _ text: String) throws {
        let url = URL(fileURLWithPath: root + path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data((text + "\n").utf8).write(to: url)
    }

    func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: root + path) }

    func cpu(_ id: Int, package: Int, core: Int, siblings: String, cache: String?) throws {
        let folder = "/sys/devices/system/cpu/cpu\(id)"
        try write("\(folder)/topology/physical_package_id", "\(package)")
        try write("\(folder)/topology/core_id", "\(core)")
        try write("\(folder)/topology/thread_siblings_list", siblings)
        guard let cache else { return }
        // As the kernel lists them: L1 data, L1 instruction, L2, L3.
        for (index, level, type, cpus) in [
            (0, 1, "Data", siblings), (1, 1, "Instruction", siblings), (2, 2, "Unified", siblings),
            (3, 3, "Unified", cache),
        ] {
            try write("\(folder)/cache/index\(index)/level", "\(level)")
            try write("\(folder)/cache/index\(index)/type", type)
            try write("\(folder)/cache/index\(index)/shared_cpu_list", cpus)
        }
    }

    func node(_ id: Int, cpus: String, totalKiB: Int, freeKiB: Int, distances: String) throws {
        let folder = "/sys/devices/system/node/node\(id)"
        try write("\(folder)/cpulist", cpus)
        try write("\(folder)/distance", distances)
        try write(
            "\(folder)/meminfo",
            """
            Node \(id) MemTotal:       \(totalKiB) kB
            Node \(id) MemFree:        \(freeKiB) kB
            Node \(id) MemUsed:               1 kB
            """)
    }

    func online(cpus: String, nodes: String) throws {
        try write("/sys/devices/system/cpu/online", cpus)
        try write("/sys/devices/system/node/online", nodes)
    }

    /// Two sockets of four cores with two threads each, numbered as Intel servers are: all first threads, then all
    /// second.
    static func dualSocket() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.online(cpus: "0-15", nodes: "0-1")
        for cpu in 0..<16 {
            let core = cpu % 8
            let package = core / 4
            try machine.cpu(
                cpu, package: package, core: core % 4, siblings: "\(core),\(core + 8)",
                cache: package == 0 ? "0-3,8-11" : "4-7,12-15")
        }
        try machine.node(0, cpus: "0-3,8-11", totalKiB: 1000, freeKiB: 700, distances: "10 21")
        try machine.node(1, cpus: "4-7,12-15", totalKiB: 2000, freeKiB: 1500, distances: "21 10")
        return machine
    }

    /// One node with four last-level caches of two cores each, no SMT.
    static func chiplets() throws -> FakeMachine {
        let machine = try FakeMachine()
        try machine.online(cpus: "0-7", nodes: "0")
        for cpu in 0..<8 {
            try machine.cpu(
                cpu, package: 0, core: cpu, siblings: "\(cpu)", cache: "\(cpu / 2 * 2)-\(cpu / 2 * 2 + 1)")
        }
        try machine.node(0, cpus: "0-7", totalKiB: 4000, freeKiB: 100, distances: "10")
        return machine
    }

    /// Version 2 control groups, this process in /user/job.
    func controlGroup2(mountedAt root: String = "/", path: String = "/user/job") throws {
        try write("/proc/self/cgroup", "0::\(path)")
        try write(
            "/proc/self/mountinfo",
            """
            22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
            31 22 0:28 \(root) /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate
            """)
    }

    /// Version 1 control groups, one tree a controller, beside an empty version 2 one.
    func controlGroup1(path: String) throws {
        try write("/proc/self/cgroup", "9:memory:\(path)\n3:cpuset:\(path)\n2:cpu,cpuacct:\(path)\n0::/")
        try write(
            "/proc/self/mountinfo",
            """
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
            34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
            """)
    }
}
