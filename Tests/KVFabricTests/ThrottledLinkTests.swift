import Dispatch
import KVFabric
import XCTest

final class ThrottledLinkTests: XCTestCase {
    /// Moments that an egress gives to messages of a kilobyte sent every 10 µs.
    private func moments(_ egress: Egress, _ count: Int = 200) -> [UInt64] {
        (0..<count).map { egress.delivery(of: 1000, at: 5_000 + UInt64($0) * 10_000) }
    }

    /// By hand: 1000 bytes at 1 GB/s take 1 µs, then 5 µs of latency.
    func testBandwidthAndLatency() {
        let egress = Egress(bandwidth: 1e9, latency: 5e-6)
        XCTAssertEqual(egress.delivery(of: 1000, at: 7_000), 13_000)
        XCTAssertEqual(egress.delivery(of: 1000, at: 7_000), 14_000, "the egress is shared by all that leave it")
        XCTAssertEqual(egress.delivery(of: 2000, at: 7_500), 16_000)
        XCTAssertEqual(egress.delivery(of: 1000, at: 100_000), 106_000, "free again")
        let open = Egress()
        XCTAssertEqual(open.delivery(of: 1 << 40, at: 42), 42)
    }

    func testNoiseIsTheSeeds() {
        func egress(_ seed: UInt64) -> Egress {
            Egress(bandwidth: 1e9, latency: 5e-6, jitter: 3e-6, burstShare: 0.3, burstDuration: 50e-6, seed: seed)
        }
        let first = egress(1)
        let moments = moments(first)
        XCTAssertEqual(moments, self.moments(egress(1)))
        XCTAssertNotEqual(moments, self.moments(egress(2)))
        first.reset()
        XCTAssertEqual(moments, self.moments(first), "a reset begins the sequence again")
        for (index, moment) in moments.enumerated() {
            XCTAssertGreaterThanOrEqual(moment, 5_000 + UInt64(index) * 10_000 + 6_000)
        }
    }

    /// An egress that is always busy gives a share of its time away: 70 % are left for messages.
    func testBurstsTakeTheirShare() {
        let egress = Egress(bandwidth: 1e9, burstShare: 0.3, burstDuration: 50e-6, seed: 3)
        var last: UInt64 = 0
        for _ in 0..<1000 { last = egress.delivery(of: 100_000, at: 0) }
        // 100 ms of messages.
        XCTAssertEqual(100e6 / Double(last), 0.7, accuracy: 0.03)
    }

    func testJitterIsUniform() {
        let egress = Egress(jitter: 1e-3, seed: 4)
        let jitters = (0..<2000).map { _ in Double(egress.delivery(of: 1, at: 1_000)) - 1_000 }
        XCTAssertTrue(jitters.allSatisfy { 0...1e6 ~= $0 })
        XCTAssertEqual(jitters.reduce(0, +) / 2000, 0.5e6, accuracy: 0.03e6)
    }

    /// Never before the bytes could have come, in order, with the base link's bytes.
    func testDeliveryIsNotBeforeItsTime() throws {
        for base in [try RingLink(capacity: 1 << 16), try SharedCacheLink()] as [any Link] {
            let link = try ThrottledLink(base, egress: Egress(bandwidth: 1e9, latency: 2e-3), wait: .sleeping)
            let copies = base is RingLink
            let findings = Findings()
            let interrupt = Interrupt()
            nonisolated(unsafe) var begun: [UInt64] = []
            let sent = DispatchSemaphore(value: 0)
            onThreads(2) { side in
                findings.record("side \(side)") {
                    for layer in 0..<4 {
                        let segment = Segment(layer: layer, rows: 0..<1)
                        var bytes = [UInt8](repeating: UInt8(layer + 1), count: 500_000)
                        if side == 0 {
                            begun.append(MonotonicClock.now)
                            sent.signal()
                            try bytes.withUnsafeBytes {
                                try link.send(segment, key: $0, value: $0, deadline: patience, interrupt: interrupt)
                            }
                            continue
                        }
                        var value = bytes
                        bytes[0] = 0
                        try bytes.withUnsafeMutableBytes { key in
                            try value.withUnsafeMutableBytes {
                                try link.receive(segment, key: key, value: $0, deadline: patience, interrupt: interrupt)
                            }
                        }
                        let now = MonotonicClock.now
                        sent.wait()
                        // A megabyte at 1 GB/s takes a millisecond.
                        if now < begun[0] + UInt64(layer + 1) * 1_000_000 + 2_000_000 { findings.add("layer \(layer) came early") }
                        let due = [UInt8](repeating: UInt8(layer + 1), count: 500_000)
                        if copies, bytes != due { findings.add("layer \(layer) differs") }
                    }
                }
            }
            XCTAssertEqual(findings.all, [])
            XCTAssertEqual(link.bytesSent, 4_000_000)
        }
    }

    private static func send(_ link: any Link, _ segment: Segment, _ interrupt: Interrupt) throws {
        let bytes = [UInt8](repeating: 7, count: 1000)
        try bytes.withUnsafeBytes { try link.send(segment, key: $0, value: $0, deadline: patience, interrupt: interrupt) }
    }

    private static func receive(_ link: any Link, _ segment: Segment, _ interrupt: Interrupt, deadline: UInt64) throws {
        let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        try link.receive(segment, key: none, value: none, deadline: deadline, interrupt: interrupt)
    }

    /// A message that is on its way for an hour: the wait ends by deadline or interrupt, and a reset leaves nothing.
    func testWaitsEnd() throws {
        for wait in [WaitStrategy.sleeping, .spinning] {
            let link = try ThrottledLink(SharedCacheLink(wait: wait), egress: Egress(latency: 3600), wait: wait)
            let interrupt = Interrupt()
            let segment = Segment(layer: 2, rows: 3..<5)
            try Self.send(link, segment, interrupt)
            assertThrows(.deadline("delivery over a throttled link")) {
                try Self.receive(link, segment, interrupt, deadline: MonotonicClock.deadline(after: 0.01))
            }
            try link.reset()
            assertThrows(.deadline("bytes in a ring")) {
                try Self.receive(link, segment, interrupt, deadline: MonotonicClock.deadline(after: 0.01))
            }
            try Self.send(link, segment, interrupt)
            let findings = Findings()
            onThreads(2) { side in
                if side == 0 { return interrupt.raise() }
                findings.record("receive") { try Self.receive(link, segment, interrupt, deadline: patience) }
            }
            XCTAssertEqual(findings.all, ["receive: interrupted"])
        }
    }
}
