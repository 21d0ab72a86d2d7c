/// Python's `%` operator and `str.format`.
extension Interpreter {
    private struct Conversion {
        var flags: Set<UInt32> = []
        var width = 0
        var precision: Int?
        var kind: UInt32 = 0

        func has(_ flag: Unicode.Scalar) -> Bool { flags.contains(flag.value) }
    }

    /// The values of a format, one after another or by name.
    private struct FormatValues {
        let single: Value?
        let items: [Value]
        var used = 0

        init(_ values: Value) {
            if case .list(let list) = values, list.isTuple {
                (single, items) = (nil, list.items)
            } else {
                (single, items) = (values, [values])
            }
        }

        mutating func next() throws(TemplateError) -> Value {
            guard used < items.count else { throw TemplateError(.evaluation, "not enough arguments for format string") }
            used += 1
            return items[used - 1]
        }

        /// Whether values that are left over are no error: whatever has items by key.
        var mayBeUnused: Bool {
            switch single {
            case .map, .undefined: true
            case .list(let list): list.isSequence
            default: false
            }
        }
    }

    /// Python's `format % values`.
    func formatted(_ format: Text, _ values: Value) throws(TemplateError) -> Text {
        try charge(format.count)
        var values = FormatValues(values)
        var result = Text("").marked(as: format)
        var at = 0
        while let percent = format.points[at...].firstIndex(of: 0x25) {
            result.append(format[at..<percent])
            at = percent + 1
            try append(conversion(format.points, &at, &values), to: &result, escapes: format.isSafe)
        }
        result.append(format[at..<format.count])
        guard values.used >= values.items.count || values.mayBeUnused else {
            throw TemplateError(.evaluation, "not all arguments converted during string formatting")
        }
        return result
    }

    private func append(_ text: Text?, to result: inout Text, escapes: Bool) throws(TemplateError) {
        guard let text else { return result.append("%") }
        let own = escapes ? text.escaped : text
        try charge(size: own.count)
        result.append(own)
    }

    /// One conversion, from behind its `%`; nil for `%%`.
    private func conversion(
        _ points: [UInt32], _ at: inout Int, _ values: inout FormatValues
    ) throws(TemplateError) -> Text? {
        func peek() throws(TemplateError) -> UInt32 {
            guard at < points.count else { throw TemplateError(.evaluation, "incomplete format") }
            return points[at]
        }
        if try peek() == 0x25 {
            at += 1
            return nil
        }
        var conversion = Conversion()
        var named: Value?
        if try peek() == 0x28 {
            let start = at + 1
            var open = 0
            repeat {
                let point = try peek()
                open += point == 0x28 ? 1 : point == 0x29 ? -1 : 0
                at += 1
            } while open > 0
            guard case .map(let map)? = values.single else { throw TemplateError(.evaluation, "format requires a mapping") }
            let key = Array(points[start..<at - 1])
            guard let value = map[.string(key)] else { throw TemplateError(.evaluation, "no value '\(Text(points: key).string)'") }
            named = value
            values.used = 1
        }
        while [0x2D, 0x2B, 0x20, 0x23, 0x30].contains(try peek()) {
            conversion.flags.insert(points[at])
            at += 1
        }
        let width = try size(points, &at, &values)
        conversion.width = width?.magnitude.clamp ?? 0
        if let width, width < 0 { conversion.flags.insert(0x2D) }
        if try peek() == 0x2E {
            at += 1
            conversion.precision = max(0, try size(points, &at, &values) ?? 0)
        }
        guard conversion.width <= FormatSpecification.maximumWidth,
            conversion.precision ?? 0 <= FormatSpecification.maximumWidth
        else { throw TemplateError(.size, "the format asks for too many characters") }
        if [0x68, 0x6C, 0x4C].contains(try peek()) { at += 1 }
        conversion.kind = try peek()
        at += 1
        if let named { return try formatted(conversion, named) }
        return try formatted(conversion, try values.next())
    }

    /// Digits, or `*` for a value; nil where there is neither.
    private func size(_ points: [UInt32], _ at: inout Int, _ values: inout FormatValues) throws(TemplateError) -> Int? {
        if at < points.count, points[at] == 0x2A {
            at += 1
            guard values.single == nil || values.used == 0, let size = try values.next().integer else {
                throw TemplateError(.evaluation, "* wants int")
            }
            return size.clamped
        }
        var number: Int?
        while at < points.count, (0x30...0x39).contains(points[at]) {
            number = min((number ?? 0) * 10 + Int(points[at] - 0x30), 1 << 40)
            at += 1
        }
        return number
    }

