import Synchronization

/// The first page of a ring's memory. The bytes follow after it.
///
/// | byte | what | written by |
/// |---|---|---|
/// | 0 | magic, version, header size, capacity | the maker, once |
/// | 32 | ready: the above is complete | the maker, last |
/// | 128 | tail: bytes ever written | producer |
/// | 256 | the head the producer last saw | producer |
/// | 384 | head: bytes ever read | consumer |
/// | 512 | the tail the consumer last saw | consumer |
/// | 640 | producer: pid, closed, start time, heartbeat | producer |
/// | 768 | consumer: the same | consumer |
/// | 896 | signal: there are more bytes | both |
/// | 1024 | signal: there is more space | both |
/// | 1152 | payload: what a link has handed over, in bytes | producer |
///
/// Positions run freely through all 64 bits: what counts is their difference, modulo 2^64, and their remainder by the
/// capacity, a power of two. Lines lie two cache lines apart (``CacheLine``).
struct RingHeader: @unchecked Sendable {
    // Sendable by hand for pointers into shared memory: what changes there is atomic words, the rest is constant.
    static let bytes = 4096
    static let magic: UInt64 = 0x3147_4e49_5256_4b21  // "!KVRING1" as little-endian bytes
    static let version: UInt32 = 1

    private let start: UnsafeMutableRawPointer
    let capacity: Int
    let tail: SharedWord64
    let seenHead: SharedWord64
    let head: SharedWord64
    let seenTail: SharedWord64
    let producer: RingParty
    let consumer: RingParty
    let bytesSignal: Signal
    let spaceSignal: Signal
    let payload: SharedWord64

    var data: UnsafeMutableRawPointer { start + Self.bytes }

    private init(at start: UnsafeMutableRawPointer, capacity: Int) {
        self.start = start
        self.capacity = capacity
        tail = start.word64(at: 128)
        seenHead = start.word64(at: 256)
        head = start.word64(at: 384)
        seenTail = start.word64(at: 512)
        producer = RingParty(at: start + 640, role: "producer")
        consumer = RingParty(at: start + 768, role: "consumer")
        bytesSignal = Signal(at: start + 896, isShared: true)
        spaceSignal = Signal(at: start + 1024, isShared: true)
        payload = start.word64(at: 1152)
    }

    /// Lays a ring out in zeroed memory.
    static func make(in memory: SharedMemory, capacity: Int, position: UInt64) throws(FabricError) -> RingHeader {
        guard capacity > 0, capacity & (capacity - 1) == 0 else {
            throw .invalid(field: "ring capacity", value: "\(capacity), not a power of two,")
        }
        guard memory.count >= bytes, memory.count - bytes >= capacity else {
            throw .invalid(field: "size of the ring's memory", value: "\(memory.count), too small for \(capacity),")
        }
        let start = memory.pointer
        let header = RingHeader(at: start, capacity: capacity)
        guard start.word32(at: 32).pointee.load(ordering: .acquiring) == 0 else {
            throw .busy("the ring's memory")
        }
        start.storeBytes(of: magic, toByteOffset: 0, as: UInt64.self)
        start.storeBytes(of: version, toByteOffset: 8, as: UInt32.self)
        start.storeBytes(of: UInt32(bytes), toByteOffset: 12, as: UInt32.self)
        start.storeBytes(of: UInt64(capacity), toByteOffset: 16, as: UInt64.self)
        for word in [header.tail, header.seenHead, header.head, header.seenTail] {
            word.pointee.store(position, ordering: .relaxed)
        }
        // Release; pairs with the acquire in `attach`.
        start.word32(at: 32).pointee.store(1, ordering: .releasing)
        return header
    }

    /// Reads what another laid out, and believes nothing of it: the memory comes from another process.
    static func attach(to memory: SharedMemory) throws(FabricError) -> RingHeader {
        guard memory.count > bytes else {
            throw .invalid(field: "size of the ring's memory", value: "\(memory.count)")
        }
        let start = memory.pointer
        guard start.word32(at: 32).pointee.load(ordering: .acquiring) == 1 else {
            throw .invalid(field: "ring header", value: "not complete")
        }
        let magic = start.load(fromByteOffset: 0, as: UInt64.self)
        guard magic == Self.magic else {
            throw .invalid(field: "ring magic", value: "0x\(String(magic, radix: 16))")
        }
        let version = start.load(fromByteOffset: 8, as: UInt32.self)
        guard version == Self.version else { throw .invalid(field: "ring version", value: "\(version)") }
        let headerBytes = start.load(fromByteOffset: 12, as: UInt32.self)
        guard headerBytes == bytes else { throw .invalid(field: "ring header size", value: "\(headerBytes)") }
        let capacity = start.load(fromByteOffset: 16, as: UInt64.self)
        guard capacity > 0, capacity & (capacity - 1) == 0, capacity <= UInt64(memory.count - bytes) else {
            throw .invalid(field: "ring capacity", value: "\(capacity) in \(memory.count) bytes of memory")
        }
        return RingHeader(at: start, capacity: Int(capacity))
    }
}
