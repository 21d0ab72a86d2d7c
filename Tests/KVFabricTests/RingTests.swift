import Foundation
import KVFabric
import Synchronization
import XCTest

final class RingTests: XCTestCase {
    private struct Ends {
        let ring: Ring
        let producer: RingProducer
        let consumer: RingConsumer
        let memory: SharedMemory
    }

    private func make(
        capacity: Int, position: UInt64 = 0, wait: WaitStrategy = .sleeping, silence: UInt64? = nil
    ) throws -> Ends {
        let memory = try SharedMemory.anonymous(label: "ring-test", count: Ring.bytes(capacity: capacity))
        let ring = try Ring(makingIn: memory, capacity: capacity, position: position)
        return Ends(
            ring: ring, producer: try RingProducer(ring, wait: wait, silence: silence),
            consumer: try RingConsumer(ring, wait: wait, silence: silence), memory: memory)
    }

    // MARK: Against a plain queue

    /// Random reserves, commits, peeks and releases, and the same on an array.
    func testAgainstAPlainQueue() throws {
        for (seed, capacity) in [1, 2, 4, 8, 64, 1024].enumerated() {
            for start in [0, UInt64.max, UInt64.max - 5, UInt64.max - 1023] {
                var generator = SeededGenerator(state: UInt64(seed) &+ start)
                let ends = try make(capacity: capacity, position: start)
                var queue: [UInt8] = []
                for step in 0..<3000 {
                    let wish = Int.random(in: 0...capacity + 1, using: &generator)
                    if Bool.random(using: &generator) {
                        let space = try ends.producer.reserve(wish)
                        XCTAssertLessThanOrEqual(space.count, min(wish, capacity - queue.count))
                        // One piece may be cut short by the end, but not to nothing.
                        if wish > 0, queue.count < capacity { XCTAssertGreaterThan(space.count, 0) }
                        let count = Int.random(in: 0...space.count, using: &generator)
                        for index in 0..<count { space[index] = UInt8.random(in: 0...255, using: &generator) }
                        queue += space.prefix(count)
                        try ends.producer.commit(count)
                    } else {
                        let bytes = try ends.consumer.peek(wish)
                        XCTAssertEqual(Array(bytes), Array(queue.prefix(bytes.count)), "step \(step)")
                        if wish > 0, !queue.isEmpty { XCTAssertGreaterThan(bytes.count, 0) }
                        let count = Int.random(in: 0...bytes.count, using: &generator)
                        queue.removeFirst(count)
                        try ends.consumer.release(count)
                    }
                }
            }
        }
    }

    /// Whole writes and reads of random sizes, within what fits, from both starts.
    func testWritesAndReadsAgainstAPlainQueue() throws {
        for start in [0, UInt64.max - 30] {
            var generator = SeededGenerator(state: 3)
            let ends = try make(capacity: 32, position: start)
            var queue: [UInt8] = []
            for _ in 0..<5000 {
                let bytes = (0..<Int.random(in: 0...32 - queue.count, using: &generator)).map { _ in
                    UInt8.random(in: 0...255, using: &generator)
                }
                try bytes.withUnsafeBytes { try ends.producer.write($0, deadline: patience, interrupt: nil) }
                queue += bytes
                var got = [UInt8](repeating: 0, count: Int.random(in: 0...queue.count, using: &generator))
                try got.withUnsafeMutableBytes {
                    try ends.consumer.read(into: $0, deadline: patience, interrupt: nil)
                }
                XCTAssertEqual(got, Array(queue.prefix(got.count)))
                queue.removeFirst(got.count)
            }
        }
    }

    // MARK: Two threads

