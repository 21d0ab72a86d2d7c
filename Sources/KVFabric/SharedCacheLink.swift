import Synchronization

/// Hands segments over within one cache that both ranks see: only their descriptors pass, nothing is copied.
///
/// The receiver may read the rows from the shared cache after `receive` has returned: the ring's release and acquire
/// carry everything that the sending thread had seen before.
package final class SharedCacheLink: Link {
    private let producer: RingProducer
    private let consumer: RingConsumer
    private let sent = Atomic<UInt64>(0)
    /// Where its ring lies.
    package let pages: Pages

    /// - Parameters:
    ///   - segments: how many the sender may be ahead of the receiver (rounded up).
    ///   - node: where the ring's memory lies, best the receiver's.
    package init(
        segments: Int = 1024, node: Int? = nil, wait strategy: WaitStrategy = .spinning
    ) throws(FabricError) {
        let (bytes, overflow) = max(1, segments).multipliedReportingOverflow(by: SegmentHeader.bytes)
        guard !overflow else { throw .invalid(field: "segments of a link", value: "\(segments)") }
        let ring = try Ring.anonymous(label: "kv-descriptors", capacity: bytes, node: node)
        pages = ring.pages
        producer = try RingProducer(ring, wait: strategy)
        consumer = try RingConsumer(ring, wait: strategy)
    }

    package var bytesSent: UInt64 { sent.load(ordering: .relaxed) }

    package func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError) {
        try SegmentHeader(segment, keyBytes: 0, valueBytes: 0).write(
            to: producer, deadline: deadline, interrupt: interrupt)
        sent.wrappingAdd(UInt64(key.count + value.count), ordering: .relaxed)
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
