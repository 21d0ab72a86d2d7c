import KVFabric
import XCTest

/// What `--numa` and `--cpus` make of machines.
final class PlacementWishTests: XCTestCase {
    /// Two nodes, eight cores with two threads each: siblings i and i + 8.
    private func dualSocket() throws -> Topology { try Self.dualSocket.get() }

    private static let dualSocket = Result {
        let machine = try FakeMachine.dualSocket()
        return Topology.read(root: machine.root, affinity: Array(0..<16))
    }

    /// `nodes` nodes of `cores` cores.
    private func flat(nodes: Int, cores: Int) -> Topology {
        Topology(
            cpus: (0..<nodes * cores).map {
                .init(id: $0, node: $0 / cores, package: $0 / cores, core: $0, siblings: [$0], cacheGroup: $0 / cores * cores)
            },
            nodes: (0..<nodes).map {
                .init(id: $0, memoryTotal: 1, memoryFree: 1, cpus: Array($0 * cores..<($0 + 1) * cores), distances: [$0: 10])
            })
    }

    private func cpus(_ text: String) throws -> PlacementWish.CPUs { try PlacementWish.CPUs(parsing: text) }

    func testParsesCPUs() throws {
        XCTAssertEqual(try cpus("0-3"), .pool(CPUList([0, 1, 2, 3])))
        XCTAssertEqual(try cpus("0-1|2,3"), .lists([CPUList([0, 1]), CPUList([2, 3])]))
        XCTAssertEqual(try cpus("0|"), .lists([CPUList([0]), CPUList([Int]())]))
        for text in ["x", "0|1-", "3-1", "0;1", "-1"] {
            XCTAssertThrowsError(try cpus(text), text) { error in
                XCTAssertTrue("\(error)".contains("--cpus"), "\(error)")
            }
        }
    }

    func testPoolIsSharedOutLikeAMachine() throws {
        let wish = PlacementWish(ranks: 2, cpus: try cpus("0-1,4-5,8-9,12-13"))
        let placement = try Placement(wish, on: dualSocket())
        // Siblings only where they are asked for.
        XCTAssertEqual(placement.ranks.map(\.cpus), [[0, 1], [4, 5]])
        var more = wish
        more.threadsPerRank = 4
        XCTAssertEqual(try Placement(more, on: dualSocket()).ranks.map(\.cpus), [[0, 1, 8, 9], [4, 5, 12, 13]])
    }

    func testLists() throws {
        var wish = PlacementWish(ranks: 2, cpus: try cpus("4-5,12|0-3"))
        var placement = try Placement(wish, on: dualSocket())
        XCTAssertEqual(placement.ranks.map(\.cpus), [[4, 5, 12], [0, 1, 2, 3]])
        XCTAssertEqual(placement.ranks.map(\.node), [1, 0])
        XCTAssertFalse(placement.oversubscribed)
        // Whole cores first, and only as many as asked.
        wish.threadsPerRank = 2
        XCTAssertEqual(try Placement(wish, on: dualSocket()).ranks.map(\.cpus), [[4, 5], [0, 1]])
        wish.threadsPerRank = 4
        placement = try Placement(wish, on: dualSocket())
        XCTAssertEqual(placement.notes, ["rank 0: 4 threads asked, 3 fit on CPUs 4-5,12"])
        wish.fits = false
        placement = try Placement(wish, on: dualSocket())
        XCTAssertEqual(placement.ranks[0].cpus.count, 4)
        XCTAssertTrue(placement.oversubscribed)
        // Across nodes, and shared.
        placement = try Placement(PlacementWish(ranks: 2, cpus: try cpus("3-4|4")), on: dualSocket())
        XCTAssertEqual(placement.ranks[0].workerNodes, [0, 1])
        XCTAssertTrue(placement.oversubscribed)
        XCTAssertTrue(placement.notes.contains("CPU 4 is in the lists of ranks 0 and 1, which share it"), "\(placement.notes)")
        XCTAssertEqual(placement.nodes, [0, 1])
    }

