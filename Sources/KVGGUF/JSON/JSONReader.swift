/// Why a text is not JSON, and where.
package struct JSONSyntaxError: Error, CustomStringConvertible, Sendable, Equatable {
    /// Counted from 1; columns in bytes.
    package let line, column: Int
    package let reason: String

    package var description: String { "line \(line), column \(column): \(reason)" }
}

/// Reads JSON in one pass, as Python's `json` writes it: bare `NaN`, `Infinity` and `-Infinity` are numbers, too. Of keys that come twice the last
/// counts. Cost: linear in the bytes; nesting and the number of values are bounded.
struct JSONReader {
    static let maximumDepth = 200
    private let maximumValues: Int

    private let bytes: UnsafeRawBufferPointer
    private var at = 0
    private var values = 0

    /// - Throws: `JSONSyntaxError`.
    static func value(of bytes: UnsafeRawBufferPointer, maximumValues: Int) throws(JSONSyntaxError) -> JSONValue {
        var reader = JSONReader(bytes: bytes, maximumValues: maximumValues)
        // A byte order mark, as some editors write it.
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { reader.at = 3 }
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        guard reader.at == bytes.count else { throw reader.failure("something follows the value") }
        return value
    }

    private init(bytes: UnsafeRawBufferPointer, maximumValues: Int) {
        self.bytes = bytes
        self.maximumValues = maximumValues
    }

    private func failure(_ reason: String, at place: Int? = nil) -> JSONSyntaxError {
        let before = bytes[..<min(place ?? at, bytes.count)]
        let line = 1 + before.count { $0 == 0x0A }
        let start = before.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        return JSONSyntaxError(line: line, column: 1 + before.count - start, reason: reason)
    }

    private mutating func skipSpace() {
        while at < bytes.count, case let byte = bytes[at], byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard at < bytes.count, bytes[at] == byte else { return false }
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

    private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw failure("values nest more than \(Self.maximumDepth) deep") }
        values += 1
        guard values <= maximumValues else { throw failure("more than \(maximumValues) values are not read") }
        skipSpace()
        guard at < bytes.count else { throw failure("a value is missing") }
        switch bytes[at] {
        case UInt8(ascii: "{"): return .object(try object(depth))
        case UInt8(ascii: "["): return .array(try array(depth))
        case UInt8(ascii: "\""): return .string(try string())
        default:
            if word("true") { return .bool(true) }
            if word("false") { return .bool(false) }
            if word("null") { return .null }
            if word("NaN") { return .float(.nan) }
            if word("Infinity") { return .float(.infinity) }
            if word("-Infinity") { return .float(-.infinity) }
            return try number()
        }
    }

    private mutating func object(_ depth: Int) throws(JSONSyntaxError) -> [String: JSONValue] {
        at += 1
        var object: [String: JSONValue] = [:]
        if take(UInt8(ascii: "}")) { return object }
        while true {
            skipSpace()
            let key = try string()
            guard take(UInt8(ascii: ":")) else { throw failure("expected ':'") }
            object[key] = try value(depth: depth + 1)
            if take(UInt8(ascii: "}")) { return object }
            guard take(UInt8(ascii: ",")) else { throw failure("expected ',' or '}'") }
        }
    }

    private mutating func array(_ depth: Int) throws(JSONSyntaxError) -> [JSONValue] {
        at += 1
        var array: [JSONValue] = []
        if take(UInt8(ascii: "]")) { return array }
        while true {
            array.append(try value(depth: depth + 1))
            if take(UInt8(ascii: "]")) { return array }
            guard take(UInt8(ascii: ",")) else { throw failure("expected ',' or ']'") }
        }
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
        let start = at
        while at < bytes.count, case let byte = bytes[at],
            (0x30...0x39).contains(byte) || byte == 0x2B || byte == 0x2D || byte == 0x2E || byte | 0x20 == 0x65
        {
            at += 1
        }
        let digits = bytes[start..<at]
        // A number of any length is one; only so many of its characters are looked at.
        guard let first = digits.first, first != 0x2B, first != 0x2E, digits.count <= 4096 else {
            throw failure("expected a value", at: start)
        }
        let text = String(decoding: digits, as: UTF8.self)
        if let integer = Int(text) { return .integer(integer) }
        guard let float = Double(text) else { throw failure("\"\(text.prefix(40))\" is no number", at: start) }
        return .float(float)
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw failure("expected a string") }
        let start = at
        at += 1
        var text: [UInt8] = []
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") {
                guard let string = String(validating: text, as: UTF8.self) else { throw failure("not UTF-8", at: start) }
                return string
            }
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            guard at < bytes.count else { break }
            let escape = bytes[at]
            at += 1
            switch escape {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "u"): text.append(contentsOf: String(Character(try escapedScalar())).utf8)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escape)
            default: throw failure("no such escape", at: at - 2)
            }
        }
        throw failure("a string has no end", at: start)
    }

    /// Four hexadecimal digits.
    private mutating func unit() throws(JSONSyntaxError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard at < bytes.count, let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else {
                throw failure("\\u needs four hexadecimal digits")
            }
            unit = unit << 4 | UInt32(digit)
            at += 1
        }
        return unit
    }

    /// A character outside the first plane is two units; half a pair is U+FFFD.
    private mutating func escapedScalar() throws(JSONSyntaxError) -> Unicode.Scalar {
        let first = try unit()
        if (0xD800..<0xDC00).contains(first), word("\\u") {
            let after = at
            let second = try unit()
            if (0xDC00..<0xE000).contains(second) {
                return Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)) ?? "\u{FFFD}"
            }
            at = after - 2
        }
        return Unicode.Scalar(first) ?? "\u{FFFD}"
    }
}
