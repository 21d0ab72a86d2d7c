/// Copies segments through a ring in shared memory: the receiver's copy is in its own node's memory, where its
/// attention reads it. Costs two copies and a trip between the nodes; between ranks of one node ``SharedCacheLink``
/// costs none.
package final class RingLink: Link {
    private let ring: Ring
    private let producer: RingProducer
    private let consumer: RingConsumer

    package var capacity: Int { ring.capacity }
    /// Where its ring lies.
    package var pages: Pages { ring.pages }

    /// - Parameters:
    ///   - capacity: bytes, rounded up to a power of two. Larger segments go through in pieces, while both sides work.
    ///   - node: where the ring's memory lies, best the receiver's.
    package convenience init(capacity: Int, node: Int? = nil, wait strategy: WaitStrategy = .spinning) throws(FabricError) {
        try self.init(Ring.anonymous(label: "kv-link", capacity: capacity, node: node), wait: strategy)
    }

    /// A link by way of a given ring.
    /// - Parameter isMovable: the processes that have the ring say in each run who is which end (see ``take(_:)``).
    package init(_ ring: Ring, isMovable: Bool = false, wait strategy: WaitStrategy) throws(FabricError) {
        self.ring = ring
        producer = try RingProducer(ring, wait: strategy, isMovable: isMovable)
        consumer = try RingConsumer(ring, wait: strategy, isMovable: isMovable)
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
        let header = SegmentHeader(segment, keyBytes: key.count, valueBytes: value.count)
        try header.write(to: producer, deadline: deadline, interrupt: interrupt)
        try producer.write(key, deadline: deadline, interrupt: interrupt)
        try producer.write(value, deadline: deadline, interrupt: interrupt)
        ring.addPayload(key.count + value.count)
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
