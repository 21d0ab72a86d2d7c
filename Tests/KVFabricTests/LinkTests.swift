import KVFabric
import Synchronization
import XCTest

final class LinkTests: XCTestCase {
    /// Bytes that depend on the segment and on what they are, so that a mix-up shows.
    private static func payload(_ segment: Segment, bytesPerRow: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(state: seed &+ UInt64(segment.layer) << 32 &+ UInt64(segment.rows.lowerBound))
        return (0..<segment.rows.count * bytesPerRow).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    private static func send(
        _ segment: Segment, over link: any Link, interrupt: Interrupt, bytesPerRow: Int = 64
    ) throws {
        let key = payload(segment, bytesPerRow: bytesPerRow, seed: 1)
        let value = payload(segment, bytesPerRow: bytesPerRow, seed: 2)
        try key.withUnsafeBytes { key in
            try value.withUnsafeBytes { value in
                try link.send(segment, key: key, value: value, deadline: patience, interrupt: interrupt)
            }
        }
    }

    private static func receive(
        _ segment: Segment, over link: any Link, interrupt: Interrupt, deadline: UInt64 = patience,
        bytesPerRow: Int = 64
    ) throws -> (key: [UInt8], value: [UInt8]) {
        var key = [UInt8](repeating: 0, count: segment.rows.count * bytesPerRow)
        var value = key
        try key.withUnsafeMutableBytes { key in
            try value.withUnsafeMutableBytes { value in
                try link.receive(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
            }
        }
        return (key, value)
    }

    /// What every link has to do. `copies`: the receiver's buffers get the bytes.
    private func checkLink(_ link: any Link, copies: Bool) throws {
        let segments = (0..<40).map { Segment(layer: $0 / 4, rows: $0 % 4 * 7..<($0 % 4 + 1) * 7) }
        let interrupt = Interrupt()
        let findings = Findings()
        let sentBefore = link.bytesSent
        onThreads(2) { side in
            for segment in segments {
                findings.record("\(segment) on side \(side)") {
                    if side == 0 { return try Self.send(segment, over: link, interrupt: interrupt) }
                    let got = try Self.receive(segment, over: link, interrupt: interrupt)
                    guard copies else { return }
                    let key = Self.payload(segment, bytesPerRow: 64, seed: 1)
                    let value = Self.payload(segment, bytesPerRow: 64, seed: 2)
                    if got.key != key { findings.add("\(segment): key") }
                    if got.value != value { findings.add("\(segment): value") }
                }
            }
        }
        XCTAssertEqual(findings.all, [])
        XCTAssertEqual(link.bytesSent - sentBefore, UInt64(40 * 7 * 64 * 2))

        try checkWrongSegment(link, interrupt)
        try checkBlockedReceive(link, interrupt)
        try checkReset(link, interrupt)
    }

    /// Another segment than the one due is an error that names both.
    private func checkWrongSegment(_ link: any Link, _ interrupt: Interrupt) throws {
        let sent = Segment(layer: 3, rows: 10..<11)
        try Self.send(sent, over: link, interrupt: interrupt)
        for wrong in [Segment(layer: 4, rows: 10..<11), Segment(layer: 3, rows: 9..<10)] {
            XCTAssertThrowsError(try Self.receive(wrong, over: link, interrupt: interrupt)) { error in
                guard case .protocolViolation(let expected, let got)? = error as? FabricError else {
                    return XCTFail("\(error)")
                }
                XCTAssertTrue(expected.contains("\(wrong)"), expected)
                XCTAssertTrue(got.contains("\(sent)"), got)
            }
            try link.reset()
            try Self.send(sent, over: link, interrupt: interrupt)
        }
        try link.reset()
    }

    private func checkBlockedReceive(_ link: any Link, _ interrupt: Interrupt) throws {
        let segment = Segment(layer: 0, rows: 0..<1)
        assertThrows(.deadline("bytes in a ring")) {
            _ = try Self.receive(
                segment, over: link, interrupt: interrupt, deadline: MonotonicClock.deadline(after: 0.01))
        }
        let findings = Findings()
        onThreads(2) { side in
            if side == 0 { return interrupt.raise() }
            findings.record("receive") { _ = try Self.receive(segment, over: link, interrupt: interrupt) }
        }
        XCTAssertEqual(findings.all, ["receive: interrupted"])
        interrupt.reset()
    }

    /// What an interrupted run left is gone after a reset.
    private func checkReset(_ link: any Link, _ interrupt: Interrupt) throws {
        try Self.send(Segment(layer: 7, rows: 0..<1), over: link, interrupt: interrupt)
        try link.reset()
        let next = Segment(layer: 0, rows: 0..<1)
        try Self.send(next, over: link, interrupt: interrupt)
        _ = try Self.receive(next, over: link, interrupt: interrupt)
    }

    func testRingLink() throws { try checkLink(RingLink(capacity: 1 << 16), copies: true) }

    /// 896 bytes a segment through 256 bytes of ring.
    func testRingLinkWithPayloadsLargerThanTheRing() throws {
        let link = try RingLink(capacity: 200, wait: .sleeping)
        XCTAssertEqual(link.capacity, 256)
        try checkLink(link, copies: true)
    }

    func testSharedCacheLink() throws { try checkLink(SharedCacheLink(), copies: false) }

    func testSharedCacheLinkWithASenderThatHasToWait() throws {
        try checkLink(SharedCacheLink(segments: 1, wait: .sleeping), copies: false)
    }

    func testThrottledLinks() throws {
        let egress = Egress(bandwidth: 1e9, latency: 2e-6, jitter: 5e-6, burstShare: 0.2, burstDuration: 20e-6, seed: 1)
        try checkLink(ThrottledLink(RingLink(capacity: 200, wait: .sleeping), egress: egress, wait: .sleeping), copies: true)
        try checkLink(ThrottledLink(SharedCacheLink(), egress: egress, segments: 1), copies: false)
    }

    /// A send that finds no space ends by interrupt, and the link works after a reset.
    func testInterruptEndsABlockedSend() throws {
        let link = try RingLink(capacity: 256, wait: .sleeping)
        let interrupt = Interrupt()
        let findings = Findings()
        onThreads(2) { side in
            if side == 0 { return interrupt.raise() }
            findings.record("send") {
                try Self.send(Segment(layer: 0, rows: 0..<100), over: link, interrupt: interrupt)
            }
        }
        XCTAssertEqual(findings.all, ["send: interrupted"])
        interrupt.reset()
        try link.reset()
        let next = Segment(layer: 5, rows: 4..<5)
        try Self.send(next, over: link, interrupt: interrupt)
        XCTAssertEqual(
            try Self.receive(next, over: link, interrupt: interrupt).key, Self.payload(next, bytesPerRow: 64, seed: 1))
    }

    /// The receiver reads from the shared cache what the sender wrote there before it sent; nothing else orders the
    /// two.
    func testSharedCacheLinkCarriesTheSendersWrites() throws {
        let link = try SharedCacheLink(segments: 4, wait: .sleeping)
        let cache = UnsafeMutablePointer<UInt64>.allocate(capacity: 1000)
        defer { cache.deallocate() }
        nonisolated(unsafe) let shared = cache
        let interrupt = Interrupt()
        let findings = Findings()
        onThreads(2) { side in
            for row in 0..<1000 {
                findings.record("row \(row)") {
                    let segment = Segment(layer: 0, rows: row..<row + 1)
                    if side == 0 {
                        shared[row] = UInt64(row) &* 0x9e37_79b9_7f4a_7c15
                        let bytes = UnsafeRawBufferPointer(start: shared + row, count: 8)
                        try link.send(segment, key: bytes, value: bytes, deadline: patience, interrupt: interrupt)
                    } else {
                        let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
                        try link.receive(segment, key: none, value: none, deadline: patience, interrupt: interrupt)
                        if shared[row] != UInt64(row) &* 0x9e37_79b9_7f4a_7c15 { findings.add("row \(row) is old") }
                    }
                }
            }
        }
        XCTAssertEqual(findings.all, [])
        XCTAssertEqual(link.bytesSent, 16_000)
    }

    func testCapacitiesThatCannotBe() {
        for capacity in [0, -1, Int.max, Int.min] {
            XCTAssertThrowsError(try RingLink(capacity: capacity))
        }
        XCTAssertThrowsError(try SharedCacheLink(segments: Int.max))
    }
}
