import Synchronization

/// The writing side of a ring. One thread at a time; handing it from thread to thread takes an order from outside
/// (a barrier, a join). Nothing here allocates, save errors.
package final class RingProducer: @unchecked Sendable {
    // Sendable by hand for `reserved`: one thread at a time, as said above; all that is shared is atomic.
    private let ring: Ring
    private let header: RingHeader
    private let strategy: WaitStrategy
    private let silence: UInt64?
    private let isMovable: Bool
    /// What `commit` may take; owned by the writing thread.
    private var reserved = 0

    /// - Parameters:
    ///   - silence: nanoseconds without a heartbeat after which a wait holds the consumer for dead; nil: only its
    ///     closing or its process's end counts.
    ///   - isMovable: several processes may be this side in turns, each from its ``take()`` on; nobody closes it then.
    /// - Throws: `.busy` if the ring has a producer.
    package init(
        _ ring: Ring, wait strategy: WaitStrategy, silence: UInt64? = nil, isMovable: Bool = false
    ) throws(FabricError) {
        self.ring = ring
        self.strategy = strategy
        self.silence = silence
        header = ring.header
        self.isMovable = isMovable
        if !isMovable { try header.producer.claim() }
    }

    deinit {
        if !isMovable { close() }
    }

    /// Makes this process the producer; between runs.
    package func take() { header.producer.take() }

    /// Space for up to `count` bytes in one piece: less if the ring's end or unread bytes come first, empty if it is
    /// full.
    /// - Throws: `.protocolViolation` if the positions in shared memory make no sense.
    package func reserve(_ count: Int) throws(FabricError) -> UnsafeMutableRawBufferPointer {
        let tail = header.tail.pointee.load(ordering: .relaxed)
        let seen = header.seenHead.pointee.load(ordering: .relaxed)
        var free = ring.capacity - (try ring.distance(from: seen, to: tail))
        if free < count {
            // Acquire; pairs with the consumer's release of `head`: it has read what is overwritten now.
            let head = header.head.pointee.load(ordering: .acquiring)
            header.seenHead.pointee.store(head, ordering: .relaxed)
            free = ring.capacity - (try ring.distance(from: head, to: tail))
        }
        let offset = Int(truncatingIfNeeded: tail) & (ring.capacity - 1)
        reserved = max(0, min(count, free, ring.capacity - offset))
        return UnsafeMutableRawBufferPointer(start: header.data + offset, count: reserved)
    }

    /// Hands over the first `count` bytes of what was reserved last.
    /// - Throws: `.invalid` if that is more than was reserved.
    package func commit(_ count: Int) throws(FabricError) {
        guard 0...reserved ~= count else {
            throw .invalid(field: "committed bytes", value: "\(count) of \(reserved) reserved")
        }
        reserved = 0
        let tail = header.tail.pointee.load(ordering: .relaxed)
        // Release; pairs with the consumer's acquire of `tail`: it sees the bytes below it.
        header.tail.pointee.store(tail &+ UInt64(count), ordering: .sequentiallyConsistent)
        header.bytesSignal.notify()
    }

    /// Writes all bytes, in pieces as the consumer makes space: they may be more than the ring holds.
    ///
    /// - Throws: `.deadline`, `.interrupted` or `.peerGone`, with some bytes written already: the stream is of no more
    ///   use then, unless both sides agree to drop it (``RingConsumer/drop()``).
    package func write(
        _ bytes: UnsafeRawBufferPointer, deadline: UInt64, interrupt: Interrupt?
    ) throws(FabricError) {
        header.producer.beat()
        var rest = bytes[...]
        while !rest.isEmpty {
            if header.consumer.isClosed { throw header.consumer.closedError }
            let space = try reserve(rest.count)
            if space.isEmpty {
                try awaitSpace(min(rest.count, max(1, ring.capacity / 4)), deadline: deadline, interrupt: interrupt)
                continue
            }
            space.copyMemory(from: UnsafeRawBufferPointer(rebasing: rest.prefix(space.count)))
            rest = rest.dropFirst(space.count)
            try commit(space.count)
        }
    }

    /// Waits until `count` bytes, at most the capacity, are free, not necessarily in one piece.
    package func awaitSpace(_ count: Int, deadline: UInt64, interrupt: Interrupt?) throws(FabricError) {
        let tail = header.tail.pointee.load(ordering: .relaxed)
        let limit = UInt64(max(0, ring.capacity - count))
        try strategy.wait(
            on: header.spaceSignal,
            until: {
                tail &- self.header.head.pointee.load(ordering: .sequentiallyConsistent) <= limit
                    || self.header.consumer.isClosed
            },
            deadline: deadline, interrupt: interrupt, what: "space in a ring",
            trouble: {
                self.header.producer.beat()
                return self.header.consumer.trouble(silence: self.silence)
            })
        if header.consumer.isClosed { throw header.consumer.closedError }
    }

    /// A sign of life, for a producer with long work between its writes.
    package func beat() { header.producer.beat() }

    /// Says that no more will come. What was committed can still be read.
    package func close() {
        header.producer.close()
        header.bytesSignal.notify()
    }
}
