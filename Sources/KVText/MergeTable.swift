/// The merges of a byte-pair encoding: (left id, right id) → (rank, id of the merged token).
///
/// Open addressing with linear probing, at most half full, 16 bytes a slot, so that nearly every look-up touches one
/// cache line. A pair that has no merge (the usual answer) ends at the first empty slot.
package struct MergeTable: Sendable {
    package struct Merge {
        /// Order of application, lower first; `none` where the pair does not merge.
        var rank: UInt32
        /// Id of the token that the pair becomes.
        var merged: Int32

        static let none: UInt32 = .max
    }

    private struct Slot {
        /// Left id in the upper half, right id in the lower; all ones where the slot is empty.
        var pair: UInt64 = .max
        var merge = Merge(rank: Merge.none, merged: -1)
    }

    private var slots: [Slot]
    private let shift: UInt64

    /// - Parameter capacity: the number of merges that will be added at most.
    package init(capacity: Int) {
        var bits: UInt64 = 4
        while (1 << bits) < capacity * 2 { bits += 1 }
        shift = 64 - bits
        slots = Array(repeating: Slot(), count: 1 << bits)
    }

    private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }

    private func home(_ pair: UInt64) -> Int {
        // Both halves are mixed in by the first product; the upper bits of the second are the best spread.
        let mixed = (pair ^ pair >> 32 &* 0x9FB2_1C65_1E98_DF25) &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed >> shift)
    }

    /// Adds a merge of ids that are not negative; of two for the same pair the first stands, or the last where asked.
    package mutating func insert(
        _ left: Int32, _ right: Int32, rank: UInt32, merged: Int32, replaces: Bool = false
    ) {
        let pair = Self.pair(left, right)
        var slot = home(pair)
        while slots[slot].pair != .max {
            if slots[slot].pair == pair {
                if replaces { break }
                return
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        slots[slot] = Slot(pair: pair, merge: Merge(rank: rank, merged: merged))
    }

    /// The merge of a pair. An id of `-1` (a byte the vocabulary has no token for) merges with nothing.
    @inline(__always)
    package func merge(_ left: Int32, _ right: Int32) -> Merge {
        let pair = Self.pair(left, right)
        return slots.withUnsafeBufferPointer { slots in
            var slot = home(pair)
            while slots[slot].pair != pair, slots[slot].pair != .max {
                slot = (slot + 1) & (slots.count - 1)
            }
            return slots[slot].merge
        }
    }
}
