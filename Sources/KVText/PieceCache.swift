/// The ids of pieces seen before: direct-mapped, of fixed size (256 KiB), for pieces of at most 15 bytes that became at
/// most three tokens. Words repeat, so most pieces are found here and never merged again.
struct PieceCache: Sendable {
    /// Bytes that must be readable from the start of a piece, however short it is.
    static let window = 16
    static let longest = 15

    private struct Slot {
        var low: UInt64 = 0
        /// Bytes 8 to 14, and above them the length: zero only where the slot is empty.
        var high: UInt64 = 0
        var first: Int32 = 0
        var second: Int32 = 0
        var third: Int32 = 0
        var count: Int32 = 0
    }

    /// A piece's bytes and where they are kept.
    struct Key {
        fileprivate let low: UInt64
        fileprivate let high: UInt64
        fileprivate let slot: Int
    }

    private static let bits: UInt64 = 13
    private var slots = [Slot](repeating: Slot(), count: 1 << Int(bits))

    /// nil for pieces too long to keep.
    /// - Parameter text: `window` bytes from the piece's start are read, what lies behind it is masked out.
    @inline(__always)
    static func key(_ text: UnsafeBufferPointer<UInt8>, _ piece: Range<Int>) -> Key? {
        let count = piece.count
        guard count <= longest, count > 0, piece.lowerBound + window <= text.count else { return nil }
        let raw = UnsafeRawBufferPointer(text)
        var low = raw.loadUnaligned(fromByteOffset: piece.lowerBound, as: UInt64.self)
        var high = raw.loadUnaligned(fromByteOffset: piece.lowerBound + 8, as: UInt64.self)
        if count < 8 {
            low &= (1 << UInt64(count * 8)) - 1
            high = 0
        } else {
            high &= (1 << UInt64((count - 8) * 8)) - 1
        }
        high |= UInt64(count) << 56
        let mixed = (low ^ (high &* 0x9FB2_1C65_1E98_DF25)) &* 0x9E37_79B9_7F4A_7C15
        return Key(low: low, high: high, slot: Int(truncatingIfNeeded: (mixed ^ mixed << 29) >> (64 - bits)))
    }

    /// Appends the ids of a piece that is here.
    @inline(__always)
    func append(_ key: Key, to output: inout [Int32]) -> Bool {
        let slot = slots[key.slot]
        guard slot.low == key.low, slot.high == key.high else { return false }
        if slot.count > 0 { output.append(slot.first) }
        if slot.count > 1 { output.append(slot.second) }
        if slot.count > 2 { output.append(slot.third) }
        return true
    }

    mutating func store(_ key: Key, _ ids: ArraySlice<Int32>) {
        guard ids.count <= 3 else { return }
        var slot = Slot(low: key.low, high: key.high, count: Int32(ids.count))
        let at = ids.startIndex
        if ids.count > 0 { slot.first = ids[at] }
        if ids.count > 1 { slot.second = ids[at + 1] }
        if ids.count > 2 { slot.third = ids[at + 2] }
        slots[key.slot] = slot
    }
}