    private func checkThreads(_ ends: Ends, messages: Int, largest: Int) {
        let findings = Findings()
        onThreads(2) { side in
            findings.record(side == 0 ? "producer" : "consumer") {
                if side == 0 {
                    try Messages(count: messages, largest: largest).write(to: ends.producer)
                } else {
                    try Messages(count: messages, largest: largest).read(from: ends.consumer)
                }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    func testTwoThreadsSleeping() throws {
        checkThreads(try make(capacity: 256), messages: Messages.few, largest: 40)
    }

    func testTwoThreadsSpinning() throws {
        checkThreads(try make(capacity: 1 << 14, wait: .spinning), messages: Messages.few, largest: 40)
    }

    func testMessagesLargerThanTheRing() throws {
        checkThreads(try make(capacity: 64), messages: Messages.few / 50, largest: 1000)
    }

    func testTinyCapacities() throws {
        for capacity in [1, 2, 8] { checkThreads(try make(capacity: capacity), messages: 300, largest: 20) }
    }

    func testPositionsRunOverTheEndOf64Bits() throws {
        checkThreads(
            try make(capacity: 128, position: UInt64.max - 5000), messages: Messages.few / 10, largest: 40)
    }

    func testMillionsBetweenThreads() throws {
        checkThreads(try make(capacity: 1 << 16, wait: .spinning), messages: Messages.many, largest: 8)
    }

    /// Numbers written and read in place, for the thread sanitizer: neither side sleeps, so that nothing but the
    /// positions orders the two, and it sees these accesses, while it does not see the standard library's copies.
    func testInPlaceBetweenThreadsThatNeverSleep() throws {
        let ends = try make(capacity: 1 << 12, wait: WaitStrategy(spins: .max))
        let numbers = UInt64(Messages.few)
        let findings = Findings()
        onThreads(2) { side in
            findings.record("side \(side)") {
                for number in 0..<numbers {
                    if side == 0 {
                        try ends.producer.awaitSpace(8, deadline: patience, interrupt: nil)
                        try ends.producer.reserve(8).bindMemory(to: UInt64.self)[0] = number
                        try ends.producer.commit(8)
                    } else {
                        try ends.consumer.awaitBytes(8, deadline: patience, interrupt: nil)
                        let got = try ends.consumer.peek(8).bindMemory(to: UInt64.self)[0]
                        try ends.consumer.release(8)
                        if got != number { findings.add("\(got) instead of \(number)") }
                    }
                }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    // MARK: Ends and errors

    func testClosedProducerLeavesWhatItWrote() throws {
        let ends = try make(capacity: 16)
        try [UInt8]([1, 2, 3]).withUnsafeBytes { try ends.producer.write($0, deadline: patience, interrupt: nil) }
        ends.producer.close()
        var got = [UInt8](repeating: 0, count: 3)
        try got.withUnsafeMutableBytes { try ends.consumer.read(into: $0, deadline: patience, interrupt: nil) }
        XCTAssertEqual(got, [1, 2, 3])
        assertThrows(.peerGone("the producer closed the ring")) {
            try got.withUnsafeMutableBytes { try ends.consumer.read(into: $0, deadline: patience, interrupt: nil) }
        }
    }

    func testClosedConsumerEndsWrites() throws {
        let ends = try make(capacity: 16)
        ends.consumer.close()
        assertThrows(.peerGone("the consumer closed the ring")) {
            try [UInt8]([1]).withUnsafeBytes { try ends.producer.write($0, deadline: patience, interrupt: nil) }
        }
    }

    /// Both sides learn of the other's closing in the middle of a wait.
    func testClosingEndsABlockedWait() throws {
        for blocksProducer in [true, false] {
            let ends = try make(capacity: 16)
            let findings = Findings()
            onThreads(2) { side in
                if side == 0 { return blocksProducer ? ends.consumer.close() : ends.producer.close() }
                findings.record("wait") {
                    var bytes = [UInt8](repeating: 0, count: 100)
                    try bytes.withUnsafeMutableBytes {
                        if blocksProducer {
                            try ends.producer.write(UnsafeRawBufferPointer($0), deadline: patience, interrupt: nil)
                        } else {
                            try ends.consumer.read(into: $0, deadline: patience, interrupt: nil)
                        }
                    }
                }
            }
            let other = blocksProducer ? "consumer" : "producer"
            XCTAssertEqual(findings.all, ["wait: the other side is gone: the \(other) closed the ring"])
        }
    }

    func testSilentPeerIsGone() throws {
        let ends = try make(capacity: 16, silence: 20_000_000)
        XCTAssertThrowsError(try ends.consumer.awaitBytes(1, deadline: patience, interrupt: nil)) { error in
            guard case .peerGone(let reason)? = error as? FabricError else { return XCTFail("\(error)") }
            XCTAssertTrue(reason.hasPrefix("no sign of life from the producer for"), reason)
        }
    }

    /// Without a producer so far there is nobody to be dead: the deadline decides.
    func testAPeerThatHasNotComeIsWaitedFor() throws {
        let memory = try SharedMemory.anonymous(label: "half", count: Ring.bytes(capacity: 16))
        let ring = try Ring(makingIn: memory, capacity: 16)
        let consumer = try RingConsumer(ring, wait: .sleeping, silence: 1)
        assertThrows(.deadline("bytes in a ring")) {
            try consumer.awaitBytes(1, deadline: MonotonicClock.deadline(after: 0.05), interrupt: nil)
        }
    }

    func testDeadlineAndInterruptOfAFullRing() throws {
        let ends = try make(capacity: 4)
        let bytes = [UInt8](repeating: 7, count: 5)
        assertThrows(.deadline("space in a ring")) {
            try bytes.withUnsafeBytes {
                try ends.producer.write($0, deadline: MonotonicClock.deadline(after: 0.01), interrupt: nil)
            }
        }
        let interrupt = Interrupt()
        interrupt.raise()
        assertThrows(.interrupted) {
            try bytes.withUnsafeBytes { try ends.producer.write($0, deadline: patience, interrupt: interrupt) }
        }
        ends.consumer.drop()
        XCTAssertEqual(try ends.producer.reserve(4).count, 4)
        XCTAssertEqual(try ends.consumer.peek(4).count, 0)
    }

    func testMoreThanReservedOrPeekedIsRefused() throws {
        let ends = try make(capacity: 8)
        XCTAssertEqual(try ends.producer.reserve(3).count, 3)
        assertThrows(.invalid(field: "committed bytes", value: "4 of 3 reserved")) { try ends.producer.commit(4) }
        assertThrows(.invalid(field: "committed bytes", value: "-1 of 3 reserved")) { try ends.producer.commit(-1) }
        try ends.producer.commit(3)
        assertThrows(.invalid(field: "committed bytes", value: "1 of 0 reserved")) { try ends.producer.commit(1) }
        XCTAssertEqual(try ends.consumer.peek(9).count, 3)
        assertThrows(.invalid(field: "released bytes", value: "4 of 3 peeked")) { try ends.consumer.release(4) }
        XCTAssertEqual(try ends.producer.reserve(-1).count, 0)
    }

    func testOneProducerAndOneConsumer() throws {
        let ends = try make(capacity: 8)
        for body in [
            { _ = try RingProducer(ends.ring, wait: .sleeping) }, { _ = try RingConsumer(ends.ring, wait: .sleeping) },
        ] {
            XCTAssertThrowsError(try body()) { error in
                guard case .busy? = error as? FabricError else { return XCTFail("\(error)") }
            }
        }
        withExtendedLifetime(ends) {}
    }

    // MARK: The header

    func testAttachSeesTheSameRing() throws {
        let memory = try SharedMemory.anonymous(label: "twice", count: Ring.bytes(capacity: 64))
        let producer = try RingProducer(Ring(makingIn: memory, capacity: 64), wait: .sleeping)
        let again = try SharedMemory.attach(descriptor: memory.descriptor)
        let consumer = try RingConsumer(Ring(attachingTo: again), wait: .sleeping)
        try [UInt8]([4, 5, 6]).withUnsafeBytes { try producer.write($0, deadline: patience, interrupt: nil) }
        XCTAssertEqual(try Array(consumer.peek(10)), [4, 5, 6])
        XCTAssertThrowsError(try Ring(makingIn: memory, capacity: 64), "there is one already")
    }

    func testDamagedHeadersAreRefusedByField() throws {
        let cases: [(String, (UnsafeMutableRawPointer) -> Void)] = [
            ("ring magic", { $0.storeBytes(of: 1, toByteOffset: 0, as: UInt64.self) }),
            ("ring version", { $0.storeBytes(of: 2, toByteOffset: 8, as: UInt32.self) }),
            ("ring header size", { $0.storeBytes(of: 0, toByteOffset: 12, as: UInt32.self) }),
            ("ring capacity", { $0.storeBytes(of: 0, toByteOffset: 16, as: UInt64.self) }),
            ("ring capacity", { $0.storeBytes(of: 48, toByteOffset: 16, as: UInt64.self) }),
            ("ring capacity", { $0.storeBytes(of: 128, toByteOffset: 16, as: UInt64.self) }),
            ("ring capacity", { $0.storeBytes(of: 1 << 63, toByteOffset: 16, as: UInt64.self) }),
            ("ring header", { $0.storeBytes(of: 0, toByteOffset: 32, as: UInt32.self) }),
        ]
        for (field, damage) in cases {
            let memory = try SharedMemory.anonymous(label: "damaged", count: Ring.bytes(capacity: 64))
            _ = try Ring(makingIn: memory, capacity: 64)
            damage(memory.pointer)
            XCTAssertThrowsError(try Ring(attachingTo: memory), field) { error in
                guard case .invalid(field, _)? = error as? FabricError else { return XCTFail("\(field): \(error)") }
            }
        }
        let small = try SharedMemory.anonymous(label: "small", count: 100)
        XCTAssertThrowsError(try Ring(attachingTo: small))
        XCTAssertThrowsError(try Ring(makingIn: small, capacity: 64))
        let memory = try SharedMemory.anonymous(label: "odd", count: 8192)
        for capacity in [0, -8, 3, 8192, Int.max, Int.min] {
            XCTAssertThrowsError(try Ring(makingIn: memory, capacity: capacity), "\(capacity)")
        }
    }

    /// Positions that another process has made nonsense of are an error, not an access out of bounds.
    func testDamagedPositionsAreRefused() throws {
        let ends = try make(capacity: 64)
        ends.memory.pointer.storeBytes(of: 1_000_000, toByteOffset: 128, as: UInt64.self)
        XCTAssertThrowsError(try ends.consumer.peek(1)) { error in
            guard case .protocolViolation? = error as? FabricError else { return XCTFail("\(error)") }
        }
        XCTAssertThrowsError(try ends.producer.reserve(1))
    }

    func testRoundedCapacity() {
        for (asked, given) in [(1, 1), (2, 2), (3, 4), (64, 64), (65, 128), (0, 1), (1 << 40 + 1, 1 << 41)] {
            XCTAssertEqual(Ring.roundedCapacity(asked), given)
        }
    }
}
