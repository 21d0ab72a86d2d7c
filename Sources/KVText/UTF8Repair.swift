/// UTF-8 as the tokenizers' reference implementations see it: every byte that is not part of a whole, valid character
/// stands for one U+FFFD. (Decoding a `String` makes one U+FFFD of a truncated sequence instead.)
enum UTF8Repair {
    private static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

    /// Appends `text` to `output`, repaired. O(n); runs of ASCII and of valid text are copied whole.
    static func append(_ text: UnsafeBufferPointer<UInt8>, to output: inout [UInt8]) {
        var copied = 0
        var at = 0
        while at < text.count {
            if text[at] < 0x80 {
                at += 1
                continue
            }
            let length = characterLength(text, at)
            if length > 0 {
                at += length
                continue
            }
            output.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied..<at]))
            output.append(contentsOf: replacement)
            at += 1
            copied = at
        }
        output.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied..<at]))
    }

    /// Whether the bytes are whole, valid characters. O(n).
    static func isValid(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        var at = 0
        while at < text.count {
            let length = text[at] < 0x80 ? 1 : characterLength(text, at)
            if length == 0 { return false }
            at += length
        }
        return true
    }

    /// The length of the valid multi-byte character at `at` (2, 3 or 4), 0 where there is none. No overlong forms, no
    /// surrogates, nothing above U+10FFFF (Unicode table 3-7).
    private static func characterLength(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Int {
        guard let sequence = UTF8Sequence(first: text[at]), sequence.length <= text.count - at,
            sequence.second.contains(text[at + 1])
        else { return 0 }
        for offset in 2..<max(2, sequence.length) where text[at + offset] & 0xC0 != 0x80 { return 0 }
        return sequence.length
    }
}

/// What a lead byte of a multi-byte UTF-8 character asks of the bytes after it.
struct UTF8Sequence {
    /// Bytes in all, 2 to 4.
    let length: Int
    /// What the second byte may be; those after it are 80...BF.
    let second: ClosedRange<UInt8>

    /// nil for bytes that begin no multi-byte character.
    init?(first: UInt8) {
        switch first {
        case 0xC2...0xDF: (length, second) = (2, 0x80...0xBF)
        case 0xE0: (length, second) = (3, 0xA0...0xBF)
        case 0xED: (length, second) = (3, 0x80...0x9F)
        case 0xE1...0xEF: (length, second) = (3, 0x80...0xBF)
        case 0xF0: (length, second) = (4, 0x90...0xBF)
        case 0xF1...0xF3: (length, second) = (4, 0x80...0xBF)
        case 0xF4: (length, second) = (4, 0x80...0x8F)
        default: return nil
        }
    }
}