    private func formatted(_ conversion: Conversion, _ value: Value) throws(TemplateError) -> Text {
        try charge(size: conversion.width + (conversion.precision ?? 0))
        let kind = Text(points: [conversion.kind]).string
        switch kind {
        case "s", "r", "a":
            var text = kind == "s" ? try self.text(of: value) : try representation(of: value)
            if kind == "a" { text = Self.ascii(text) }
            if let precision = conversion.precision, precision < text.count { text = text[0..<precision] }
            return padded(Text(""), text, conversion, zeros: false)
        case "c":
            if case .string(let text) = value {
                guard text.count == 1 else { throw TemplateError(.evaluation, "%c requires int or char") }
                return padded(Text(""), text, conversion, zeros: false)
            }
            guard let point = value.integer?.small, (0...0x10FFFF).contains(point) else {
                throw TemplateError(.evaluation, "%c arg not in range(0x110000), or no int")
            }
            // The number may be a message's.
            return padded(Text(""), Text(points: [UInt32(point)], isForeign: true), conversion, zeros: false)
        case "d", "i", "u", "x", "X", "o": return try formattedInteger(conversion, kind, value)
        case "f", "F", "e", "E", "g", "G":
            guard let number = try floatValue(value) else {
                throw TemplateError(.evaluation, "must be real number, not \(value.typeName)")
            }
            let text = try NumberText.printed(
                number.magnitude, kind: kind, precision: conversion.precision ?? 6, isAlternate: conversion.has("#"))
            return padded(sign(number.sign == .minus && !number.isNaN, conversion), Text(text), conversion, zeros: true)
        default:
            throw TemplateError(.evaluation, "unsupported format character '\(kind)' (0x\(String(conversion.kind, radix: 16)))")
        }
    }

    private func formattedInteger(_ conversion: Conversion, _ kind: String, _ value: Value) throws(TemplateError) -> Text {
        var number = value.integer
        if number == nil, case .float(let float) = value, ["d", "i", "u"].contains(kind) {
            number = Integer(truncating: float)
        }
        guard let number else {
            throw TemplateError(.evaluation, "%\(kind) format: a number is required, not \(value.typeName)")
        }
        let radix = kind == "o" ? 8 : kind.lowercased() == "x" ? 16 : 10
        var digits = radix == 10 ? try number.magnitude.decimal() : number.magnitude.text(radix: radix)
        if let precision = conversion.precision, precision > digits.utf8.count {
            digits = String(repeating: "0", count: precision - digits.utf8.count) + digits
        }
        var mark = sign(number.isNegative, conversion)
        if conversion.has("#"), radix != 10 { mark.append("0" + kind) }
        return padded(mark, Text(kind == "X" ? digits.uppercased() : digits), conversion, zeros: true)
    }

    private func sign(_ isNegative: Bool, _ conversion: Conversion) -> Text {
        Text(isNegative ? "-" : conversion.has("+") ? "+" : conversion.has(" ") ? " " : "")
    }

    private func padded(_ mark: Text, _ text: Text, _ conversion: Conversion, zeros: Bool) -> Text {
        let missing = max(0, conversion.width - mark.count - text.count)
        var result = mark
        if conversion.has("-") {
            result.append(text)
            result.append(String(repeating: " ", count: missing))
        } else if zeros, conversion.has("0") {
            result.append(String(repeating: "0", count: missing))
            result.append(text)
        } else {
            result = Text(String(repeating: " ", count: missing))
            result.append(mark)
            result.append(text)
        }
        return result
    }

    // MARK: str.format

    private struct FieldNumbers {
        var next: Int? = 0
    }

    /// Python's `format.format(*positional, **named)`.
    func formatted(_ format: Text, positional: [Value], named: (Key) -> Value?) throws(TemplateError) -> Text {
        var numbers = FieldNumbers()
        return try formatted(format, positional, named, &numbers, depth: 2).marked(as: format)
    }

    private func formatted(
        _ format: Text, _ positional: [Value], _ named: (Key) -> Value?, _ numbers: inout FieldNumbers, depth: Int
    ) throws(TemplateError) -> Text {
        guard depth >= 0 else { throw TemplateError(.evaluation, "Max string recursion exceeded") }
        try charge(format.count)
        var result = Text("")
        var at = 0
        let points = format.points
        while let brace = points[at...].firstIndex(where: { $0 == 0x7B || $0 == 0x7D }) {
            result.append(format[at..<brace])
            at = brace + 1
            if at < points.count, points[at] == points[brace] {
                result.append(format[brace..<at])
                at += 1
                continue
            }
            guard points[brace] == 0x7B, at < points.count else {
                throw TemplateError(.evaluation, "Single '\(points[brace] == 0x7B ? "{" : "}")' encountered in format string")
            }
            let field = try self.field(format, &at)
            var value = try self.value(of: field.name, positional, named, &numbers)
            switch field.conversion {
            case nil: break
            case 0x73: value = .string(try text(of: value).plain)
            case 0x72: value = .string(try representation(of: value))
            case 0x61: value = .string(Self.ascii(try representation(of: value)))
            default: throw TemplateError(.evaluation, "Unknown conversion specifier")
            }
            let specification = try formatted(field.specification, positional, named, &numbers, depth: depth - 1)
            var own = try formatted(value, specification)
            if format.isSafe { own = own.escaped }
            try charge(size: own.count)
            result.append(own)
        }
        result.append(format[at..<format.count])
        return result
    }

