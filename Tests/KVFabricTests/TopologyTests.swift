import KVFabric
import XCTest

final class TopologyTests: XCTestCase {
    func testDualSocketWithSMT() throws {
        let machine = try FakeMachine.dualSocket()
        let topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.cpus.map(\.id), Array(0..<16))
        XCTAssertEqual(
            topology.cpus[13],
            .init(id: 13, node: 1, package: 1, core: 1, siblings: [5, 13], cacheGroup: 4))
        XCTAssertEqual(
            topology.nodes,
            [
                .init(
                    id: 0, memoryTotal: 1_024_000, memoryFree: 716_800, cpus: [0, 1, 2, 3, 8, 9, 10, 11],
                    distances: [0: 10, 1: 21]),
                .init(
                    id: 1, memoryTotal: 2_048_000, memoryFree: 1_536_000, cpus: [4, 5, 6, 7, 12, 13, 14, 15],
                    distances: [0: 21, 1: 10]),
            ])
        XCTAssertEqual(topology.allowed, Array(0..<16))
        XCTAssertEqual(topology.allowedNodes, [0, 1])
        XCTAssertEqual(topology.allowedCores, 8)
        XCTAssertEqual(topology.budget, 16)
        XCTAssertNil(topology.cpuQuota)
        XCTAssertNil(topology.memoryLimit)
        XCTAssertEqual(topology.notes, [])
    }

    func testSeveralCacheGroupsInANode() throws {
        let machine = try FakeMachine.chiplets()
        let topology = Topology.read(root: machine.root, affinity: Array(0..<8))
        XCTAssertEqual(topology.cpus.map(\.cacheGroup), [0, 0, 2, 2, 4, 4, 6, 6])
        XCTAssertEqual(topology.cpus.map(\.node), Array(repeating: 0, count: 8))
    }

    func testMemorylessNode() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.node(0, cpus: "0-3,8-11", totalKiB: 0, freeKiB: 0, distances: "10 21")
        let topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.nodes.map(\.memoryTotal), [0, 2_048_000])
    }

    func testNodeWithoutCPUs() throws {
        let machine = try FakeMachine.chiplets()
        try machine.online(cpus: "0-7", nodes: "0,2")
        try machine.node(2, cpus: "", totalKiB: 9000, freeKiB: 9000, distances: "14 10")
        let topology = Topology.read(root: machine.root, affinity: Array(0..<8))
        XCTAssertEqual(topology.nodes.map(\.id), [0, 2])
        XCTAssertEqual(topology.nodes[1].cpus, [])
        XCTAssertEqual(topology.nodes[1].distances, [0: 14, 2: 10])
    }

    /// An offline CPU has no topology folder, and lists of shared caches may still name it.
    func testOfflineCPU() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.online(cpus: "1-8,10-15", nodes: "0-1")
        for cpu in [0, 9] {
            try machine.remove("/sys/devices/system/cpu/cpu\(cpu)/topology")
            try machine.remove("/sys/devices/system/cpu/cpu\(cpu)/cache")
        }
        let topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.cpus.map(\.id), Array(1...8) + Array(10...15))
        XCTAssertEqual(topology.allowed, Array(1...8) + Array(10...15))
        XCTAssertEqual(topology.cpus.first?.siblings, [1], "CPU 9 is off")
        XCTAssertEqual(topology.cpus.first?.cacheGroup, 1, "CPU 0 is off")
        XCTAssertEqual(topology.nodes[0].cpus, [1, 2, 3, 8, 10, 11])
        XCTAssertEqual(topology.allowedCores, 8)
    }

    func testCpusetOfVersion2() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup2()
        try machine.write("/sys/fs/cgroup/user/job/cpuset.cpus.effective", "1,4,6")
        try machine.write("/sys/fs/cgroup/user/job/cpuset.mems.effective", "1")
        let topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.allowed, [1, 4, 6])
        XCTAssertEqual(topology.allowedNodes, [1])
        XCTAssertEqual(topology.cpus.count, 16)
        XCTAssertEqual(topology.allowedCores, 3)
    }

    /// Without the controller in the own group, the nearest one above that has it counts.
    func testCpusetOfAGroupAbove() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup2()
        try machine.write("/sys/fs/cgroup/user/cpuset.cpus.effective", "2-5")
        try machine.write("/sys/fs/cgroup/cpuset.cpus.effective", "0-15")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: Array(0..<16)).allowed, [2, 3, 4, 5])
    }

    func testAffinityAndCpusetTogether() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup1(path: "/jobs/1")
        try machine.write("/sys/fs/cgroup/cpuset/jobs/1/cpuset.cpus", "1,4,6")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: [4, 5, 6, 7]).allowed, [4, 6])
        let apart = Topology.read(root: machine.root, affinity: [8])
        XCTAssertEqual(apart.allowed, [8])
        XCTAssertEqual(apart.notes.count, 1)
        let off = Topology.read(root: machine.root, affinity: [99])
        XCTAssertEqual(off.allowed, Array(0..<16))
        XCTAssertEqual(off.notes.count, 1)
    }

    /// The tightest limit on the way up holds.
    func testQuotaOfVersion2() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup2()
        try machine.write("/sys/fs/cgroup/user/job/cpu.max", "max 100000")
        try machine.write("/sys/fs/cgroup/user/cpu.max", "250000 100000")
        try machine.write("/sys/fs/cgroup/user/job/memory.max", "1000000")
        try machine.write("/sys/fs/cgroup/user/memory.max", "max")
        var topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.cpuQuota, 2.5)
        XCTAssertEqual(topology.budget, 3)
        XCTAssertEqual(topology.memoryLimit, 1_000_000)
        try machine.write("/sys/fs/cgroup/user/job/cpu.max", "50000 100000")
        try machine.write("/sys/fs/cgroup/user/memory.max", "999999")
        topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.cpuQuota, 0.5)
        XCTAssertEqual(topology.budget, 1)
        XCTAssertEqual(topology.memoryLimit, 999_999)
    }

    func testQuotaOfVersion1() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup1(path: "/jobs/1")
        try machine.write("/sys/fs/cgroup/cpu/jobs/1/cpu.cfs_quota_us", "-1")
        try machine.write("/sys/fs/cgroup/cpu/jobs/1/cpu.cfs_period_us", "100000")
        try machine.write("/sys/fs/cgroup/memory/jobs/1/memory.limit_in_bytes", "9223372036854771712")
        var topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertNil(topology.cpuQuota)
        XCTAssertNil(topology.memoryLimit)
        try machine.write("/sys/fs/cgroup/cpu/jobs/cpu.cfs_quota_us", "400000")
        try machine.write("/sys/fs/cgroup/cpu/jobs/cpu.cfs_period_us", "100000")
        try machine.write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "4096")
        topology = Topology.read(root: machine.root, affinity: Array(0..<16))
        XCTAssertEqual(topology.cpuQuota, 4)
        XCTAssertEqual(topology.memoryLimit, 4096)
    }

    /// What a group has used is not to be had again, save for pages of files; the group that leaves the least counts.
    func testMemoryThatGroupsCanStillGive() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup2()
        func available() -> UInt64? { Topology.read(root: machine.root, affinity: [0]).memoryAvailable }
        let job = "/sys/fs/cgroup/user/job"
        try machine.write("\(job)/memory.max", "max")
        try machine.write("\(job)/memory.current", "700")
        XCTAssertNil(available())
        try machine.write("\(job)/memory.max", "1000")
        XCTAssertEqual(available(), 300)
        try machine.write("\(job)/memory.stat", "anon 500\nfile 200\ninactive_file 150\nactive_file 50")
        XCTAssertEqual(available(), 450)
        try machine.write("\(job)/memory.high", "800")
        XCTAssertEqual(available(), 250)
        try machine.write("/sys/fs/cgroup/user/memory.max", "2000")
        try machine.write("/sys/fs/cgroup/user/memory.current", "1900")
        XCTAssertEqual(available(), 100)
        try machine.write("/sys/fs/cgroup/user/memory.current", "2100")
        XCTAssertEqual(available(), 0)
        try machine.write("/proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 7 kB")
        XCTAssertEqual(AvailableMemory.machine(root: machine.root), 7168)
        XCTAssertEqual(AvailableMemory.bytes(root: machine.root), 0)
    }

    func testMemoryThatGroupsOfVersion1CanStillGive() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup1(path: "/jobs/1")
        let job = "/sys/fs/cgroup/memory/jobs/1"
        try machine.write("\(job)/memory.limit_in_bytes", "1000")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: [0]).memoryAvailable, 1000)
        try machine.write("\(job)/memory.usage_in_bytes", "900")
        try machine.write("\(job)/memory.stat", "inactive_file 1\ntotal_inactive_file 400")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: [0]).memoryAvailable, 500)
    }

    /// In a container the mount starts at the container's group, while the path counts from the host's root.
    func testGroupMountedFromWithin() throws {
        let machine = try FakeMachine.dualSocket()
        try machine.controlGroup2(mountedAt: "/docker/abc", path: "/docker/abc/inner")
        try machine.write("/sys/fs/cgroup/cpu.max", "300000 100000")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: Array(0..<16)).cpuQuota, 3)
        try machine.write("/sys/fs/cgroup/inner/cpu.max", "200000 100000")
        XCTAssertEqual(Topology.read(root: machine.root, affinity: Array(0..<16)).cpuQuota, 2)
    }

    func testWithoutCacheTheNodesAreTheGroups() throws {
        let machine = try FakeMachine()
        try machine.online(cpus: "0-3", nodes: "0-1")
        for cpu in 0..<4 { try machine.cpu(cpu, package: 0, core: cpu, siblings: "\(cpu)", cache: nil) }
        try machine.node(0, cpus: "0-1", totalKiB: 1, freeKiB: 1, distances: "10 20")
        try machine.node(1, cpus: "2-3", totalKiB: 1, freeKiB: 1, distances: "20 10")
        let groups = Topology.read(root: machine.root, affinity: Array(0..<4)).cpus.map(\.cacheGroup)
        XCTAssertEqual(groups[0], groups[1])
        XCTAssertEqual(groups[2], groups[3])
        XCTAssertNotEqual(groups[0], groups[2])
    }

    /// No /sys at all: the affinity as one node, with notes.
    func testNothingToRead() {
        let topology = Topology.read(root: "/nonexistent", affinity: [0, 2])
        XCTAssertEqual(topology.allowed, [0, 2])
        XCTAssertEqual(topology.nodes.map(\.cpus), [[0, 2]])
        XCTAssertEqual(topology.notes.count, 2)
        XCTAssertEqual(Topology.read(root: "/nonexistent", affinity: []).allowed, [0])
    }

    /// Files full of nonsense make notes, not crashes.
    func testDamagedFiles() throws {
        let machine = try FakeMachine.chiplets()
        try machine.controlGroup2()
        try machine.write("/sys/fs/cgroup/user/job/cpu.max", "-5 x")
        try machine.write("/sys/fs/cgroup/user/job/cpuset.cpus.effective", "8-1")
        try machine.write("/sys/devices/system/cpu/cpu3/cache/index3/level", "three")
        try machine.write("/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "5")
        try machine.write("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 99999999999999999999 kB")
        let topology = Topology.read(root: machine.root, affinity: Array(0..<8))
        XCTAssertEqual(topology.allowed, Array(0..<8))
        XCTAssertNil(topology.cpuQuota)
        XCTAssertEqual(topology.cpus[3].siblings, [3])
        XCTAssertEqual(topology.nodes[0].memoryTotal, 0)
    }

    func testThisMachine() {
        let topology = Topology.read()
        XCTAssertFalse(topology.allowed.isEmpty)
        XCTAssertTrue(Set(topology.allowed).isSubset(of: topology.cpus.map(\.id)))
        XCTAssertGreaterThan(topology.nodes.reduce(0) { $0 + $1.memoryTotal }, 0)
    }
}
