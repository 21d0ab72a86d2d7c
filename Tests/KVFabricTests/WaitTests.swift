import KVFabric
import Synchronization
import XCTest

final class WaitTests: XCTestCase {
    /// Two threads hand a number to and fro, and sleep in one piece in between: a single lost wake-up is a deadline
    /// missed.
    func testNoWakeUpIsLost() throws {
        for (strategy, rounds) in [(WaitStrategy.sleeping, 20_000), (WaitStrategy(spins: 30), 20_000)] {
            let lines = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64)
            lines.initializeMemory(as: UInt8.self, repeating: 0, count: 64)
            defer { lines.deallocate() }
            let signals = [Signal(at: lines, isShared: false), Signal(at: lines + 8, isShared: true)]
            nonisolated(unsafe) let turn = lines.word64(at: 16)
            let findings = Findings()
            onThreads(2) { side in
                findings.record("side \(side)") {
                    for round in 0..<UInt64(rounds) {
                        let mine = 2 * round + UInt64(side)
                        try strategy.wait(
                            on: signals[side],
                            until: { turn.pointee.load(ordering: .sequentiallyConsistent) == mine },
                            deadline: patience, interrupt: nil, what: "turn")
                        turn.pointee.store(mine + 1, ordering: .sequentiallyConsistent)
                        signals[1 - side].notify()
                    }
                }
            }
            XCTAssertEqual(findings.all, [])
        }
    }

    private func wait(
        until ready: () -> Bool = { false }, deadline: UInt64, interrupt: Interrupt? = nil,
        strategy: WaitStrategy = .spinning, trouble: () -> FabricError? = { nil }
    ) throws {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 8, alignment: 8)
        memory.storeBytes(of: 0, as: UInt64.self)
        defer { memory.deallocate() }
        try strategy.wait(
            on: Signal(at: memory, isShared: false), until: ready, deadline: deadline, interrupt: interrupt,
            what: "a test", trouble: trouble)
        XCTAssertEqual(memory.load(fromByteOffset: 4, as: UInt32.self), 0, "nobody sleeps")
    }

    func testReadyNeedsNoTime() throws { try wait(until: { true }, deadline: 0) }

    func testDeadlineInThePast() {
        assertThrows(.deadline("a test")) { try wait(deadline: 0) }
        assertThrows(.deadline("a test")) { try wait(deadline: MonotonicClock.now, strategy: .sleeping) }
    }

    func testRaisedInterruptComesBeforeReadiness() {
        let interrupt = Interrupt()
        interrupt.raise()
        assertThrows(.interrupted) { try wait(until: { true }, deadline: patience, interrupt: interrupt) }
    }

    func testInterruptWhileSpinning() {
        let interrupt = Interrupt()
        var looks = 0
        assertThrows(.interrupted) {
            try wait(
                until: {
                    looks += 1
                    if looks == 10 { interrupt.raise() }
                    return false
                }, deadline: patience, interrupt: interrupt, strategy: .init(spins: .max))
        }
    }

    /// Trouble ends a wait, but not one whose condition came true before it.
    func testTrouble() throws {
        assertThrows(.peerGone("test")) { try wait(deadline: patience, trouble: { .peerGone("test") }) }
        var ready = false
        try wait(
            until: { ready }, deadline: patience,
            trouble: {
                ready = true
                return .peerGone("test")
            })
    }

    func testClock() {
        XCTAssertEqual(MonotonicClock.deadline(after: .infinity), MonotonicClock.never)
        XCTAssertEqual(MonotonicClock.deadline(after: 1e30), MonotonicClock.never)
        XCTAssertLessThan(MonotonicClock.deadline(after: .nan), patience, "not a number is no time")
        let now = MonotonicClock.now
        XCTAssertGreaterThanOrEqual(MonotonicClock.deadline(after: -5), now)
        XCTAssertGreaterThanOrEqual(MonotonicClock.deadline(after: 1), now + 1_000_000_000)
        XCTAssertEqual(WaitStrategy(spins: -1), .sleeping)
    }

    func testErrorsNameWhatHappened() {
        let texts: [(FabricError, String)] = [
            (.deadline("barrier"), "barrier: the deadline passed"), (.interrupted, "interrupted"),
            (.peerGone("it ended"), "the other side is gone: it ended"),
            (.protocolViolation(expected: "a", got: "b"), "expected a, got b"),
            (.system(call: "open x", errno: 2), "open x: No such file or directory (errno 2)"),
            (.invalid(field: "f", value: "3"), "f is 3, which cannot be worked with"), (.busy("x"), "x is busy"),
        ]
        for (error, text) in texts { XCTAssertEqual("\(error)", text) }
    }
}
