/// Reads JSON as a template's values: keys stay in order, integers stay integers, all text is foreign.
struct JSONReader {
    private let bytes: [UInt8]
    private var at = 0

    /// - Throws: `TemplateError` of reason input, with the line.
    static func value(of json: String) throws(TemplateError) -> Value {
        var reader = JSONReader(bytes: Array(json.utf8))
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.at == reader.bytes.count else { throw reader.failure("something follows the value") }
        return value
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func failure(_ message: String) -> TemplateError {
        let line = 1 + bytes[..<min(at, bytes.count)].count { $0 == 0x0A }
        return TemplateError(.input, "not JSON: \(message) in line \(line)")
    }

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        skipSpace()
        guard at < bytes.count, UInt32(bytes[at]) == byte.value else { return false }
        at += 1
        return true
    }

    private mutating func word(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { word in
            guard bytes[at...].starts(with: word) else { return false }
            at += word.count
            return true
        }
    }

    private mutating func value(depth: Int) throws(TemplateError) -> Value {
        guard depth < Value.maximumDepth else { throw failure("values nest more than \(Value.maximumDepth) deep") }
        skipSpace()
        guard at < bytes.count else { throw failure("a value is missing") }
        switch bytes[at] {
        case UInt8(ascii: "{"):
            at += 1
            var entries: [(key: Value, value: Value)] = []
            while !take("}") {
                if !entries.isEmpty, !take(",") { throw failure("expected ',' or '}'") }
                skipSpace()
                let key = try string()
                guard take(":") else { throw failure("expected ':'") }
                entries.append((.string(Text(points: key, isForeign: true)), try value(depth: depth + 1)))
            }
            return try .map(entries)
        case UInt8(ascii: "["):
            at += 1
            var items: [Value] = []
            while !take("]") {
                if !items.isEmpty, !take(",") { throw failure("expected ',' or ']'") }
                items.append(try value(depth: depth + 1))
            }
            return try .list(items)
        case UInt8(ascii: "\""): return .string(Text(points: try string(), isForeign: true))
        default:
            if word("true") { return .bool(true) }
            if word("false") { return .bool(false) }
            if word("null") { return .none }
            // As Python's json writes and reads them.
            if word("NaN") { return .float(.nan) }
            if word("Infinity") { return .float(.infinity) }
            if word("-Infinity") { return .float(-.infinity) }
            return try number()
        }
    }

    /// An integer of any size, or a floating-point number.
    private mutating func number() throws(TemplateError) -> Value {
        func digits(_ reader: inout JSONReader) -> Int {
            let start = reader.at
            while reader.at < reader.bytes.count, (0x30...0x39).contains(reader.bytes[reader.at]) { reader.at += 1 }
            return reader.at - start
        }
        func sees(_ characters: String) -> Bool { at < bytes.count && characters.utf8.contains(bytes[at]) }
        let start = at
        if sees("-") { at += 1 }
        let first = at
        guard digits(&self) > 0, at == first + 1 || bytes[first] != 0x30 else { throw failure("expected a value") }
        let whole = bytes[first..<at]
        var isFloat = false
        if sees(".") {
            isFloat = true
            at += 1
            guard digits(&self) > 0 else { throw failure("a number has no digits behind its point") }
        }
        if sees("eE") {
            isFloat = true
            at += 1
            if sees("+-") { at += 1 }
            guard digits(&self) > 0 else { throw failure("a number has no exponent") }
        }
        if isFloat {
            guard let float = FloatText.parse(String(decoding: bytes[start..<at], as: UTF8.self)) else {
                throw failure("expected a value")
            }
            return .float(float)
        }
        guard whole.count <= Integer.maximumDigits,
            let integer = Integer(isNegative: first > start, digits: whole.map { $0 - 0x30 }, radix: 10)
        else { throw failure("an integer has more than \(Integer.maximumDigits) digits") }
        return .integer(integer)
    }

    /// The code points of a string, lone surrogates among them.
    private mutating func string() throws(TemplateError) -> [UInt32] {
        guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw failure("expected a string") }
        at += 1
        var text: [UInt32] = []
        var plain = at
        func flush(_ reader: JSONReader) {
            text.append(
                contentsOf: String(decoding: reader.bytes[plain..<reader.at], as: UTF8.self).unicodeScalars.lazy.map(\.value))
        }
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                flush(self)
                at += 1
                return text
            }
            guard byte >= 0x20 else { throw failure("a control character in a string") }
            guard byte == UInt8(ascii: "\\") else {
                at += 1
                continue
            }
            flush(self)
            at += 2
            guard at <= bytes.count else { break }
            switch bytes[at - 1] {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(UInt32(bytes[at - 1]))
            case UInt8(ascii: "u"): text.append(try escapedPoint())
            default: throw failure("an unknown escape in a string")
            }
            plain = at
        }
        throw failure("a string has no end")
    }

    private mutating func unit() throws(TemplateError) -> UInt32 {
        guard at + 4 <= bytes.count, bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let unit = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        else { throw failure("\\u needs four hexadecimal digits") }
        at += 4
        return unit
    }

    private mutating func escapedPoint() throws(TemplateError) -> UInt32 {
        let first = try unit()
        if (0xD800..<0xDC00).contains(first), bytes[at...].starts(with: Array("\\u".utf8)) {
            let after = at
            at += 2
            let second = try unit()
            if (0xDC00..<0xE000).contains(second) { return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00) }
            at = after
        }
        return first
    }
}
