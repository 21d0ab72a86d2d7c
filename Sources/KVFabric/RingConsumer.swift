import Synchronization

/// The reading side of a ring. One thread at a time; handing it from thread to thread takes an order from outside
/// (a barrier, a join). Nothing here allocates, save errors.
package final class RingConsumer: @unchecked Sendable {
    // Sendable by hand for `peeked`: one thread at a time, as said above; all that is shared is atomic.
    private let ring: Ring
    private let header: RingHeader
    private let strategy: WaitStrategy
    private let silence: UInt64?
    private let isMovable: Bool
    /// What `release` may take; owned by the reading thread.
    private var peeked = 0

    /// - Parameters:
    ///   - silence: nanoseconds without a heartbeat after which a wait holds the producer for dead; nil: only its
    ///     closing or its process's end counts.
    ///   - isMovable: several processes may be this side in turns, each from its ``take()`` on; nobody closes it then.
    /// - Throws: `.busy` if the ring has a consumer.
    package init(
        _ ring: Ring, wait strategy: WaitStrategy, silence: UInt64? = nil, isMovable: Bool = false
    ) throws(FabricError) {
        self.ring = ring
        self.strategy = strategy
        self.silence = silence
        header = ring.header
        self.isMovable = isMovable
        if !isMovable { try header.consumer.claim() }
    }

    deinit {
        if !isMovable { close() }
    }

    /// Makes this process the consumer; between runs.
    package func take() { header.consumer.take() }

    /// Up to `count` bytes in one piece: less if the ring's end comes first or fewer are there, empty if there are
    /// none. They stay as they are until released.
    /// - Throws: `.protocolViolation` if the positions in shared memory make no sense.
    package func peek(_ count: Int) throws(FabricError) -> UnsafeRawBufferPointer {
        let head = header.head.pointee.load(ordering: .relaxed)
        let seen = header.seenTail.pointee.load(ordering: .relaxed)
        var available = try ring.distance(from: head, to: seen)
        if available < count {
            // Acquire; pairs with the producer's release of `tail`: the bytes below it are there.
            let tail = header.tail.pointee.load(ordering: .acquiring)
            header.seenTail.pointee.store(tail, ordering: .relaxed)
            available = try ring.distance(from: head, to: tail)
        }
        let offset = Int(truncatingIfNeeded: head) & (ring.capacity - 1)
        peeked = max(0, min(count, available, ring.capacity - offset))
        return UnsafeRawBufferPointer(start: header.data + offset, count: peeked)
    }

    /// Gives the first `count` bytes of what was peeked last back to the producer.
    /// - Throws: `.invalid` if that is more than was peeked.
    package func release(_ count: Int) throws(FabricError) {
        guard 0...peeked ~= count else {
            throw .invalid(field: "released bytes", value: "\(count) of \(peeked) peeked")
        }
        peeked = 0
        let head = header.head.pointee.load(ordering: .relaxed)
        // Release; pairs with the producer's acquire of `head`: these bytes have been read.
        header.head.pointee.store(head &+ UInt64(count), ordering: .sequentiallyConsistent)
        header.spaceSignal.notify()
    }

    /// Fills the buffer, in pieces as bytes come: they may be more than the ring holds.
    ///
    /// - Throws: `.deadline`, `.interrupted` or `.peerGone`, with some bytes read already.
    package func read(
        into bytes: UnsafeMutableRawBufferPointer, deadline: UInt64, interrupt: Interrupt?
    ) throws(FabricError) {
        header.consumer.beat()
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = try peek(rest.count)
            if piece.isEmpty {
                try awaitBytes(min(rest.count, max(1, ring.capacity / 4)), deadline: deadline, interrupt: interrupt)
                continue
            }
            UnsafeMutableRawBufferPointer(rebasing: rest.prefix(piece.count)).copyMemory(from: piece)
            rest = rest.dropFirst(piece.count)
            try release(piece.count)
        }
    }

    /// Waits until `count` bytes, at most the capacity, are there, not necessarily in one piece, or until the producer
    /// has closed and some are.
    /// - Throws: `.peerGone` once the producer has closed and nothing is left.
    package func awaitBytes(_ count: Int, deadline: UInt64, interrupt: Interrupt?) throws(FabricError) {
        let head = header.head.pointee.load(ordering: .relaxed)
        let wanted = UInt64(max(0, min(count, ring.capacity)))
        try strategy.wait(
            on: header.bytesSignal,
            until: {
                self.header.tail.pointee.load(ordering: .sequentiallyConsistent) &- head >= wanted
                    || self.header.producer.isClosed
            },
            deadline: deadline, interrupt: interrupt, what: "bytes in a ring",
            trouble: {
                self.header.consumer.beat()
                return self.header.producer.trouble(silence: self.silence)
            })
        // Closed is looked at before the tail: the producer closes after its last commit.
        if header.producer.isClosed, header.tail.pointee.load(ordering: .sequentiallyConsistent) == head {
            throw header.producer.closedError
        }
    }

    /// Drops all that was written. Only while the producer does not write.
    package func drop() {
        peeked = 0
        ring.drop()
    }

    /// A sign of life, for a consumer with long work between its reads.
    package func beat() { header.consumer.beat() }

    /// Says that nothing more will be read: the producer's next write ends with `.peerGone`.
    package func close() {
        header.consumer.close()
        header.spaceSignal.notify()
    }
}
