/// Filters of texts and numbers.
extension Interpreter {
    func textFilter(_ name: String, _ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        if name == "indent" || name == "wordwrap" || name == "truncate" { return try wrap(name, value, arguments) }
        let text = try text(of: value)
        try charge(size: text.count)
        try charge(text.count >> 4)
        switch name {
        case "safe": return .string(text.safe)
        case "string": return .string(text)
        case "trim": return .string(text.stripped(try arguments.text(1, orNone: true)))
        case "upper": return .string(text.uppercased)
        case "lower": return .string(text.lowercased)
        case "capitalize": return .string(text.capitalised)
        case "title": return .string(Self.titled(text.plain))
        case "escape", "e": return .string(text.escaped)
        case "forceescape": return .string(text.forceEscaped)
        case "striptags": return .string(try stripTags(text))
        case "center":
            let width = try arguments.size(1) ?? 80
            let bound = try ("width fillchar=" as Signature).bind(Arguments(positional: [.number(width)]), of: name)
            return .string(try justified(name, text, bound))
        case "replace":
            let (old, new) = (try self.text(of: arguments[1] ?? .none), try self.text(of: arguments[2] ?? .none))
            return .string(try replaced(text.plain, old, new.plain, try arguments.size(3, orNone: true)))
        case "wordcount":
            var (count, isInWord) = (0, false)
            for point in text.points {
                let isWord = CodePoint.isWord(point)
                if isWord, !isInWord { count += 1 }
                isInWord = isWord
            }
            return .number(count)
        default: throw TemplateError(.evaluation, "No filter named '\(name)'.")
        }
    }

    /// Jinja's own title case: words begin behind white space and some signs.
    private static func titled(_ text: Text) -> Text {
        func isBorder(_ point: UInt32) -> Bool {
            CodePoint.isSpace(point) || [0x2D, 0x28, 0x7B, 0x5B, 0x3C].contains(point)
        }
        var start = 0
        return text.replacing { index, result in
            let point = text.points[index]
            if isBorder(point) {
                start = index + 1
                result.append(point)
            } else if index == start {
                result += CodePoint.upper(point)
            } else {
                // A word is by itself where a sigma asks for its end.
                guard point == 0x3A3 else { return result += CodePoint.lower(point) }
                let end = text.points[index...].firstIndex(where: isBorder) ?? text.count
                result += CodePoint.lower(at: index - start - 1, of: Array(text.points[start + 1..<end]))
            }
        }
    }

    private func wrap(_ name: String, _ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        guard case .string(let text) = value else {
            if case .undefined(let words) = value, name != "truncate" { throw TemplateError(.evaluation, words) }
            return try truncated(value, name, arguments)
        }
        try charge(size: text.count)
        switch name {
        case "indent": return .string(try indented(text, arguments))
        case "wordwrap": return .string(try wordWrapped(text.plain, arguments))
        default: return .string(try truncated(text, arguments) ?? text)
        }
    }

    /// Python takes whatever has a length, and gives it back where it is short.
    private func truncated(_ value: Value, _ name: String, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        let count: Int?
        switch value {
        case .undefined: count = 0
        case .list(let list): count = list.items.count
        case .map(let map): count = map.entries.count
        default: count = nil
        }
        guard name == "truncate", let count,
            try truncated(Text(points: [UInt32](repeating: 0x61, count: count)), arguments) == nil
        else { throw TemplateError(.evaluation, "\(name) needs a string, not \(value.typeName)") }
        return value
    }

