extension String {
    /// The text with its control characters as `\u001b` and the like (JSON's notation), so that a terminal shows them and obeys none:
    /// C0 but line breaks and tabs, DEL, C1.
    ///
    /// - Parameter bidi: those that turn the order of characters around, too.
    /// - Complexity: O(bytes); a text without such characters is returned as it is.
    package func visible(bidi: Bool = true) -> String {
        guard mayHideControls else { return self }
        var text = ""
        text.reserveCapacity(utf8.count + 16)
        let scalars = unicodeScalars
        var index = scalars.startIndex
        while index < scalars.endIndex {
            let scalar = scalars[index]
            scalars.formIndex(after: &index)
            // A line break of two characters is one.
            if scalar == "\r", index < scalars.endIndex, scalars[index] == "\n" { continue }
            if Self.isControl(scalar, bidi) {
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    /// False for most texts, found without decoding: no C0, DEL, nor a byte that C1 and bidirectional controls begin with.
    private var mayHideControls: Bool {
        utf8.contains { ($0 < 0x20 && $0 != 0x0A && $0 != 0x09) || $0 == 0x7F || $0 == 0xC2 || $0 == 0xE2 || $0 == 0xD8 }
    }

    private static func isControl(_ scalar: Unicode.Scalar, _ bidi: Bool) -> Bool {
        switch scalar.value {
        case 0x09, 0x0A: false
        case 0..<0x20, 0x7F...0x9F: true
        // Marks, embeddings and overrides, isolates.
        case 0x61C, 0x200E, 0x200F, 0x202A...0x202E, 0x2066...0x2069: bidi
        default: false
        }
    }
}
