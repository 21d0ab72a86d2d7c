/// What methods and filters of strings share.
extension Interpreter {
    func replaced(_ text: Text, _ old: Text, _ new: Text, _ count: Int?) throws(TemplateError) -> Text {
        let limit = count.map { $0 < 0 ? .max : $0 } ?? .max
        var result = Text("").marked(as: text)
        if old.isEmpty {
            let (size, overflows) = (text.count + 1).multipliedReportingOverflow(by: new.count + 1)
            try charge(size: overflows ? .max : size)
            for index in 0...text.count {
                if index < limit { result.append(new) }
                if index < text.count { result.append(text[index..<index + 1]) }
            }
            return result
        }
        let offsets = text.offsets(of: old, limit: limit)
        guard !offsets.isEmpty else { return text }
        let (size, overflows) = offsets.count.multipliedReportingOverflow(by: new.count + 16)
        try charge(size: overflows ? .max : size)
        try charge(size: text.count)
        var at = 0
        for offset in offsets {
            result.append(text[at..<offset])
            result.append(new)
            at = offset + old.count
        }
        result.append(text[at..<text.count])
        return result
    }

    /// `separator.join(parts)`, which are strings.
    func joined(_ parts: [Value], _ separator: Text) throws(TemplateError) -> Text {
        var result = Text("").marked(as: separator)
        for (index, part) in parts.enumerated() {
            if index > 0 {
                try charge(size: separator.count)
                result.append(separator)
            }
            var own: Text
            if case .string(let text) = part {
                own = text
            } else {
                guard separator.isSafe else {
                    throw TemplateError(.evaluation, "sequence item \(index): expected str instance, \(part.typeName) found")
                }
                own = try text(of: part)
            }
            if separator.isSafe { own = own.escaped }
            try charge(size: own.count)
            result.append(own)
        }
        return result
    }

    func split(_ text: Text, _ arguments: BoundArguments, fromEnd: Bool) throws(TemplateError) -> Value {
        let asked = try arguments.size(1) ?? -1
        let limit = asked < 0 ? Int.max : asked
        guard let separator = try arguments.text(0, orNone: true) else {
            let words = fromEnd ? text.wordsFromEnd(limit: limit) : text.words(limit: limit)
            try charge(size: words.count * 16)
            return try .list(words.map { .string($0) })
        }
        guard !separator.isEmpty else { throw TemplateError(.evaluation, "empty separator") }
        let offsets =
            fromEnd
            ? text.offsetsFromEnd(of: separator, limit: limit).reversed() : text.offsets(of: separator, limit: limit)
        try charge(size: offsets.count * 16)
        var parts: [Value] = []
        var at = 0
        for offset in offsets {
            parts.append(.string(text[at..<offset]))
            at = offset + separator.count
        }
        parts.append(.string(text[at..<text.count]))
        return try .list(parts)
    }

    func partition(_ text: Text, _ arguments: BoundArguments, fromEnd: Bool) throws(TemplateError) -> Value {
        guard let separator = try arguments.text(0), !separator.isEmpty else {
            throw TemplateError(.evaluation, "empty separator")
        }
        let offset =
            (fromEnd ? text.offsetsFromEnd(of: separator, limit: 1) : text.offsets(of: separator, limit: 1)).first
        let empty = text[0..<0]
        let parts: [Text]
        if let offset {
            parts = [text[0..<offset], separator.marked(as: text), text[offset + separator.count..<text.count]]
        } else {
            parts = fromEnd ? [empty, empty, text] : [text, empty, empty]
        }
        return try .list(parts.map { .string($0) }, .tuple)
    }

