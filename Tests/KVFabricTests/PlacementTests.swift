import KVFabric
import XCTest

final class PlacementTests: XCTestCase {
    private func dualSocket() throws -> Topology {
        let machine = try FakeMachine.dualSocket()
        return Topology.read(root: machine.root, affinity: Array(0..<16))
    }

    private func chiplets() throws -> Topology {
        let machine = try FakeMachine.chiplets()
        return Topology.read(root: machine.root, affinity: Array(0..<8))
    }

    private func flat(_ cpus: Int, quota: Double? = nil) -> Topology {
        Topology(
            cpus: (0..<cpus).map { .init(id: $0, node: 0, package: 0, core: $0, siblings: [$0], cacheGroup: 0) },
            nodes: [.init(id: 0, memoryTotal: 1, memoryFree: 1, cpus: Array(0..<cpus), distances: [0: 10])],
            cpuQuota: quota)
    }

    private struct Case {
        var ranks: Int
        var threads: Int?
        var cpus: [[Int]]
        var nodes: [Int?]
    }

    private func check(_ topology: Topology, _ cases: [Case], line: UInt = #line) {
        for test in cases {
            let placement = Placement.plan(topology: topology, ranks: test.ranks, threadsPerRank: test.threads)
            let what = "\(test.ranks) × \(test.threads.map(String.init) ?? "default")"
            XCTAssertEqual(placement.ranks.map(\.cpus), test.cpus, what, line: line)
            XCTAssertEqual(placement.ranks.map(\.node), test.nodes, what, line: line)
            XCTAssertFalse(placement.oversubscribed, what, line: line)
        }
    }

    func testDualSocket() throws {
        check(
            try dualSocket(),
            [
                // By default physical cores: one rank has all, two have a node each.
                Case(ranks: 1, threads: nil, cpus: [Array(0..<8)], nodes: [0]),
                Case(ranks: 2, threads: nil, cpus: [[0, 1, 2, 3], [4, 5, 6, 7]], nodes: [0, 1]),
                Case(ranks: 4, threads: nil, cpus: [[0, 1], [2, 3], [4, 5], [6, 7]], nodes: [0, 0, 1, 1]),
                // Fewer threads than cores: still a node each.
                Case(ranks: 2, threads: 2, cpus: [[0, 1], [4, 5]], nodes: [0, 1]),
                // Siblings last, and of the rank's own cores.
                Case(
                    ranks: 2, threads: 6, cpus: [[0, 1, 2, 3, 8, 9], [4, 5, 6, 7, 12, 13]], nodes: [0, 1]),
                Case(
                    ranks: 4, threads: 4, cpus: [[0, 1, 8, 9], [2, 3, 10, 11], [4, 5, 12, 13], [6, 7, 14, 15]],
                    nodes: [0, 0, 1, 1]),
                Case(ranks: 1, threads: 16, cpus: [Array(0..<16)], nodes: [0]),
                // More ranks than cores: siblings are CPUs too.
                Case(
                    ranks: 16, threads: nil,
                    cpus: [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15].map { [$0] },
                    nodes: Array(repeating: 0, count: 8) + Array(repeating: 1, count: 8)),
                // Three ranks do not divide: two on one node.
                Case(ranks: 3, threads: nil, cpus: [[0, 1], [2, 3], [4, 5]], nodes: [0, 0, 1]),
            ])
    }

