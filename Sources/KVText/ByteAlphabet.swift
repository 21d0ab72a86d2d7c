/// The alphabet in which byte-level BPE vocabularies are written: every byte as one printable scalar.
///
/// Printable Latin-1 stands for itself; the other 68 bytes, in order, are U+0100, U+0101 and so on, so that a space is
/// `Ġ` (U+0120) and a line feed `Ċ` (U+010A). From the GPT-2 tokenizer's `bytes_to_unicode`.
package enum ByteAlphabet {
    /// Scalar of each byte.
    package static let scalars: [UInt16] = {
        var next: UInt16 = 0x100
        return (0..<256).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF:
                return UInt16(byte)
            default:
                defer { next += 1 }
                return next
            }
        }
    }()

    /// Byte of each scalar below U+0144, `-1` for those that are not in the alphabet.
    private static let byteOfScalar: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x144)
        for (byte, scalar) in scalars.enumerated() { table[Int(scalar)] = Int16(byte) }
        return table
    }()

    /// The written form of one byte: one or two bytes of UTF-8.
    package static func written(_ byte: UInt8) -> [UInt8] {
        Array(String(Character(Unicode.Scalar(scalars[Int(byte)]) ?? " ")).utf8)
    }

    /// Appends the written form of one byte.
    static func append(_ byte: UInt8, to written: inout [UInt8]) {
        let scalar = scalars[Int(byte)]
        if scalar < 0x80 {
            written.append(UInt8(truncatingIfNeeded: scalar))
        } else {
            written.append(UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6))
            written.append(UInt8(truncatingIfNeeded: 0x80 | scalar & 0x3F))
        }
    }

    /// Appends the bytes that `written` stands for; a string with a scalar outside the alphabet stands for itself.
    package static func appendBytes(of written: ArraySlice<UInt8>, to bytes: inout [UInt8]) {
        let start = bytes.count
        var at = written.startIndex
        while at < written.endIndex {
            var scalar = Int(written[at])
            if scalar >= 0x80 {
                // The alphabet ends below U+0800: two-byte sequences only.
                let second = at + 1 < written.endIndex ? Int(written[at + 1]) : 0
                scalar = scalar & 0xE0 == 0xC0 && second & 0xC0 == 0x80 ? (scalar & 0x1F) << 6 | second & 0x3F : -1
                at += 1
            }
            at += 1
            guard scalar >= 0, scalar < byteOfScalar.count, byteOfScalar[scalar] >= 0 else {
                bytes.removeSubrange(start...)
                bytes.append(contentsOf: written)
                return
            }
            bytes.append(UInt8(truncatingIfNeeded: byteOfScalar[scalar]))
        }
    }
}
