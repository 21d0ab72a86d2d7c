/// SentencePiece's compiled normalisation rules (`tokenizer.ggml.precompiled_charsmap`): byte sequences and what they
/// become.
///
/// Layout: the byte length of the trie (UInt32, little-endian), the trie, then the replacements, each ended by a zero
/// byte. The trie is a double array of 32-bit units: bits 0 to 7 and 31 are the unit's label, bit 8 says that a value
/// hangs below, bits 10 to 30 (shifted by 8 where bit 9 is set) are the offset to the children; a value's unit has bit
/// 31 set and the place of the replacement in the others.
struct CharacterMap: Sendable {
    private let units: [UInt32]
    private let replacements: [UInt8]

    /// What one sequence may become at most; of the rules that models use none exceeds 36 bytes. A map that makes
    /// kilobytes of every character would make gigabytes of a prompt.
    static let longestReplacement = 256

    /// nil where the bytes are no such map, or a replacement is longer than `longestReplacement`.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 4 else { return nil }
        func unit(_ at: Int) -> UInt32 {
            UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
        }
        let length = Int(unit(0))
        guard length % 4 == 0, length <= bytes.count - 4 else { return nil }
        units = stride(from: 4, to: 4 + length, by: 4).map(unit)
        replacements = Array(bytes[(4 + length)...])
        guard replacements.split(separator: 0).allSatisfy({ $0.count <= Self.longestReplacement }) else { return nil }
    }

    private func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & (1 << 9)) >> 6)) }

    /// The longest sequence at `start` that the map knows, and its replacement.
    func longest(
        _ text: UnsafeBufferPointer<UInt8>, at start: Int, to end: Int
    ) -> (length: Int, replacement: ArraySlice<UInt8>)? {
        guard let root = units.first else { return nil }
        var node = offset(root)
        var found: (length: Int, value: Int)?
        var at = start
        while at < end, text[at] != 0 {
            node ^= Int(text[at])
            guard node < units.count, units[node] & (1 << 31 | 0xFF) == UInt32(text[at]) else { break }
            let hasValue = units[node] >> 8 & 1 == 1
            node ^= offset(units[node])
            at += 1
            if hasValue, node < units.count { found = (at - start, Int(units[node] & (1 << 31 - 1))) }
        }
        guard let found, found.value <= replacements.count else { return nil }
        return (found.length, replacements[found.value...].prefix { $0 != 0 })
    }

    /// What the shortest sequence that `text` begins with becomes; nil where the map knows none.
    func shortest(_ text: [UInt8]) -> ArraySlice<UInt8>? {
        guard let root = units.first else { return nil }
        var node = offset(root)
        for byte in text where byte != 0 {
            node ^= Int(byte)
            guard node < units.count, units[node] & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
            let hasValue = units[node] >> 8 & 1 == 1
            node ^= offset(units[node])
            guard hasValue, node < units.count else { continue }
            let value = Int(units[node] & (1 << 31 - 1))
            return value <= replacements.count ? replacements[value...].prefix { $0 != 0 } : nil
        }
        return nil
    }
}