    func testErrorsNameWhatIsWrong() throws {
        var topology = try dualSocket()
        topology.allowed = Array(0..<12)
        func message(_ text: String, ranks: Int = 2, mode: PlacementWish.Mode = .auto) throws -> String {
            do {
                _ = try Placement(PlacementWish(ranks: ranks, mode: mode, cpus: try cpus(text)), on: topology)
                return "no error"
            } catch let error as PlacementError { return error.description }
        }
        XCTAssertEqual(try message("0|16"), "--cpus, list 2: CPUs 16 are offline or not there; online are 0-15")
        XCTAssertEqual(
            try message("0|12-13"),
            "--cpus, list 2: CPUs 12-13 are not allowed to this process (affinity, cpuset); allowed are 0-11")
        XCTAssertEqual(try message("12"), "--cpus: CPUs 12 are not allowed to this process (affinity, cpuset); allowed are 0-11")
        XCTAssertEqual(try message("0|"), "--cpus, list 2 names no CPU")
        XCTAssertEqual(try message(""), "--cpus names no CPU")
        XCTAssertEqual(
            try message("0|1|2"), "--cpus has 3 lists for 2 ranks; give one a rank, or one for all without |")
        XCTAssertEqual(try message("0-1", mode: .off), "--cpus 0-1 and --numa off contradict each other")
        XCTAssertEqual(try message("0|1", mode: .isolate), "--cpus 0|1 and --numa isolate contradict each other")
    }

    func testDistributeLeavesNoNodeIdle() throws {
        let topology = flat(nodes: 4, cores: 4)
        func cpus(_ ranks: Int, _ threads: Int, _ mode: PlacementWish.Mode) throws -> [[Int]] {
            try Placement(PlacementWish(ranks: ranks, threadsPerRank: threads, mode: mode), on: topology).ranks.map(\.cpus)
        }
        XCTAssertEqual(try cpus(1, 4, .auto), [[0, 1, 2, 3]])
        XCTAssertEqual(try cpus(1, 4, .distribute), [[0, 4, 8, 12]])
        XCTAssertEqual(try cpus(2, 4, .distribute), [[0, 4, 1, 5], [8, 12, 9, 13]])
        XCTAssertEqual(try cpus(4, 1, .distribute), [[0], [4], [8], [12]])
        XCTAssertEqual(try cpus(4, 1, .auto), [[0], [4], [8], [12]])
        // A small node gets work before a large one gets more.
        var uneven = flat(nodes: 2, cores: 4)
        uneven.allowed = [0, 4, 5, 6, 7]
        func nodes(_ mode: PlacementWish.Mode) throws -> [Int?] {
            try Placement(PlacementWish(ranks: 2, threadsPerRank: 1, mode: mode), on: uneven).ranks.map(\.node)
        }
        XCTAssertEqual(try nodes(.auto), [1, 1])
        XCTAssertEqual(try nodes(.distribute), [0, 1])
        let workers = try Placement(PlacementWish(ranks: 1, threadsPerRank: 4, mode: .distribute), on: topology)
        XCTAssertEqual(workers.ranks[0].workerNodes, [0, 1, 2, 3])
        XCTAssertEqual(workers.nodes, [0, 1, 2, 3])
    }

    func testIsolateStaysOnTheNodeOfTheStart() throws {
        let topology = flat(nodes: 4, cores: 2)
        for start in 0..<8 {
            let placement = try Placement(PlacementWish(ranks: 2, mode: .isolate, start: start), on: topology)
            let node = start / 2
            XCTAssertEqual(placement.ranks.map(\.cpus), [[2 * node], [2 * node + 1]])
            XCTAssertEqual(placement.nodes, [node])
        }
        // Where that is not known, the first allowed node.
        var few = topology
        few.allowed = [5, 6]
        XCTAssertEqual(try Placement(PlacementWish(ranks: 1, mode: .isolate), on: few).ranks.map(\.cpus), [[5]])
    }

