extension Text {
    /// Where a text lies within a range, one behind the other, at most so many times. Knuth, Morris and Pratt's search:
    /// linear in time whatever the two are. An empty text lies nowhere.
    func offsets(of part: Text, in range: Range<Int>? = nil, limit: Int = .max) -> [Int] {
        let wanted = part.points
        let range = range ?? 0..<count
        guard !wanted.isEmpty, limit > 0, wanted.count <= range.count else { return [] }
        if wanted.count == 1 {
            var offsets: [Int] = []
            for at in range where points[at] == wanted[0] {
                offsets.append(at)
                if offsets.count >= limit { break }
            }
            return offsets
        }
        // How much of `wanted` still matches where its next code point does not.
        var borders = [Int](repeating: 0, count: wanted.count)
        var border = 0
        for index in wanted.indices.dropFirst() {
            while border > 0, wanted[index] != wanted[border] { border = borders[border - 1] }
            if wanted[index] == wanted[border] { border += 1 }
            borders[index] = border
        }
        var offsets: [Int] = []
        var matched = 0
        for at in range {
            while matched > 0, points[at] != wanted[matched] { matched = borders[matched - 1] }
            if points[at] == wanted[matched] { matched += 1 }
            guard matched == wanted.count else { continue }
            offsets.append(at + 1 - matched)
            if offsets.count >= limit { break }
            matched = 0
        }
        return offsets
    }

    /// The same from the end: the last ones first, at most so many.
    func offsetsFromEnd(of part: Text, in range: Range<Int>? = nil, limit: Int = .max) -> [Int] {
        let range = range ?? 0..<count
        let reversed = Text(points: points[range].reversed())
        return reversed.offsets(of: Text(points: part.points.reversed()), limit: limit).map { range.upperBound - $0 - part.count }
    }

    func contains(_ part: Text) -> Bool { part.isEmpty || !offsets(of: part, limit: 1).isEmpty }

    /// Without white space, or the code points of `set`, at the ends that are asked for.
    func stripped(_ set: Text? = nil, start: Bool = true, end: Bool = true) -> Text {
        let chosen = set.map { Set($0.points) }
        func goes(_ point: UInt32) -> Bool { chosen?.contains(point) ?? CodePoint.isSpace(point) }
        var (from, to) = (0, count)
        if start { while from < to, goes(points[from]) { from += 1 } }
        if end { while to > from, goes(points[to - 1]) { to -= 1 } }
        return self[from..<to]
    }

    /// Cut at white space, at most `limit` times; the last word then keeps what follows.
    func words(limit: Int = .max) -> [Text] {
        var words: [Text] = []
        var at = 0
        while true {
            while at < count, CodePoint.isSpace(points[at]) { at += 1 }
            guard at < count else { return words }
            if words.count >= limit {
                words.append(self[at..<count])
                return words
            }
            let start = at
            while at < count, !CodePoint.isSpace(points[at]) { at += 1 }
            words.append(self[start..<at])
        }
    }

    /// The same from the end.
    func wordsFromEnd(limit: Int) -> [Text] {
        var words: [Text] = []
        var at = count
        while true {
            while at > 0, CodePoint.isSpace(points[at - 1]) { at -= 1 }
            guard at > 0 else { break }
            if words.count >= limit {
                words.append(self[0..<at])
                break
            }
            let end = at
            while at > 0, !CodePoint.isSpace(points[at - 1]) { at -= 1 }
            words.append(self[at..<end])
        }
        return words.reversed()
    }

    /// Cut at line breaks, which go unless kept; a last line that is empty is none.
    func lines(keepingEnds: Bool = false) -> [Text] {
        var lines: [Text] = []
        var (start, at) = (0, 0)
        while at < count {
            let point = points[at]
            at += 1
            guard CodePoint.isLineBreak(point) else { continue }
            let end = at - 1
            if point == 0x0D, at < count, points[at] == 0x0A { at += 1 }
            lines.append(self[start..<(keepingEnds ? at : end)])
            start = at
        }
        if start < count { lines.append(self[start..<count]) }
        return lines
    }

    // MARK: Case

    var uppercased: Text { replacing { $1 += CodePoint.upper(points[$0]) } }
    var lowercased: Text { replacing { $1 += CodePoint.lower(at: $0, of: points) } }
    var folded: Text { replacing { $1 += CodePoint.folded(points[$0]) } }

    /// The first code point in title case, the others in lower case.
    var capitalised: Text {
        replacing { $1 += $0 == 0 ? CodePoint.title(points[0]) : CodePoint.lower(at: $0, of: points) }
    }

    /// Every word's first letter in title case, the others in lower case; words are runs of cased letters.
    var titled: Text {
        var isInWord = false
        return replacing { index, result in
            result += isInWord ? CodePoint.lower(at: index, of: points) : CodePoint.title(points[index])
            isInWord = CodePoint.isCased(points[index])
        }
    }