    /// nil where the text is short enough.
    private func truncated(_ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Text? {
        let end = try arguments.text(3) ?? Text("...")
        let length = try arguments.integer(1)?.clamped ?? 255
        let leeway = try arguments.integer(4, orNone: true)?.clamped ?? 5
        guard length >= end.count, leeway >= 0 else {
            throw TemplateError(.evaluation, "expected length >= \(end.count) and leeway >= 0")
        }
        let (longest, overflows) = length.addingReportingOverflow(leeway)
        if overflows || text.count <= longest { return nil }
        var start = text[0..<length - end.count]
        if !arguments.flag(2), let space = start.points.lastIndex(of: 0x20) { start = start[0..<space] }
        return start + end
    }

    private func indented(_ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Text {
        let indentation: Text
        if case .string(let own)? = arguments[1] {
            indentation = own.marked(as: text)
        } else {
            let count = max(0, try arguments.size(1) ?? 4)
            try charge(size: count)
            indentation = Text(String(repeating: " ", count: count)).marked(as: text)
        }
        let isBlank = arguments.flag(3)
        var whole = text
        whole.append("\n")
        let lines = whole.lines()
        let (size, overflows) = lines.count.multipliedReportingOverflow(by: indentation.count + 16)
        try charge(size: overflows ? .max : size)
        var result = Text("").marked(as: text)
        for (index, line) in lines.enumerated() {
            if index > 0 { result.append("\n") }
            if index == 0 ? arguments.flag(2) : isBlank || !line.isEmpty { result.append(indentation) }
            result.append(line)
        }
        return result
    }

    // MARK: Numbers

    func number(_ name: String, _ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        if case .undefined(let words) = value { throw TemplateError(.evaluation, words) }
        if case .string(let text) = value { try charge(1 + text.count) }
        switch name {
        case "int": return try integer(value, arguments)
        case "float":
            if let number = try floatValue(value) { return .float(number) }
            guard case .string(let text) = value, let number = text.float else { return arguments[1] ?? .float(0) }
            return .float(number)
        case "abs":
            if let integer = value.integer { return .integer(integer.magnitude) }
            if case .float(let float) = value { return .float(float.magnitude) }
        case "filesizeformat":
            var number = try floatValue(value)
            if number == nil, case .string(let text) = value { number = text.float }
            if let number { return .text(try fileSize(number, isBinary: arguments.flag(1))) }
        default: return try rounded(value, arguments)
        }
        throw TemplateError(.evaluation, "bad operand type for \(name)(): '\(value.typeName)'")
    }

    /// Jinja's `int`: what Python's `int` reads, else the whole part of what `float` reads, else the default.
    private func integer(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        let fallback = arguments[1] ?? .number(0)
        if let integer = value.integer { return .integer(integer) }
        if case .float(let float) = value {
            if let integer = Integer(truncating: float) { return .integer(integer) }
            guard float.isNaN else { throw TemplateError(.evaluation, "cannot convert float infinity to integer") }
            return fallback
        }
        guard case .string(let text) = value else { return fallback }
        let base = arguments[2]?.integer?.small ?? (arguments[2] == nil ? 10 : -1)
        if base == 0 || (2...36).contains(base) {
            do throws(TemplateError) {
                if let integer = try text.integer(base: base) {
                    try charge(integer.weight * integer.weight)
                    return .integer(integer)
                }
            } catch  where error.reason == .evaluation {
            } catch { throw error }
        }
        return text.float.flatMap { Integer(truncating: $0) }.map { .integer($0) } ?? fallback
    }

    private func rounded(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        let method = try arguments.text(2) ?? Text("common")
        let isCommon = method.equals("common")
        guard isCommon || method.equals("ceil") || method.equals("floor") else {
            throw TemplateError(.evaluation, "method must be common, ceil or floor")
        }
        guard value.integer != nil || value.number != nil else {
            throw TemplateError(.evaluation, "type \(value.typeName) doesn't define __round__ method")
        }
        guard isCommon else {
            let scale = try compute(.number(10), .power, arguments[1] ?? .number(0))
            let scaled = try compute(value, .multiply, scale)
            guard case .float(let float) = scaled else { return try compute(scaled, .divide, scale) }
            guard let whole = Integer(truncating: float.rounded(method.equals("ceil") ? .up : .down)) else {
                throw TemplateError(.evaluation, "cannot convert float infinity or NaN to integer")
            }
            return try compute(.integer(whole), .divide, scale)
        }
        let isNone = arguments[1]?.isNone ?? false
        let precision = try arguments.integer(1, orNone: true) ?? Integer(0)
        if let integer = value.integer {
            return .integer(precision.isNegative ? try Self.rounded(integer, precision) : integer)
        }
        guard case .float(let float) = value else { return value }
        let result = try FloatText.rounded(float, digits: precision.clamped)
        guard isNone else {
            guard let result else { throw TemplateError(.evaluation, "rounded value too large to represent") }
            return .float(result)
        }
        guard let whole = result.flatMap({ Integer(truncating: $0) }) else {
            throw TemplateError(.evaluation, "cannot convert float infinity or NaN to integer")
        }
        return .integer(whole)
    }

    /// An integer to a power of ten, ties to even.
    private static func rounded(_ integer: Integer, _ precision: Integer) throws(TemplateError) -> Integer {
        let digits = (-precision).clamped
        guard digits <= integer.bitCount else { return Integer(0) }
        let unit = try Integer.powerOfTen(digits)
        var (quotient, remainder) = try integer.dividedFloor(by: unit)
        let twice = try remainder + remainder
        if unit < twice || unit == twice && quotient.isOdd { quotient = try quotient + Integer(1) }
        remainder = try quotient * unit
        return remainder
    }

    private func fileSize(_ bytes: Double, isBinary: Bool) throws(TemplateError) -> String {
        let base: Double = isBinary ? 1024 : 1000
        if bytes == 1 { return "1 Byte" }
        if bytes < base {
            guard let whole = Integer(truncating: bytes) else {
                throw TemplateError(.evaluation, "cannot convert float infinity or NaN to integer")
            }
            return "\(try whole.decimal()) Bytes"
        }
        var unit = base
        for (index, prefix) in "kMGTPEZY".enumerated() {
            unit *= base
            if bytes < unit || index == 7 {
                let number = try NumberText.printed(base * bytes / unit, kind: "f", precision: 1, isAlternate: false)
                return "\(number) \(isBinary ? prefix.uppercased() + "i" : String(prefix))B"
            }
        }
        return ""
    }

    // MARK: HTML and URLs

    func xmlAttributes(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Text {
        guard case .map(let map) = value else {
            if case .undefined(let words) = value { throw TemplateError(.evaluation, words) }
            throw TemplateError(.evaluation, "'\(value.typeName)' object has no attribute 'items'")
        }
        var result = Text("")
        for (key, value) in map.entries {
            if value.isNone || value.isUndefined { continue }
            guard case .string(let name) = key else {
                throw TemplateError(.evaluation, "expected string or bytes-like object, got '\(key.typeName)'")
            }
            let isWrong: (UInt32) -> Bool = { (0x09...0x0D).contains($0) || [0x20, 0x2F, 0x3E, 0x3D].contains($0) }
            guard !name.points.contains(where: isWrong) else {
                throw TemplateError(.evaluation, "Invalid character in attribute name: '\(name.string)'")
            }
            if !result.isEmpty { result.append(" ") }
            result.append(name.escaped)
            result.append("=\"")
            result.append(try text(of: value).escaped)
            result.append("\"")
            try charge(size: result.count)
        }
        if arguments[1]?.isTrue ?? true, !result.isEmpty { return Text(" ") + result }
        return result
    }

    func urlEncoded(_ value: Value) throws(TemplateError) -> Text {
        if case .string(let text) = value { return try urlQuoted(text, isQuery: false) }
        var pairs: [(Value, Value)] = []
        switch value {
        case .map(let map): pairs = map.entries.map { ($0.key, $0.value) }
        case .list, .iterator, .undefined:
            for item in try items(of: value) {
                let parts = try items(of: item)
                guard parts.count == 2 else { throw TemplateError(.evaluation, "urlencode needs pairs") }
                pairs.append((parts[0], parts[1]))
            }
        default: return try urlQuoted(try text(of: value), isQuery: false)
        }
        var result = Text("")
        for (index, pair) in pairs.enumerated() {
            if index > 0 { result.append("&") }
            result.append(try urlQuoted(try text(of: pair.0), isQuery: true))
            result.append("=")
            result.append(try urlQuoted(try text(of: pair.1), isQuery: true))
        }
        return result
    }

    private func urlQuoted(_ text: Text, isQuery: Bool) throws(TemplateError) -> Text {
        try charge(size: text.count * 3)
        guard !text.points.contains(where: CodePoint.isSurrogate) else {
            throw TemplateError(.evaluation, "surrogates not allowed in a URL")
        }
        return text.plain.replacing { index, result in
            let point = text.points[index]
            if point < 0x80,
                CodePoint.isAlphanumeric(point) || [0x5F, 0x2E, 0x2D, 0x7E].contains(point) || !isQuery && point == 0x2F
            {
                result.append(point)
            } else if isQuery, point == 0x20 {
                result.append(0x2B)
            } else {
                for byte in Text(points: [point]).string.utf8 {
                    result += ("%" + Self.hex(UInt32(byte), 2).uppercased()).unicodeScalars.map(\.value)
                }
            }
        }
    }

    /// Python's `pprint` of what fits in a line.
    /// - Throws: of reason evaluation where it does not fit.
    func prettyPrinted(_ value: Value) throws(TemplateError) -> Text {
        let text = try representation(of: value, sortsKeys: true)
        guard text.count <= 80 else {
            throw TemplateError(.evaluation, "pprint of more than 80 characters is not supported")
        }
        return text
    }
}
