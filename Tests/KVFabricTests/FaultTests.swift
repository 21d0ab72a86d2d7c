import Foundation
import KVFabric
import Synchronization
import XCTest

/// Faults injected while segments, barriers and jobs are under way: every wait ends with the error that says why, and what is shared
/// works again after a reset. Meant for the thread sanitizer as well.
final class FaultTests: XCTestCase {
    private static let strategies: [WaitStrategy] = [.sleeping, .spinning]
    /// Bytes of a segment's keys (or values); many times a ring's.
    private static let large = 64 * 1024

    private static func pattern(_ count: Int, _ seed: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ seed) }
    }

    private static func send(
        _ segment: Segment, _ bytes: [UInt8], over link: any Link, deadline: UInt64 = patience, interrupt: Interrupt
    ) throws {
        try bytes.withUnsafeBytes { bytes in
            try link.send(segment, key: bytes, value: bytes, deadline: deadline, interrupt: interrupt)
        }
    }

    private static func receive(
        _ segment: Segment, _ count: Int, over link: any Link, deadline: UInt64 = patience, interrupt: Interrupt
    ) throws -> [UInt8] {
        var key = [UInt8](repeating: 0, count: count)
        var value = key
        try key.withUnsafeMutableBytes { key in
            try value.withUnsafeMutableBytes { value in
                try link.receive(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
            }
        }
        return key == value ? key : []
    }

    /// A segment goes through as it should.
    private func checkUsable(_ link: any Link, seed: Int) {
        let segment = Segment(layer: 1, rows: 0..<8)
        let bytes = Self.pattern(Self.large, seed)
        let findings = Findings()
        onThreads(2) { side in
            findings.record("side \(side)") {
                if side == 0 { return try Self.send(segment, bytes, over: link, interrupt: Interrupt()) }
                let got = try Self.receive(segment, bytes.count, over: link, interrupt: Interrupt())
                if got != bytes { findings.add("other bytes") }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    /// The reader closes with half of a message read: the writer's write ends, and says that the reader has gone.
    func testReaderClosesInTheMiddle() throws {
        for strategy in Self.strategies {
            let ring = try Ring.anonymous(label: "fault", capacity: 256)
            let producer = try RingProducer(ring, wait: strategy)
            let consumer = try RingConsumer(ring, wait: strategy)
            let findings = Findings()
            onThreads(2) { side in
                findings.record(side == 0 ? "write" : "read") {
                    if side == 0 {
                        let bytes = Self.pattern(Self.large, 1)
                        return try bytes.withUnsafeBytes { try producer.write($0, deadline: patience, interrupt: nil) }
                    }
                    var half = [UInt8](repeating: 0, count: Self.large / 2)
                    try half.withUnsafeMutableBytes { try consumer.read(into: $0, deadline: patience, interrupt: nil) }
                    if half != Array(Self.pattern(Self.large, 1).prefix(half.count)) { findings.add("other bytes") }
                    consumer.close()
                }
            }
            XCTAssertEqual(findings.all, ["write: the other side is gone: the consumer closed the ring"])
        }
    }

    /// The writer closes with half of a message written: the reader gets that half, then learns that the writer has gone.
    func testWriterClosesInTheMiddle() throws {
        for strategy in Self.strategies {
            let ring = try Ring.anonymous(label: "fault", capacity: 256)
            let producer = try RingProducer(ring, wait: strategy)
            let consumer = try RingConsumer(ring, wait: strategy)
            let half = Self.large / 2
            let findings = Findings()
            onThreads(2) { side in
                findings.record(side == 0 ? "write" : "read") {
                    if side == 0 {
                        let bytes = Self.pattern(half, 2)
                        try bytes.withUnsafeBytes { try producer.write($0, deadline: patience, interrupt: nil) }
                        return producer.close()
                    }
                    var all = [UInt8](repeating: 0, count: Self.large)
                    defer { if Array(all.prefix(half)) != Self.pattern(half, 2) { findings.add("other bytes") } }
                    try all.withUnsafeMutableBytes { try consumer.read(into: $0, deadline: patience, interrupt: nil) }
                }
            }
            XCTAssertEqual(findings.all, ["read: the other side is gone: the producer closed the ring"])
        }
    }

    /// Both sides give up in the middle of a segment by their own deadlines; after a reset the next one is whole.
    func testDeadlinesInTheMiddleOfASegment() throws {
        for strategy in Self.strategies {
            let link = try RingLink(capacity: 256, wait: strategy)
            let segment = Segment(layer: 0, rows: 0..<8)
            for round in 0..<3 {
                let interrupt = Interrupt()
                // Nobody reads: the ring is full before the segment's end.
                assertThrows(.deadline("space in a ring")) {
                    try Self.send(
                        segment, Self.pattern(Self.large, round), over: link, deadline: MonotonicClock.deadline(after: 0.01),
                        interrupt: interrupt)
                }
                // The header and some bytes are there, the rest never comes.
                assertThrows(.deadline("bytes in a ring")) {
                    _ = try Self.receive(
                        segment, Self.large, over: link, deadline: MonotonicClock.deadline(after: 0.01), interrupt: interrupt)
                }
                try link.reset()
                checkUsable(link, seed: round)
            }
        }
    }

    /// An interrupt raised at any moment of a stream of segments ends both sides, over every kind of link, and these are then as new.
    func testInterruptsInTheMiddleOfSegments() throws {
        for strategy in Self.strategies {
            let egress = Egress(bandwidth: 2e9, latency: 1e-6, seed: 3)
            let links: [any Link] = [
                try RingLink(capacity: 256, wait: strategy), try RingLink(capacity: 1 << 20, wait: strategy),
                try ThrottledLink(RingLink(capacity: 4096, wait: strategy), egress: egress, wait: strategy),
            ]
            for (index, link) in links.enumerated() {
                for round in 0..<4 {
                    let interrupt = Interrupt()
                    let findings = Findings()
                    let passed = Atomic<Int>(0)
                    onThreads(3) { side in
                        let bytes = Self.pattern(Self.large, round)
                        if side == 2 {
                            // In the middle of things: some segments have come, in other rounds hardly one.
                            while passed.load(ordering: .relaxed) < round { usleep(50) }
                            return interrupt.raise()
                        }
                        findings.record("side \(side)") {
                            for layer in 0... {
                                let segment = Segment(layer: layer, rows: 0..<8)
                                if side == 0 {
                                    try Self.send(segment, bytes, over: link, interrupt: interrupt)
                                } else {
                                    let got = try Self.receive(segment, bytes.count, over: link, interrupt: interrupt)
                                    if got != bytes { findings.add("other bytes") }
                                    passed.wrappingAdd(1, ordering: .relaxed)
                                }
                            }
                        }
                    }
                    XCTAssertEqual(findings.all.sorted(), ["side 0: interrupted", "side 1: interrupted"], "link \(index)")
                    try link.reset()
                    checkUsable(link, seed: round)
                }
            }
        }
    }

    /// One of the members passes its deadline, raises the interrupt as the barrier asks for, and the others learn of it.
    func testBarrierAbandonedByOneMember() {
        for strategy in Self.strategies {
            let barrier = Barrier(count: 4, wait: strategy)
            let interrupt = Interrupt()
            for round in 0..<5 {
                let findings = Findings()
                // The fourth never comes.
                onThreads(3) { index in
                    let deadline = index == 0 ? MonotonicClock.deadline(after: 0.005 * Double(round)) : patience
                    do throws(FabricError) {
                        try barrier.wait(interrupt, deadline: deadline)
                        findings.add("\(index) got through")
                    } catch {
                        if index == 0 { interrupt.raise() }
                        // Also the first may hear of an interrupt, never another of a deadline.
                        if error != (index == 0 ? .deadline("barrier") : .interrupted) { findings.add("\(index): \(error)") }
                    }
                }
                XCTAssertEqual(findings.all, [])
                interrupt.reset()
                barrier.reset()
                onThreads(4) { index in
                    findings.record("worker \(index)") {
                        for _ in 0..<50 { try barrier.wait(interrupt, deadline: patience) }
                    }
                }
                XCTAssertEqual(findings.all, [])
            }
        }
    }

    /// A worker stays away from its group's barrier: the join's deadline passes first, the others' later, and the group then goes on.
    func testGroupJoinedAfterItsDeadline() throws {
        for strategy in Self.strategies {
            let group = WorkerGroup(label: "late", cpus: [0, 0, 0], node: nil, wait: strategy)
            let barrier = group.barrier
            for _ in 0..<5 {
                let interrupt = Interrupt()
                let late = Atomic<Int>(0)
                let joined = Atomic<Bool>(false)
                let deadline = MonotonicClock.deadline(after: 0.05)
                group.start { worker in
                    if worker == 2 {
                        while !joined.load(ordering: .acquiring) { usleep(500) }
                        return
                    }
                    do throws(FabricError) {
                        try barrier.wait(interrupt, deadline: deadline)
                    } catch {
                        if error == .deadline("barrier") { late.wrappingAdd(1, ordering: .relaxed) }
                    }
                }
                assertThrows(.deadline("join of a worker group")) {
                    try group.join(deadline: MonotonicClock.deadline(after: 0.001))
                }
                joined.store(true, ordering: .releasing)
                try group.join(deadline: patience)
                XCTAssertEqual(late.load(ordering: .relaxed), 2)
                let met = Atomic<Int>(0)
                try group.run(deadline: patience) { _ in
                    if (try? barrier.wait(interrupt, deadline: patience)) != nil { met.wrappingAdd(1, ordering: .relaxed) }
                }
                XCTAssertEqual(met.load(ordering: .relaxed), 3)
            }
        }
    }
}