    var caseSwapped: Text {
        replacing { index, result in
            let point = points[index]
            if CodePoint.isUppercase(point) {
                result += CodePoint.lower(at: index, of: points)
            } else {
                result += CodePoint.isLowercase(point) ? CodePoint.upper(point) : [point]
            }
        }
    }

    /// `str.isupper` and `str.islower`: some letter has the case, and none the other.
    func isCased(_ isCase: (UInt32) -> Bool, not isOther: (UInt32) -> Bool) -> Bool {
        var holds = false
        for point in points {
            if isOther(point) || CodePoint.isTitlecase(point) { return false }
            if isCase(point) { holds = true }
        }
        return holds
    }

    var isUpper: Bool { isCased(CodePoint.isUppercase, not: CodePoint.isLowercase) }
    var isLower: Bool { isCased(CodePoint.isLowercase, not: CodePoint.isUppercase) }

    var isTitle: Bool {
        var (holds, isInWord) = (false, false)
        for point in points {
            if CodePoint.isUppercase(point) || CodePoint.isTitlecase(point) {
                if isInWord { return false }
                (holds, isInWord) = (true, true)
            } else if CodePoint.isLowercase(point) {
                if !isInWord { return false }
                (holds, isInWord) = (true, true)
            } else {
                isInWord = false
            }
        }
        return holds
    }

    // MARK: Numbers

    /// What Python's `int(text, base)` reads: signs, underscores between digits, prefixes, digits of any script.
    /// - Throws: of reason evaluation beyond Python's limit of digits.
    func integer(base: Int = 10) throws(TemplateError) -> Integer? {
        var rest = stripped().points[...]
        var isNegative = false
        if let sign = rest.first, sign == 0x2B || sign == 0x2D {
            isNegative = sign == 0x2D
            rest.removeFirst()
        }
        var base = base
        let prefixes: [UInt32: Int] = [0x78: 16, 0x58: 16, 0x6F: 8, 0x4F: 8, 0x62: 2, 0x42: 2]
        var isPrefixed = false
        if rest.count > 1, rest.first == 0x30, let radix = prefixes[rest[rest.startIndex + 1]], base == 0 || base == radix {
            base = radix
            rest = rest.dropFirst(2)
            isPrefixed = true
        }
        let mustBeZero = base == 0 && rest.first == 0x30
        if base == 0 { base = 10 }
        var digits: [UInt8] = []
        var wasDigit = isPrefixed
        for point in rest {
            if point == 0x5F {
                guard wasDigit else { return nil }
                wasDigit = false
                continue
            }
            guard let digit = Self.digit(point), digit < base else { return nil }
            digits.append(digit)
            wasDigit = true
        }
        guard !digits.isEmpty, wasDigit, !mustBeZero || digits.allSatisfy({ $0 == 0 }) else { return nil }
        if base & (base - 1) != 0, digits.count > Integer.maximumDigits {
            throw TemplateError(
                .evaluation, "Exceeds the limit (\(Integer.maximumDigits) digits) for integer string conversion")
        }
        guard digits.count <= Integer.maximumBits / (base.bitWidth - 1 - base.leadingZeroBitCount) else { throw Integer.tooLarge }
        return Integer(isNegative: isNegative, digits: digits, radix: base)
    }

    private static func digit(_ point: UInt32) -> UInt8? {
        switch point {
        case 0x61...0x7A: UInt8(point - 0x61 + 10)
        case 0x41...0x5A: UInt8(point - 0x41 + 10)
        default: CodePoint.decimalValue(point)
        }
    }

    /// What Python's `float(text)` reads; nil where it reads nothing.
    var float: Double? {
        var bytes: [UInt8] = []
        for point in stripped().points {
            if let digit = CodePoint.decimalValue(point) {
                bytes.append(0x30 + digit)
            } else {
                guard point < 0x80 else { return nil }
                bytes.append(UInt8(point))
            }
        }
        let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) }
        for (index, byte) in bytes.enumerated() where byte == 0x5F {
            guard index > 0, index + 1 < bytes.count, isDigit(bytes[index - 1]), isDigit(bytes[index + 1]) else { return nil }
        }
        let text = String(decoding: bytes.filter { $0 != 0x5F }, as: UTF8.self).lowercased()
        let unsigned = text.drop { $0 == "+" || $0 == "-" }
        guard text.utf8.count - unsigned.utf8.count <= 1 else { return nil }
        let sign: Double = text.hasPrefix("-") ? -1 : 1
        if ["inf", "infinity"].contains(unsigned) { return sign * .infinity }
        if unsigned == "nan" { return .nan }
        guard unsigned.utf8.allSatisfy({ isDigit($0) || [0x2E, 0x65, 0x2B, 0x2D].contains($0) }),
            unsigned.utf8.contains(where: isDigit)
        else { return nil }
        return FloatText.parse(text)
    }
}