    /// Three ranks of three do not fit two nodes of four cores, so cores are cut through and one rank spans both.
    func testARankSpansNodesOnlyIfItHasTo() throws {
        let topology = flatNodes(cores: 4)
        let placement = Placement.plan(topology: topology, ranks: 3, threadsPerRank: 2)
        XCTAssertEqual(placement.ranks.map(\.cpus), [[0, 1], [2, 3], [4, 5]])
        XCTAssertEqual(placement.notes, [])
        let forced = Placement.plan(topology: flatNodes(cores: 5), ranks: 3, threadsPerRank: 3)
        XCTAssertEqual(forced.ranks.map(\.cpus), [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
        XCTAssertEqual(forced.ranks.map(\.node), [0, 0, 1])
        XCTAssertEqual(forced.notes, ["rank 1: its CPUs are on nodes 0-1"])
    }

    /// Two nodes, cores without SMT.
    private func flatNodes(cores: Int) -> Topology {
        Topology(
            cpus: (0..<2 * cores).map {
                .init(
                    id: $0, node: $0 / cores, package: $0 / cores, core: $0 % cores, siblings: [$0],
                    cacheGroup: $0 / cores * cores)
            },
            nodes: (0..<2).map {
                .init(
                    id: $0, memoryTotal: 1, memoryFree: 1, cpus: Array($0 * cores..<($0 + 1) * cores),
                    distances: [$0: 10, 1 - $0: 20])
            })
    }

    func testCacheGroups() throws {
        check(
            try chiplets(),
            [
                Case(ranks: 4, threads: nil, cpus: [[0, 1], [2, 3], [4, 5], [6, 7]], nodes: [0, 0, 0, 0]),
                Case(ranks: 2, threads: nil, cpus: [[0, 1, 2, 3], [4, 5, 6, 7]], nodes: [0, 0]),
                // A cache each, as long as there are caches.
                Case(ranks: 4, threads: 1, cpus: [[0], [2], [4], [6]], nodes: [0, 0, 0, 0]),
                Case(ranks: 3, threads: 2, cpus: [[0, 1], [2, 3], [4, 5]], nodes: [0, 0, 0]),
                Case(ranks: 8, threads: nil, cpus: (0..<8).map { [$0] }, nodes: Array(repeating: 0, count: 8)),
            ])
    }

    /// The cpuset 1,4,6 of the dual socket: cores on both nodes, siblings not allowed.
    func testCpuset() throws {
        var topology = try dualSocket()
        topology.allowed = [1, 4, 6]
        check(
            topology,
            [
                Case(ranks: 1, threads: nil, cpus: [[1, 4, 6]], nodes: [1]),
                Case(ranks: 3, threads: nil, cpus: [[1], [4], [6]], nodes: [0, 1, 1]),
                Case(ranks: 2, threads: 1, cpus: [[1], [4]], nodes: [0, 1]),
            ])
    }

    func testFit() {
        let fitted = Placement.plan(topology: flat(2), ranks: 2, threadsPerRank: 8, fit: true)
        XCTAssertEqual(fitted.ranks.map(\.cpus), [[0], [1]])
        XCTAssertFalse(fitted.oversubscribed)
        XCTAssertEqual(fitted.notes, ["8 threads per rank asked, 1 fit on 2 CPUs with 2 ranks"])
        XCTAssertEqual(fitted.wait, .spinning)

        let asked = Placement.plan(topology: flat(2), ranks: 2, threadsPerRank: 3)
        XCTAssertEqual(asked.ranks.map(\.cpus), [[0, 1, 0], [1, 0, 1]])
        XCTAssertTrue(asked.oversubscribed)
        XCTAssertEqual(asked.wait, .sleeping)
        XCTAssertEqual(asked.notes, ["2 ranks of 3 threads share 2 CPUs"])

        let unchanged = Placement.plan(topology: flat(8), ranks: 2, threadsPerRank: 4, fit: true)
        XCTAssertEqual(unchanged.threadsPerRank, 4)
        XCTAssertEqual(unchanged.notes, [])
    }

    func testQuota() {
        // Three CPUs' worth of time on eight CPUs.
        let topology = flat(8, quota: 2.5)
        let natural = Placement.plan(topology: topology, ranks: 2, threadsPerRank: nil)
        XCTAssertEqual(natural.threadsPerRank, 1)
        XCTAssertFalse(natural.oversubscribed)
        let asked = Placement.plan(topology: topology, ranks: 2, threadsPerRank: 4)
        XCTAssertEqual(asked.ranks.map(\.cpus), [[0, 1, 2, 3], [4, 5, 6, 7]], "every worker has a CPU")
        XCTAssertTrue(asked.oversubscribed, "but not all of its time")
        XCTAssertEqual(asked.budget, 3)
        let fitted = Placement.plan(topology: topology, ranks: 1, threadsPerRank: 4, fit: true)
        XCTAssertEqual(fitted.threadsPerRank, 3)
        XCTAssertEqual(fitted.notes, ["4 threads per rank asked, 3 fit on 8 CPUs with a quota of 2.5 with 1 ranks"])
    }

    func testMoreRanksThanCPUs() {
        let placement = Placement.plan(topology: flat(2), ranks: 5, threadsPerRank: nil, fit: true)
        XCTAssertEqual(placement.ranks.map(\.cpus), [[0], [1], [0], [1], [0]])
        XCTAssertTrue(placement.oversubscribed)
    }

    func testMemorylessNodeTakesTheNearest() throws {
        var topology = flatNodes(cores: 2)
        topology.nodes[0].memoryTotal = 0
        topology.nodes.append(
            .init(id: 2, memoryTotal: 1, memoryFree: 1, cpus: [], distances: [0: 12, 1: 20, 2: 10]))
        topology.nodes[0].distances[2] = 12
        topology.allowedNodes = [0, 1, 2]
        let placement = Placement.plan(topology: topology, ranks: 2, threadsPerRank: nil)
        XCTAssertEqual(placement.ranks.map(\.node), [2, 1])
        XCTAssertEqual(placement.notes, ["rank 0: node 0 has no memory to use, taking node 2's"])
        topology.allowedNodes = [1]
        XCTAssertEqual(
            Placement.plan(topology: topology, ranks: 2, threadsPerRank: nil).ranks.map(\.node), [1, 1])
    }

    func testDegenerateWishes() {
        XCTAssertEqual(Placement.plan(topology: flat(2), ranks: 0, threadsPerRank: 0).ranks.map(\.cpus), [[0]])
        XCTAssertEqual(Placement.plan(topology: flat(2), ranks: -3, threadsPerRank: -1).ranks.count, 1)
        XCTAssertEqual(
            Placement.plan(topology: Topology(cpus: [], nodes: []), ranks: 2, threadsPerRank: nil),
            Placement(
                ranks: [.init(cpus: [0], node: nil), .init(cpus: [0], node: nil)], oversubscribed: true, budget: 1,
                notes: ["2 ranks of 1 threads share 0 CPUs"]))
    }

    /// Whatever the machine and the wish: every rank has its threads, all on allowed CPUs, no CPU twice while they
    /// suffice, and no sibling in use while a whole core is idle.
    func testRulesOnRandomMachines() {
        var generator = SeededGenerator(state: 7)
        for round in 0..<2000 {
            let topology = randomMachine(&generator)
            let ranks = Int.random(in: 1...6, using: &generator)
            let threads = Int.random(in: 1...6, using: &generator)
            let placement = Placement.plan(topology: topology, ranks: ranks, threadsPerRank: threads)
            let used = placement.ranks.flatMap(\.cpus)
            XCTAssertEqual(placement.ranks.map(\.cpus.count), Array(repeating: threads, count: ranks), "\(round)")
            XCTAssertTrue(Set(used).isSubset(of: topology.allowed), "\(round)")
            let fits = ranks * threads <= topology.allowed.count
            XCTAssertEqual(placement.oversubscribed, !fits, "\(round)")
            XCTAssertEqual(Set(used).count, min(ranks * threads, topology.allowed.count), "\(round)")
            if ranks * threads <= topology.allowedCores {
                let cores = topology.cpus.filter { used.contains($0.id) }.map { $0.siblings.first }
                XCTAssertEqual(Set(cores).count, used.count, "\(round): two workers on a core")
            }
        }
    }

    private func randomMachine(_ generator: inout SeededGenerator) -> Topology {
        let nodes = Int.random(in: 1...3, using: &generator)
        let cores = Int.random(in: 1...5, using: &generator)
        let smt = Int.random(in: 1...2, using: &generator)
        let groups = Int.random(in: 1...2, using: &generator)
        var cpus: [Topology.CPU] = []
        for id in 0..<nodes * cores * smt {
            let core = id % (nodes * cores)
            let node = core / cores
            cpus.append(
                .init(
                    id: id, node: node, package: node, core: core % cores,
                    siblings: (0..<smt).map { core + $0 * nodes * cores },
                    cacheGroup: node * cores + core % cores * groups / cores * cores / groups))
        }
        var allowed = cpus.map(\.id).filter { _ in Int.random(in: 0..<5, using: &generator) > 0 }
        if allowed.isEmpty { allowed = [0] }
        return Topology(
            cpus: cpus,
            nodes: (0..<nodes).map { node in
                .init(
                    id: node, memoryTotal: 1, memoryFree: 1, cpus: cpus.filter { $0.node == node }.map(\.id),
                    distances: [node: 10])
            },
            allowed: allowed)
    }
}
