import CKVLinux
import KVFabric
import Synchronization
import XCTest

final class WorkerGroupTests: XCTestCase {
    /// CPUs that this process may use.
    private var cpus: [Int] {
        var ids = [Int32](repeating: 0, count: 1024)
        return ids.prefix(max(0, Int(ckv_affinity_get(&ids, 1024)))).map(Int.init)
    }

    private func spread(_ count: Int) -> [Int] {
        let cpus = cpus
        return (0..<count).map { cpus[$0 % cpus.count] }
    }

    func testEveryWorkerRunsOnItsCPU() throws {
        let cpus = cpus
        let group = WorkerGroup(label: "pinned", cpus: cpus, node: nil, wait: .sleeping)
        XCTAssertEqual(group.notes, [])
        let seen = UnsafeMutablePointer<Int>.allocate(capacity: cpus.count)
        defer { seen.deallocate() }
        nonisolated(unsafe) let cells = seen
        for _ in 0..<20 {
            seen.update(repeating: -1, count: cpus.count)
            try group.run(deadline: patience) { worker in cells[worker] = Int(ckv_current_cpu()) }
            XCTAssertEqual((0..<cpus.count).map { seen[$0] }, cpus)
        }
    }

    func testACPUThatIsNotThereIsANoteAndTheWorkerRuns() throws {
        let group = WorkerGroup(label: "lost", cpus: [8000], node: nil, wait: .sleeping)
        XCTAssertEqual(group.notes.count, 1)
        XCTAssertTrue(group.notes.first?.contains("CPU 8000") == true, "\(group.notes)")
        let ran = Atomic<Int>(0)
        try group.run(deadline: patience) { _ in ran.wrappingAdd(1, ordering: .relaxed) }
        XCTAssertEqual(ran.load(ordering: .relaxed), 1)
    }