    func testNumactlAndOffHaveNoPolicy() throws {
        for mode in [PlacementWish.Mode.numactl, .off] {
            let placement = try Placement(PlacementWish(ranks: 3, threadsPerRank: 3, mode: mode), on: flat(nodes: 2, cores: 5))
            XCTAssertFalse(placement.isPinned)
            XCTAssertEqual(placement.ranks.map(\.node), [nil, nil, nil])
            XCTAssertEqual(placement.nodes, [])
            XCTAssertEqual(placement.ranks.map(\.cpus.count), [3, 3, 3])
            XCTAssertEqual(placement.notes, [])
        }
        XCTAssertTrue(try Placement(PlacementWish(ranks: 1), on: flat(nodes: 2, cores: 5)).isPinned)
    }

    /// Of two nodes that would be equally full an idle one is taken.
    func testIdleNodesFirst() {
        var topology = flat(nodes: 3, cores: 2)
        topology.allowed = [0, 1, 2, 3, 4]
        let placement = Placement.plan(topology: topology, ranks: 3, threadsPerRank: 1)
        XCTAssertEqual(placement.ranks.map(\.cpus), [[0], [2], [4]])
    }
}

/// What the kernel says of this process's own pages.
final class PagesTests: XCTestCase {
    func testResidenceCountsWhatIsTouched() throws {
        let memory = try SharedMemory.anonymous(label: "pages", count: 64 * 4096)
        let pages = Pages(memory.pointer, bytes: memory.count)
        for page in 0..<10 { memory.pointer.storeBytes(of: 1, toByteOffset: page * 4096, as: UInt8.self) }
        let residence: Residence
        do { residence = try pages.residence() } catch { throw XCTSkip("\(error)") }
        XCTAssertEqual(residence.present, 10)
        XCTAssertEqual(residence.absent, 54)
        XCTAssertEqual(residence.unknown, 0)
        let node = try XCTUnwrap(residence.byNode.max { $0.value < $1.value }?.key)
        XCTAssertTrue(Topology.read().nodes.map(\.id).contains(node))
        XCTAssertEqual((residence + residence).present, 20)
        XCTAssertEqual(Residence().share(of: 3), 1)
    }

    func testPoliciesOfNodesThatAreNotThereAreRefused() throws {
        let memory = try SharedMemory.anonymous(label: "pages", count: 4 * 4096)
        let pages = Pages(memory.pointer + 100, bytes: 4096)
        let missing = 1000
        guard !Topology.read().nodes.contains(where: { $0.id == missing }) else { throw XCTSkip("there is a node \(missing)") }
        XCTAssertThrowsError(try pages.prefer(missing)) { XCTAssertTrue("\($0)".contains("node 1000"), "\($0)") }
        XCTAssertThrowsError(try pages.interleave([missing])) { XCTAssertTrue("\($0)".contains("1000"), "\($0)") }
        XCTAssertThrowsError(try pages.prefer(-1))
        XCTAssertThrowsError(try pages.prefer(5000))
    }

    /// Has all workers note where they are.
    private func watch(_ group: WorkerGroup) throws -> WorkerWatch {
        let memory = try SharedMemory.anonymous(label: "notes", count: group.count * WorkerWatch.noteBytes)
        try group.run(deadline: MonotonicClock.deadline(after: 10)) { worker in
            WorkerWatch.note(to: memory.pointer + worker * WorkerWatch.noteBytes)
        }
        return withExtendedLifetime(memory) { WorkerWatch((0..<group.count).map { memory.pointer + $0 * WorkerWatch.noteBytes }) }
    }

    func testWorkersAreWhereTheyWereAskedToBe() throws {
        let cpu = try XCTUnwrap(Topology.read().allowed.last)
        let pinned = WorkerGroup(label: "pinned", cpus: [cpu, cpu], node: nil, wait: .sleeping)
        let watch = try self.watch(pinned)
        watch.look()
        XCTAssertEqual(watch.affinities, [[cpu], [cpu]])
        XCTAssertEqual(watch.seen, [[cpu], [cpu]])
        let free = WorkerGroup(label: "free", cpus: [cpu], node: nil, isPinned: false, wait: .sleeping)
        let other = try self.watch(free)
        XCTAssertEqual(other.affinities, [Topology.read().allowed])
    }
}
