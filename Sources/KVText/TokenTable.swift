import Glibc

/// Byte string → token id: open addressing over a vocabulary's packed strings, which it does not copy.
struct TokenTable: Sendable {
    private let strings: PackedBytes
    /// Ids by slot, `-1` where empty; a power of two of them, at most half full.
    private var slots: [Int32]
    private let mask: Int

    /// Where a string occurs twice the later id wins, as where vocabularies are read into a dictionary.
    init(_ strings: PackedBytes) {
        self.strings = strings
        var capacity = 16
        while capacity < strings.count * 2 { capacity *= 2 }
        mask = capacity - 1
        var slots = [Int32](repeating: -1, count: capacity)
        let mask = mask
        strings.bytes.withUnsafeBufferPointer { bytes in
            slots.withUnsafeMutableBufferPointer { slots in
                for id in 0..<strings.count {
                    let string = UnsafeBufferPointer(rebasing: bytes[strings.range(id)])
                    var slot = Self.hash(string) & mask
                    while slots[slot] >= 0, !Self.equal(bytes, strings.range(Int(slots[slot])), string) {
                        slot = (slot + 1) & mask
                    }
                    slots[slot] = Int32(id)
                }
            }
        }
        self.slots = slots
    }

    /// The id of a string, or `-1`.
    func id(of string: UnsafeBufferPointer<UInt8>) -> Int32 {
        strings.bytes.withUnsafeBufferPointer { bytes in
            slots.withUnsafeBufferPointer { slots in
                var slot = Self.hash(string) & mask
                while slots[slot] >= 0 {
                    if Self.equal(bytes, strings.range(Int(slots[slot])), string) { return slots[slot] }
                    slot = (slot + 1) & mask
                }
                return -1
            }
        }
    }

    func id(of string: [UInt8]) -> Int32 {
        string.withUnsafeBufferPointer { id(of: $0) }
    }

    private static func equal(
        _ bytes: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ string: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard range.count == string.count else { return false }
        guard let left = bytes.baseAddress, let right = string.baseAddress else { return true }
        return memcmp(left + range.lowerBound, right, range.count) == 0
    }

    /// Eight bytes at a time, each step a multiplication folded to its upper half; non-negative.
    private static func hash(_ string: UnsafeBufferPointer<UInt8>) -> Int {
        let raw = UnsafeRawBufferPointer(string)
        var state = UInt64(truncatingIfNeeded: raw.count) &* 0x9E37_79B9_7F4A_7C15
        var at = 0
        while at + 8 <= raw.count {
            state = mix(state ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
            at += 8
        }
        var tail: UInt64 = 0
        while at < raw.count {
            tail = tail << 8 | UInt64(raw[at])
            at += 1
        }
        return Int(truncatingIfNeeded: mix(state ^ tail) >> 1)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        let product = value.multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
        return product.high ^ product.low
    }
}