    func testMemoryComesFromTheNode() throws {
        let group = WorkerGroup(label: "node", cpus: spread(1), node: 0, wait: .sleeping)
        let node = Atomic<Int>(-2)
        try group.run(deadline: patience) { _ in
            let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 22, alignment: 4096)
            memory.initializeMemory(as: UInt8.self, repeating: 1, count: 1 << 22)
            node.store(Int(ckv_memory_node_of(memory + (1 << 21))), ordering: .relaxed)
            memory.deallocate()
        }
        let found = node.load(ordering: .relaxed)
        if found == -1 { throw XCTSkip("the kernel does not tell pages' nodes") }
        XCTAssertEqual(found, 0)
    }

    /// All have to be there at once for the barrier to let them through.
    func testSixtyFourWorkersRunAtOnce() throws {
        let group = WorkerGroup(label: "many", cpus: spread(64), node: nil, wait: .sleeping)
        XCTAssertEqual(group.notes, [])
        try meet(group)
    }

    /// More than the 255 threads of one Dispatch pool.
    func testThreeHundredWorkersRunAtOnce() throws {
        let groups = (0..<3).map { WorkerGroup(label: "crowd\($0)", cpus: spread(100), node: nil, wait: .sleeping) }
        XCTAssertEqual(groups.flatMap(\.notes), [])
        for group in groups { try meet(group) }
        // Workers from a second pool are no better or worse off.
        let uneven = Atomic<Int>(0)
        let nice = getpriority(0, 0)
        for group in groups {
            try group.run(deadline: patience) { _ in
                if getpriority(0, 0) != nice { uneven.wrappingAdd(1, ordering: .relaxed) }
            }
        }
        XCTAssertEqual(uneven.load(ordering: .relaxed), 0)
    }

    private func meet(_ group: WorkerGroup) throws {
        let interrupt = Interrupt()
        let met = Atomic<Int>(0)
        let barrier = group.barrier
        try group.run(deadline: patience) { _ in
            if (try? barrier.wait(interrupt, deadline: patience)) != nil { met.wrappingAdd(1, ordering: .relaxed) }
        }
        XCTAssertEqual(met.load(ordering: .relaxed), group.count)
    }

    func testJobsSeeWhatWasWrittenBeforeAndOwnerSeesWhatTheyWrote() throws {
        let group = WorkerGroup(label: "order", cpus: spread(3), node: nil, wait: .sleeping)
        let cells = UnsafeMutablePointer<Int>.allocate(capacity: 4)
        cells.initialize(repeating: 0, count: 4)
        defer { cells.deallocate() }
        nonisolated(unsafe) let shared = cells
        let job: @Sendable (Int) -> Void = { worker in shared[worker] = shared[3] + worker }
        for round in 0..<500 {
            cells[3] = round
            try group.run(deadline: patience, job)
            XCTAssertEqual([cells[0], cells[1], cells[2]], [round, round + 1, round + 2])
        }
    }

    func testReusableAfterAnInterruptedJob() throws {
        let group = WorkerGroup(label: "again", cpus: spread(4), node: nil, wait: .sleeping)
        let interrupt = Interrupt()
        let barrier = group.barrier
        let interrupted = Atomic<Int>(0)
        for _ in 0..<5 {
            interrupted.store(0, ordering: .relaxed)
            group.start { worker in
                if worker == 2 { return interrupt.raise() }
                do throws(FabricError) {
                    try barrier.wait(interrupt, deadline: patience)
                } catch {
                    if error == .interrupted { interrupted.wrappingAdd(1, ordering: .relaxed) }
                }
            }
            try group.join(deadline: patience)
            XCTAssertEqual(interrupted.load(ordering: .relaxed), 3)
            interrupt.reset()
            try meet(group)
        }
    }

    func testJoinDeadlineAndRefusedSecondJob() throws {
        let group = WorkerGroup(label: "slow", cpus: spread(2), node: nil, wait: .sleeping)
        let go = Atomic<Bool>(false)
        group.start { _ in
            while !go.load(ordering: .acquiring) { usleep(1000) }
        }
        assertThrows(.deadline("join of a worker group")) {
            try group.join(deadline: MonotonicClock.deadline(after: 0.01))
        }
        let second = Atomic<Bool>(false)
        group.start { _ in second.store(true, ordering: .relaxed) }
        XCTAssertThrowsError(try group.join(deadline: patience)) { error in
            guard case .busy? = error as? FabricError else { return XCTFail("\(error)") }
        }
        go.store(true, ordering: .releasing)
        try group.join(deadline: patience)
        XCTAssertFalse(second.load(ordering: .relaxed))
        try group.run(deadline: patience) { _ in second.store(true, ordering: .relaxed) }
        XCTAssertTrue(second.load(ordering: .relaxed))
    }

    func testNoJobsAfterShutdown() throws {
        let group = WorkerGroup(label: "ended", cpus: spread(2), node: nil, wait: .sleeping)
        group.shutdown()
        group.shutdown()
        group.start { _ in XCTFail("ran") }
        XCTAssertThrowsError(try group.join(deadline: patience))
    }

    /// A group's closure and what it captures are let go of when the job is joined.
    func testHoldsNoJobAfterJoin() throws {
        final class Token: Sendable {}
        let group = WorkerGroup(label: "token", cpus: spread(2), node: nil, wait: .sleeping)
        var token: Token? = Token()
        weak let watched = token
        do {
            let held = token
            try group.run(deadline: patience) { _ in _ = held }
        }
        token = nil
        XCTAssertNil(watched)
    }

    /// Eight ranks of three workers, whatever the machine: jobs with a thousand barriers each, all ranks at once.
    func testEightGroupsOfThreeWithAThousandBarriers() throws {
        let groups = (0..<8).map { WorkerGroup(label: "rank\($0)", cpus: spread(3), node: nil, wait: .sleeping) }
        let interrupt = Interrupt()
        let passed = Atomic<Int>(0)
        for group in groups {
            let barrier = group.barrier
            group.start { _ in
                for _ in 0..<1000 {
                    guard (try? barrier.wait(interrupt, deadline: patience)) != nil else { return }
                }
                passed.wrappingAdd(1, ordering: .relaxed)
            }
        }
        for group in groups { try group.join(deadline: patience) }
        XCTAssertEqual(passed.load(ordering: .relaxed), 24)
    }
}
