/// Hands segments over within one cache that both ranks see: only their descriptors pass, nothing is copied.
///
/// The receiver may read the rows from the shared cache after `receive` has returned: the ring's release and acquire
/// carry everything that the sending thread had seen before.
package final class SharedCacheLink: Link {
    private let ring: Ring
    private let producer: RingProducer
    private let consumer: RingConsumer
    /// Where its ring lies.
    package var pages: Pages { ring.pages }

    /// - Parameters:
    ///   - segments: how many the sender may be ahead of the receiver (rounded up).
    ///   - node: where the ring's memory lies, best the receiver's.
    package convenience init(
        segments: Int = 1024, node: Int? = nil, wait strategy: WaitStrategy = .spinning
    ) throws(FabricError) {
        let bytes = try Self.capacity(segments: segments)
        try self.init(Ring.anonymous(label: "kv-descriptors", capacity: bytes, node: node), wait: strategy)
    }

    /// A link by way of a given ring.
    /// - Parameter isMovable: the processes that have the ring say in each run who is which end (see ``take(_:)``).
    package init(_ ring: Ring, isMovable: Bool = false, wait strategy: WaitStrategy) throws(FabricError) {
        self.ring = ring
        producer = try RingProducer(ring, wait: strategy, isMovable: isMovable)
        consumer = try RingConsumer(ring, wait: strategy, isMovable: isMovable)
    }

    /// Bytes of a ring in which the sender may be so many segments ahead.
    package static func capacity(segments: Int) throws(FabricError) -> Int {
        let (bytes, overflow) = max(1, segments).multipliedReportingOverflow(by: SegmentHeader.bytes)
        guard !overflow else { throw .invalid(field: "segments of a link", value: "\(segments)") }
        return bytes
    }

    package var bytesSent: UInt64 { ring.payload }

    package func take(_ end: LinkEnd) {
        switch end {
        case .sender: producer.take()
        case .receiver: consumer.take()
        }
    }

    package func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError) {
        try SegmentHeader(segment, keyBytes: 0, valueBytes: 0).write(
            to: producer, deadline: deadline, interrupt: interrupt)
        ring.addPayload(key.count + value.count)
    }

    /// Does not touch `key` and `value`, which may be empty.
    package func receive(
        _ segment: Segment, key: UnsafeMutableRawBufferPointer, value: UnsafeMutableRawBufferPointer,
        deadline: UInt64, interrupt: Interrupt
    ) throws(FabricError) {
        try SegmentHeader(segment, keyBytes: 0, valueBytes: 0).expect(
            from: consumer, deadline: deadline, interrupt: interrupt)
    }

    package func reset() throws(FabricError) { consumer.drop() }
}
