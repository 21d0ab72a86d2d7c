import KVFabric
import XCTest

final class BarrierTests: XCTestCase {
    /// Every worker writes its own cell in round r, and after the barrier reads everyone else's: a barrier that lets
    /// one through early, or that does not carry the writes, gives a wrong sum.
    private func checkRounds(workers: Int, rounds: Int, strategy: WaitStrategy) {
        let barrier = Barrier(count: workers, wait: strategy)
        let cells = UnsafeMutablePointer<Int>.allocate(capacity: workers)
        cells.initialize(repeating: 0, count: workers)
        defer { cells.deallocate() }
        let interrupt = Interrupt()
        let findings = Findings()
        nonisolated(unsafe) let shared = cells
        onThreads(workers) { index in
            findings.record("worker \(index)") {
                for round in 1...rounds {
                    shared[index] = round
                    try barrier.wait(interrupt, deadline: patience)
                    var sum = 0
                    for other in 0..<workers { sum += shared[other] }
                    if sum != round * workers { findings.add("round \(round): sum \(sum)") }
                    try barrier.wait(interrupt, deadline: patience)
                }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    func testCarriesWritesBetweenManyMoreWorkersThanCores() {
        checkRounds(workers: 16, rounds: 300, strategy: .sleeping)
    }

    func testSpinningWorkers() { checkRounds(workers: 2, rounds: 5000, strategy: .spinning) }

    func testSpinningIsCorrectEvenWithTooFewCores() { checkRounds(workers: 6, rounds: 100, strategy: .init(spins: 64)) }

    func testOneWorkerPassesAlone() throws {
        let barrier = Barrier(count: 1, wait: .sleeping)
        for _ in 0..<10 { try barrier.wait(Interrupt(), deadline: 0) }
    }

    func testInterruptEndsAllWaitsAndResetMakesItUsable() {
        let barrier = Barrier(count: 5, wait: .sleeping)
        let interrupt = Interrupt()
        let findings = Findings()
        // Four of five come, the fifth raises the interrupt instead.
        onThreads(5) { index in
            if index == 4 { return interrupt.raise() }
            do throws(FabricError) {
                try barrier.wait(interrupt, deadline: patience)
                findings.add("\(index) got through")
            } catch {
                if error != .interrupted { findings.add("\(error)") }
            }
        }
        XCTAssertEqual(findings.all, [])
        interrupt.reset()
        barrier.reset()
        onThreads(5) { index in
            findings.record("worker \(index)") { try barrier.wait(interrupt, deadline: patience) }
        }
        XCTAssertEqual(findings.all, [])
    }

    func testDeadline() {
        let barrier = Barrier(count: 2, wait: .spinning)
        let soon = MonotonicClock.deadline(after: 0.02)
        assertThrows(.deadline("barrier")) { try barrier.wait(Interrupt(), deadline: soon) }
        XCTAssertGreaterThanOrEqual(MonotonicClock.now, soon)
    }

    func testInterruptCountsItsGenerations() {
        let interrupt = Interrupt()
        XCTAssertFalse(interrupt.isRaised)
        interrupt.raise()
        interrupt.raise()
        XCTAssertTrue(interrupt.isRaised)
        XCTAssertEqual(interrupt.generation, 1)
        interrupt.reset()
        XCTAssertFalse(interrupt.isRaised)
        interrupt.raise()
        XCTAssertEqual(interrupt.generation, 2)
    }

    /// A flag that goes up and down again while a waiter sleeps still ends the wait.
    func testInterruptRaisedAndResetAtOnceIsNoticed() {
        let barrier = Barrier(count: 2, wait: .sleeping)
        let interrupt = Interrupt()
        let findings = Findings()
        let waiting = XCTestExpectation()
        onThreads(2) { index in
            if index == 0 {
                waiting.fulfill()
                do throws(FabricError) {
                    try barrier.wait(interrupt, deadline: patience)
                } catch {
                    findings.add("\(error)")
                }
            } else {
                _ = XCTWaiter.wait(for: [waiting], timeout: 30)
                // The waiter may not sleep yet: again and again, until it has noticed.
                while findings.all.isEmpty {
                    interrupt.raise()
                    interrupt.reset()
                }
            }
        }
        XCTAssertEqual(findings.all, ["interrupted"])
    }
}
