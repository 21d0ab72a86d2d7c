import Synchronization

/// Copies segments through a ring in shared memory: the receiver's copy is in its own node's memory, where its
/// attention reads it. Costs two copies and a trip between the nodes; between ranks of one node ``SharedCacheLink``
/// costs none.
package final class RingLink: Link {
    private let producer: RingProducer
    private let consumer: RingConsumer
    private let sent = Atomic<UInt64>(0)

    package let capacity: Int
    /// Where its ring lies.
    package let pages: Pages

    /// - Parameters:
    ///   - capacity: bytes, rounded up to a power of two. Larger segments go through in pieces, while both sides work.
    ///   - node: where the ring's memory lies, best the receiver's.
    package init(capacity: Int, node: Int? = nil, wait strategy: WaitStrategy = .spinning) throws(FabricError) {
        let ring = try Ring.anonymous(label: "kv-link", capacity: capacity, node: node)
        self.capacity = ring.capacity
        pages = ring.pages
        producer = try RingProducer(ring, wait: strategy)
        consumer = try RingConsumer(ring, wait: strategy)
    }

    package var bytesSent: UInt64 { sent.load(ordering: .relaxed) }

    package func send(
        _ segment: Segment, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer, deadline: UInt64,
        interrupt: Interrupt
    ) throws(FabricError) {
        let header = SegmentHeader(segment, keyBytes: key.count, valueBytes: value.count)
        try header.write(to: producer, deadline: deadline, interrupt: interrupt)
        try producer.write(key, deadline: deadline, interrupt: interrupt)
        try producer.write(value, deadline: deadline, interrupt: interrupt)
        sent.wrappingAdd(UInt64(key.count + value.count), ordering: .relaxed)
    }

    package func receive(
        _ segment: Segment, key: UnsafeMutableRawBufferPointer, value: UnsafeMutableRawBufferPointer,
        deadline: UInt64, interrupt: Interrupt
    ) throws(FabricError) {
        let header = SegmentHeader(segment, keyBytes: key.count, valueBytes: value.count)
        try header.expect(from: consumer, deadline: deadline, interrupt: interrupt)
        try consumer.read(into: key, deadline: deadline, interrupt: interrupt)
        try consumer.read(into: value, deadline: deadline, interrupt: interrupt)
    }

    package func reset() throws(FabricError) { consumer.drop() }
}
