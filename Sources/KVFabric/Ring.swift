import Synchronization

/// A lock-free ring of bytes in shared memory: one producer, one consumer, in one process or two.
///
/// Orderings, in pairs:
/// * *bytes*: the producer fills space, then stores `tail` (release); the consumer loads `tail` (acquire), then reads.
/// * *space*: the consumer reads, then stores `head` (release); the producer loads `head` (acquire), then overwrites.
/// * *sleep*: both stores and the loads before a sleep are sequentially consistent as well, which ``Signal`` needs.
/// Each side keeps the position of the other that it last saw, and looks again only when that one does not suffice, so
/// that the lines of the positions do not travel with every message.
///
/// The one who makes the ring, or attaches to it, takes a role from it: ``RingProducer`` or ``RingConsumer``.
package final class Ring: Sendable {
    let header: RingHeader
    private let memory: SharedMemory

    package var capacity: Int { header.capacity }
    /// Where it lies.
    package var pages: Pages { Pages(memory.pointer, bytes: memory.count) }

    /// Bytes of memory that a ring of this capacity takes.
    package static func bytes(capacity: Int) -> Int { RingHeader.bytes + capacity }

    /// The next power of two; what does not fit an `Int` stays as it is, and is refused by `init`.
    package static func roundedCapacity(_ capacity: Int) -> Int {
        guard capacity > 1, capacity <= 1 << 61 else { return max(1, capacity) }
        return 1 << (Int.bitWidth - (capacity - 1).leadingZeroBitCount)
    }

    /// Makes a ring in new memory, once.
    /// - Parameters:
    ///   - capacity: bytes, a power of two.
    ///   - position: where both positions start; for tests of their overflow.
    /// - Throws: `.invalid`, or `.busy` if there is a ring in this memory already.
    package init(makingIn memory: SharedMemory, capacity: Int, position: UInt64 = 0) throws(FabricError) {
        header = try .make(in: memory, capacity: capacity, position: position)
        self.memory = memory
    }

    /// A ring in anonymous memory of its own, for threads of this process. The capacity is rounded up.
    package static func anonymous(label: String, capacity: Int, node: Int? = nil) throws(FabricError) -> Ring {
        let rounded = roundedCapacity(capacity)
        guard capacity > 0, rounded <= Int.max - RingHeader.bytes else {
            throw .invalid(field: "ring capacity", value: "\(capacity)")
        }
        let memory = try SharedMemory.anonymous(label: label, count: bytes(capacity: rounded), node: node)
        return try Ring(makingIn: memory, capacity: rounded)
    }

    /// Attaches to the ring that another made.
    /// - Throws: `.invalid` naming the field of the header that is not as it should be.
    package init(attachingTo memory: SharedMemory) throws(FabricError) {
        header = try .attach(to: memory)
        self.memory = memory
    }

    /// Drops all that was written and not read. Only while neither side is active.
    func drop() {
        let tail = header.tail.pointee.load(ordering: .acquiring)
        header.seenTail.pointee.store(tail, ordering: .relaxed)
        header.head.pointee.store(tail, ordering: .sequentiallyConsistent)
        header.spaceSignal.notify()
    }

    /// What links have handed over by this ring, in bytes; written by the sending side.
    var payload: UInt64 { header.payload.pointee.load(ordering: .relaxed) }
    func addPayload(_ bytes: Int) { header.payload.pointee.wrappingAdd(UInt64(bytes), ordering: .relaxed) }

    /// Looks that positions from shared memory make sense before they are used as sizes.
    func distance(from head: UInt64, to tail: UInt64) throws(FabricError) -> Int {
        let distance = tail &- head
        guard distance <= UInt64(capacity) else {
            throw .protocolViolation(
                expected: "at most \(capacity) bytes in the ring", got: "head \(head), tail \(tail)")
        }
        return Int(distance)
    }
}
