/// A link with the bandwidth, latency and noise of a network: the message itself goes through another link, and the moment at which the
/// network would have delivered it goes beside. The receiver waits for that moment; the sender goes on, as with a network card.
///
/// Links that leave the same rank share its ``Egress``: p - 1 messages of an all-gather take it p - 1 times, a message along a chain once.
package final class ThrottledLink: Link {
    private let base: any Link
    private let egress: Egress
    private let strategy: WaitStrategy
    private let producer: RingProducer
    private let consumer: RingConsumer

    /// - Parameters:
    ///   - segments: how many the sender may be ahead of the receiver (rounded up).
    package convenience init(
        _ base: any Link, egress: Egress, segments: Int = 1024, wait strategy: WaitStrategy = .spinning
    ) throws(FabricError) {
        let bytes = try Self.capacity(segments: segments)
        try self.init(base, egress: egress, by: Ring.anonymous(label: "kv-deliveries", capacity: bytes), wait: strategy)
    }

    /// - Parameters:
    ///   - ring: for the moments of delivery.
    ///   - isMovable: as the base's.
    package init(
        _ base: any Link, egress: Egress, by ring: Ring, isMovable: Bool = false, wait strategy: WaitStrategy
    ) throws(FabricError) {
        producer = try RingProducer(ring, wait: strategy, isMovable: isMovable)
        consumer = try RingConsumer(ring, wait: strategy, isMovable: isMovable)
        self.base = base
        self.egress = egress
        self.strategy = strategy
    }

    /// Bytes of a ring in which the sender may be so many segments ahead.
    package static func capacity(segments: Int) throws(FabricError) -> Int {
        let (bytes, overflow) = max(1, segments).multipliedReportingOverflow(by: MemoryLayout<UInt64>.size)
        guard !overflow else { throw .invalid(field: "segments of a link", value: "\(segments)") }
        return bytes
    }

    /// The sender also begins the egress's sequence again, which is of its process: for all links that share it.
    package func take(_ end: LinkEnd) {
        switch end {
        case .sender:
            producer.take()
            egress.reset()
        case .receiver: consumer.take()
        }
        base.take(end)
    }

    package var bytesSent: UInt64 { base.bytesSent }

    package func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError) {
        var time = egress.delivery(of: key.count + value.count, at: MonotonicClock.now)
        // Ahead of the message: the receiver may have to read that while it is being written.
        try withUnsafeBytes(of: &time) { (bytes) throws(FabricError) in
            try producer.write(bytes, deadline: deadline, interrupt: interrupt)
        }
        try base.send(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
    }

    package func receive(
        _ segment: Segment, key: UnsafeMutableRawBufferPointer, value: UnsafeMutableRawBufferPointer,
        deadline: UInt64, interrupt: Interrupt
    ) throws(FabricError) {
        var time: UInt64 = 0
        try withUnsafeMutableBytes(of: &time) { (bytes) throws(FabricError) in
            try consumer.read(into: bytes, deadline: deadline, interrupt: interrupt)
        }
        try base.receive(segment, key: key, value: value, deadline: deadline, interrupt: interrupt)
        try strategy.wait(for: time, deadline: deadline, interrupt: interrupt, what: "delivery over a throttled link")
    }

    /// Also begins the egress's sequence again, for all links that share it.
    package func reset() throws(FabricError) {
        consumer.drop()
        egress.reset()
        try base.reset()
    }
}