    func justified(_ name: String, _ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Text {
        let width = try arguments.size(0) ?? 0
        guard width > text.count else {
            if name != "zfill", let fill = try arguments.text(1), fill.count != 1 {
                throw TemplateError(.evaluation, "The fill character must be exactly one character long")
            }
            return text
        }
        try charge(size: width)
        let missing = width - text.count
        if name == "zfill" {
            let isSigned = text.points.first == 0x2B || text.points.first == 0x2D
            var result = text[0..<(isSigned ? 1 : 0)]
            result.append(String(repeating: "0", count: missing))
            result.append(text[(isSigned ? 1 : 0)..<text.count])
            return result
        }
        var fill = try arguments.text(1) ?? Text(" ")
        if text.isSafe { fill = fill.escaped }
        guard fill.count == 1 else {
            throw TemplateError(.evaluation, "The fill character must be exactly one character long")
        }
        return padded(
            text, fill, missing, before: name == "center" ? missing / 2 + (missing & width & 1) : name == "rjust" ? missing : 0)
    }

    private func padded(_ text: Text, _ fill: Text, _ missing: Int, before: Int) -> Text {
        var result = fill.repeated(before).marked(as: text)
        result.append(text)
        result.append(fill.repeated(missing - before))
        return result
    }

    func expanded(_ text: Text, _ size: Int) throws(TemplateError) -> Text {
        var result: [UInt32] = []
        var column = 0
        let tabs = text.points.count { $0 == 0x09 }
        let (most, overflows) = tabs.multipliedReportingOverflow(by: max(0, size))
        try charge(size: overflows ? .max : most)
        for point in text.points {
            if point == 0x09 {
                guard size > 0 else { continue }
                let missing = size - column % size
                result += [UInt32](repeating: 0x20, count: missing)
                column += missing
            } else {
                result.append(point)
                column = point == 0x0A || point == 0x0D ? 0 : column + 1
            }
        }
        return text.mapped { _ in result }
    }

    // MARK: HTML

    /// Without comments and tags, white space as single spaces, entities as characters.
    func stripTags(_ text: Text) throws(TemplateError) -> Text {
        try charge(size: text.count)
        let comments = removed(text.plain, from: "<!--", to: "-->", skipping: 0)
        let tags = removed(comments, from: "<", to: ">", skipping: 0)
        let words = tags.words()
        try charge(size: words.count * 16)
        return try unescape(try joined(words.map { .string($0) }, Text(" ")))
    }

    /// Without what lies between two marks, again and again from the front, as long as there is an end.
    private func removed(_ text: Text, from open: String, to close: String, skipping: Int) -> Text {
        let starts = text.offsets(of: Text(open))
        let ends = text.offsets(of: Text(close))
        var result = Text("")
        var at = 0
        var next = 0
        for start in starts where start >= at {
            while next < ends.count, ends[next] < start + (open == "<" ? 1 : 0) { next += 1 }
            // An end mark may begin within the start mark, as Python searches it from there.
            guard next < ends.count else { break }
            result.append(text[at..<start])
            at = ends[next] + close.utf8.count
        }
        result.append(text[at..<text.count])
        return result
    }

    private static let entities: [String: UInt32] = ["amp": 0x26, "lt": 0x3C, "gt": 0x3E, "quot": 0x22, "apos": 0x27]

    /// Numbers and HTML's five signs as characters.
    /// - Throws: of reason evaluation for other entities, of which there are thousands.
    func unescape(_ text: Text) throws(TemplateError) -> Text {
        let points = text.points
        guard points.contains(0x26) else { return text.plain }
        try charge(size: points.count)
        var result: [UInt32] = []
        var at = 0
        while at < points.count {
            guard points[at] == 0x26 else {
                result.append(points[at])
                at += 1
                continue
            }
            var end = at + 1
            while end < points.count, end - at < 40, points[end] < 0x80,
                CodePoint.isAlphanumeric(points[end]) || points[end] == 0x23
            {
                end += 1
            }
            let name = Text(points: Array(points[at + 1..<end])).string
            let hasEnd = end < points.count && points[end] == 0x3B
            if hasEnd, let point = Self.entities[name] {
                result.append(point)
                at = end + 1
            } else if hasEnd, name.hasPrefix("#"), let point = Self.numbered(name), point >= 0x20, !(0x7F...0x9F).contains(point),
                Unicode.Scalar(point) != nil
            {
                result.append(point)
                at = end + 1
            } else if name.isEmpty || !(name.hasPrefix("#") || name.first?.isLetter == true) {
                result.append(0x26)
                at += 1
            } else {
                throw TemplateError(.evaluation, "the HTML entity '&\(name)' is not supported")
            }
        }
        return text.plain.mapped { _ in result }
    }

    private static func numbered(_ name: String) -> UInt32? {
        let digits = name.dropFirst()
        return digits.lowercased().hasPrefix("x") ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
    }
}
