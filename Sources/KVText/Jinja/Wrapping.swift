/// Python's `textwrap` as Jinja's `wordwrap` uses it.
extension Interpreter {
    func wordWrapped(_ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Text {
        let width = try arguments.size(1) ?? 79
        let breaksWords = arguments[2]?.isTrue ?? true
        let breaksHyphens = arguments[4]?.isTrue ?? true
        let separator = try arguments.text(3, orNone: true)?.plain ?? Text("\n")
        var lines: [Value] = []
        for line in text.lines() {
            let chunks = breaksHyphens ? Self.chunks(line) : Self.plainChunks(line)
            try charge(size: 16 * chunks.count + line.count)
            var wrapped: [Value] = []
            if !chunks.isEmpty {
                guard width > 0 else { throw TemplateError(.evaluation, "invalid width \(width) (must be > 0)") }
                for own in try wrap(chunks, width, breaksWords: breaksWords, breaksHyphens: breaksHyphens) {
                    wrapped.append(.string(own))
                }
                try charge(size: 16 * wrapped.count)
            } else if width <= 0 {
                throw TemplateError(.evaluation, "invalid width \(width) (must be > 0)")
            }
            lines.append(.string(try joined(wrapped, separator)))
        }
        return try joined(lines, separator)
    }

    private func wrap(
        _ chunks: [Text], _ width: Int, breaksWords: Bool, breaksHyphens: Bool
    ) throws(TemplateError) -> [Text] {
        var rest = Array(chunks.reversed())
        var lines: [Text] = []
        func isBlank(_ text: Text) -> Bool { text.stripped().isEmpty }
        while !rest.isEmpty {
            var line: [Text] = []
            var length = 0
            if !lines.isEmpty, let last = rest.last, isBlank(last) { rest.removeLast() }
            while let last = rest.last, length + last.count <= width {
                line.append(rest.removeLast())
                length += last.count
            }
            if let last = rest.last, last.count > width {
                let space = width - length
                if breaksWords {
                    var end = space
                    if breaksHyphens, last.count > space,
                        let hyphen = last.points[..<space].lastIndex(of: 0x2D), hyphen > 0,
                        last.points[..<hyphen].contains(where: { $0 != 0x2D })
                    {
                        end = hyphen + 1
                    }
                    line.append(last[0..<end])
                    try charge(1 + last.count >> 6)
                    rest[rest.count - 1] = last[end..<last.count]
                } else if line.isEmpty {
                    line.append(rest.removeLast())
                }
            }
            if let last = line.last, isBlank(last) { line.removeLast() }
            if !line.isEmpty {
                var text = Text("")
                for part in line { text.append(part) }
                lines.append(text)
            }
        }
        return lines
    }

    private static func isBlank(_ point: UInt32) -> Bool { (0x09...0x0D).contains(point) || point == 0x20 }

    /// Runs of white space and of all else.
    private static func plainChunks(_ text: Text) -> [Text] {
        var chunks: [Text] = []
        var start = 0
        for at in text.points.indices.dropFirst() where isBlank(text.points[at]) != isBlank(text.points[at - 1]) {
            chunks.append(text[start..<at])
            start = at
        }
        if start < text.count { chunks.append(text[start..<text.count]) }
        return chunks
    }

    /// The pieces that a line may be broken between: white space, words, parts of words that end in a hyphen, dashes.
    private static func chunks(_ text: Text) -> [Text] {
        let points = text.points
        let signs: Set<UInt32> = [0x21, 0x22, 0x27, 0x26, 0x2E, 0x2C, 0x3F]
        func isPunctuated(_ at: Int) -> Bool { at >= 0 && (CodePoint.isWord(points[at]) || signs.contains(points[at])) }
        func isLetter(_ at: Int) -> Bool {
            at >= 0 && at < points.count && CodePoint.isWord(points[at]) && !CodePoint.isDecimal(points[at])
        }
        /// Behind which run of dashes, at least two, a word begins.
        func dashesEnd(_ at: Int) -> Int? {
            var end = at
            while end < points.count, points[end] == 0x2D { end += 1 }
            return end - at >= 2 && end < points.count && CodePoint.isWord(points[end]) ? end : nil
        }
        func isHyphen(_ at: Int) -> Bool { at >= 0 && at < points.count && points[at] == 0x2D }
        var chunks: [Text] = []
        var start = 0
        while start < points.count {
            var end = start + 1
            if isBlank(points[start]) {
                while end < points.count, isBlank(points[end]) { end += 1 }
            } else if isPunctuated(start - 1), let dashes = dashesEnd(start) {
                end = dashes
            } else {
                while end < points.count, !isBlank(points[end]) {
                    if isHyphen(end), isLetter(end - 1),
                        isLetter(end - 2) || isHyphen(end - 2) && isLetter(end - 3),
                        isLetter(end + 1), isLetter(end + 2) || isHyphen(end + 2) && isLetter(end + 3)
                    {
                        end += 1
                        break
                    }
                    if isPunctuated(end - 1), dashesEnd(end) != nil { break }
                    end += 1
                }
            }
            chunks.append(text[start..<end])
            start = end
        }
        return chunks
    }
}
