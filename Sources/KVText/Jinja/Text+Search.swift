extension Text {
    /// Where `part` first lies at or behind an offset; nil where it does not.
    func firstOffset(of part: Text, from start: Int) -> Int? {
        guard part.count > 0 else { return start <= count ? start : nil }
        return offsets(of: part, limit: 1, from: start).first
    }

    /// Offsets where `part`, not empty, lies, one behind the other, at most so many. Knuth, Morris and Pratt's search:
    /// linear in time whatever the two are.
    func offsets(of part: Text, limit: Int = .max, from start: Int = 0) -> [Int] {
        var text = string
        let wanted = Array(part.string.utf8)
        guard !wanted.isEmpty, limit > 0, start + wanted.count <= count else { return [] }
        // How much of `wanted` still matches where its next byte does not.
        var borders = [Int](repeating: 0, count: wanted.count)
        var border = 0
        for index in wanted.indices.dropFirst() {
            while border > 0, wanted[index] != wanted[border] { border = borders[border - 1] }
            if wanted[index] == wanted[border] { border += 1 }
            borders[index] = border
        }
        return text.withUTF8 { text in
            var offsets: [Int] = []
            var matched = 0
            for at in start..<text.count {
                while matched > 0, text[at] != wanted[matched] { matched = borders[matched - 1] }
                if text[at] == wanted[matched] { matched += 1 }
                guard matched == wanted.count else { continue }
                offsets.append(at + 1 - matched)
                if offsets.count >= limit { break }
                matched = 0
            }
            return offsets
        }
    }

    /// Without white space, or the scalars of `set`, at the ends that are asked for.
    func stripped(_ set: String? = nil, start: Bool = true, end: Bool = true) -> Text {
        let chosen = set.map { Set($0.unicodeScalars) }
        func goes(_ scalar: Unicode.Scalar) -> Bool {
            if let chosen { return chosen.contains(scalar) }
            return scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
        }
        let scalars = string.unicodeScalars
        var from = scalars.startIndex
        var to = scalars.endIndex
        if start { while from < to, goes(scalars[from]) { from = scalars.index(after: from) } }
        if end {
            while to > from {
                let before = scalars.index(before: to)
                guard goes(scalars[before]) else { break }
                to = before
            }
        }
        let utf8 = string.utf8
        let lower = utf8.distance(from: utf8.startIndex, to: from)
        return self[lower..<lower + utf8.distance(from: from, to: to)]
    }

    /// Cut at white space, at most `limit` times; the last word then keeps what follows, but for white space before it.
    func words(limit: Int) -> [Text] {
        var words: [Text] = []
        var start: Int?
        var at = 0
        for scalar in string.unicodeScalars {
            if !scalar.properties.isWhitespace {
                if start == nil {
                    start = at
                    if words.count >= limit { break }
                }
            } else if let from = start {
                words.append(self[from..<at])
                start = nil
            }
            at += UTF8.width(scalar)
        }
        if let start { words.append(self[start..<count]) }
        return words
    }

    /// Cut at line breaks, which go; a last line that is empty is none.
    var lines: [Text] {
        var lines: [Text] = []
        var start = 0
        var at = 0
        let bytes = Array(string.utf8)
        while at < bytes.count {
            if bytes[at] == 0x0A || bytes[at] == 0x0D {
                lines.append(self[start..<at])
                if bytes[at] == 0x0D, at + 1 < bytes.count, bytes[at + 1] == 0x0A { at += 1 }
                start = at + 1
            }
            at += 1
        }
        if start < bytes.count { lines.append(self[start..<bytes.count]) }
        return lines
    }
}