    /// Python's `format(value, specification)`.
    func formatted(_ value: Value, _ specification: Text) throws(TemplateError) -> Text {
        if specification.isEmpty { return try text(of: value) }
        let text = try FormatSpecification.format(value, specification)
        try charge(size: text.count)
        return text
    }

    /// A field from behind its brace, up to behind the one that closes it.
    private func field(
        _ format: Text, _ at: inout Int
    ) throws(TemplateError) -> (name: Text, conversion: UInt32?, specification: Text) {
        let points = format.points
        let start = at
        name: while true {
            guard at < points.count else { throw TemplateError(.evaluation, "expected '}' before end of string") }
            switch points[at] {
            case 0x7B: throw TemplateError(.evaluation, "unexpected '{' in field name")
            case 0x5B: while at < points.count, points[at] != 0x5D { at += 1 }
            case 0x7D, 0x3A, 0x21: break name
            default: at += 1
            }
        }
        let name = format[start..<at]
        var conversion: UInt32?
        if points[at] == 0x21 {
            guard at + 2 < points.count else { throw TemplateError(.evaluation, "unmatched '{' in format spec") }
            conversion = points[at + 1]
            at += 2
            guard points[at] == 0x7D || points[at] == 0x3A else {
                throw TemplateError(.evaluation, "expected ':' after conversion specifier")
            }
        }
        at += 1
        if points[at - 1] == 0x7D { return (name, conversion, Text("")) }
        let begin = at
        var open = 1
        while at < points.count {
            open += points[at] == 0x7B ? 1 : points[at] == 0x7D ? -1 : 0
            at += 1
            if open == 0 { return (name, conversion, format[begin..<at - 1]) }
        }
        throw TemplateError(.evaluation, "unmatched '{' in format spec")
    }

    private func value(
        of name: Text, _ positional: [Value], _ named: (Key) -> Value?, _ numbers: inout FieldNumbers
    ) throws(TemplateError) -> Value {
        let points = name.points
        var at = points.firstIndex { $0 == 0x2E || $0 == 0x5B } ?? points.count
        let first = name[0..<at]
        var value: Value
        if first.isEmpty, !points.isEmpty || numbers.next == nil {
            throw TemplateError(.evaluation, "the format's field has no name")
        }
        if first.isEmpty || first.points.allSatisfy({ (0x30...0x39).contains($0) }) {
            let index = first.isEmpty ? numbers.next : try first.integer()?.small
            if first.isEmpty {
                numbers.next = (numbers.next ?? 0) + 1
            } else if at == points.count {
                guard (numbers.next ?? 0) == 0 else {
                    throw TemplateError(.evaluation, "cannot switch from automatic field numbering to manual")
                }
                numbers.next = nil
            }
            guard let index, index < positional.count else {
                throw TemplateError(.evaluation, "no argument for the format's '\(name.string)'")
            }
            value = positional[index]
        } else {
            guard let found = named(.string(first.points)) else {
                throw TemplateError(.evaluation, "no argument for the format's '\(name.string)'")
            }
            value = found
        }
        while at < points.count {
            try charge()
            let isItem = points[at] == 0x5B
            guard isItem || points[at] == 0x2E else {
                throw TemplateError(.evaluation, "Only '.' or '[' may follow ']' in format field specifier")
            }
            let end = points[(at + 1)...].firstIndex { isItem ? $0 == 0x5D : $0 == 0x2E || $0 == 0x5B } ?? points.count
            guard end > at + 1, !isItem || end < points.count else {
                throw TemplateError(.evaluation, "Empty attribute in format string")
            }
            let part = name[at + 1..<end]
            if isItem {
                let isNumber = part.points.allSatisfy { (0x30...0x39).contains($0) }
                value = try item(isNumber ? try part.integer().map { .integer($0) } ?? .string(part) : .string(part), of: value)
            } else {
                value = try attribute(part, of: value)
            }
            at = isItem ? end + 1 : end
        }
        return value
    }
}

extension UInt {
    fileprivate var clamp: Int { Int(exactly: self) ?? .max }
}
