/// A JSON value with strings as bytes: of two keys that are canonically equivalent both stay.
indirect enum JSON: Sendable {
    case object([(key: [UInt8], value: JSON)])
    case array([JSON])
    case string([UInt8])
    case integer(Int)
    case number(Double)
    case bool(Bool)
    case null

    /// The value under a key, the last where a key is there twice; nil where there is none, or it is null.
    subscript(key: String) -> JSON? {
        guard case .object(let entries) = self, let found = entries.last(where: { $0.key.elementsEqual(key.utf8) }) else {
            return nil
        }
        if case .null = found.value { return nil }
        return found.value
    }

    var text: String? {
        if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
    }

    /// How a value is shown in an error.
    var shown: String {
        switch self {
        case .object: "an object"
        case .array(let items): "an array of \(items.count)"
        case .string(let bytes): String(decoding: bytes.prefix(200), as: UTF8.self)
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .bool(let value): "\(value)"
        case .null: "null"
        }
    }
}

/// Reads JSON (RFC 8259), and NaN and Infinity as Python writes them. One pass over the bytes.
struct JSONParser {
    /// Deeper values are refused: reading them would run over the stack.
    static let maximumDepth = 128

    private let bytes: [UInt8]
    private var at = 0

    /// What is wrong, and in which line.
    struct Failure: Error {
        let message: String
    }

    static func value(_ bytes: [UInt8]) throws(Failure) -> JSON {
        guard bytes.withUnsafeBufferPointer(UTF8Repair.isValid) else { throw Failure(message: "not UTF-8") }
        var parser = JSONParser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.at == bytes.count else { throw parser.failure("something follows the value") }
        return value
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func failure(_ message: String) -> Failure {
        let line = 1 + bytes[..<min(at, bytes.count)].count { $0 == 0x0A }
        return Failure(message: "not JSON: \(message) in line \(line)")
    }

    private mutating func skipSpace() {
        while at < bytes.count {
            switch bytes[at] {
            case 0x20, 0x09, 0x0A, 0x0D: at += 1
            default: return
            }
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func word(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { word in
            guard bytes.count - at >= word.count, bytes[at..<at + word.count].elementsEqual(word) else { return false }
            at += word.count
            return true
        }
    }

    private mutating func value(depth: Int) throws(Failure) -> JSON {
        guard depth < Self.maximumDepth else { throw failure("values nest more than \(Self.maximumDepth) deep") }
        skipSpace()
        guard at < bytes.count else { throw failure("a value is missing") }
        switch bytes[at] {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default:
            if word("true") { return .bool(true) }
            if word("false") { return .bool(false) }
            if word("null") { return .null }
            if word("NaN") { return .number(.nan) }
            if word("Infinity") { return .number(.infinity) }
            throw failure("a value is missing")
        }
    }

    private mutating func object(_ depth: Int) throws(Failure) -> JSON {
        at += 1
        var entries: [(key: [UInt8], value: JSON)] = []
        if take(UInt8(ascii: "}")) { return .object(entries) }
        while true {
            skipSpace()
            guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw failure("a key is missing") }
            let key = try string()
            guard take(UInt8(ascii: ":")) else { throw failure("expected ':'") }
            entries.append((key, try value(depth: depth + 1)))
            if take(UInt8(ascii: "}")) { return .object(entries) }
            guard take(UInt8(ascii: ",")) else { throw failure("expected ',' or '}'") }
        }
    }

    private mutating func array(_ depth: Int) throws(Failure) -> JSON {
        at += 1
        var items: [JSON] = []
        if take(UInt8(ascii: "]")) { return .array(items) }
        while true {
            items.append(try value(depth: depth + 1))
            if take(UInt8(ascii: "]")) { return .array(items) }
            guard take(UInt8(ascii: ",")) else { throw failure("expected ',' or ']'") }
        }
    }

    private mutating func number() throws(Failure) -> JSON {
        let start = at
        if bytes[at] == UInt8(ascii: "-") {
            at += 1
            if word("Infinity") { return .number(-.infinity) }
        }
        while at < bytes.count {
            switch bytes[at] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"),
                UInt8(ascii: "+"), UInt8(ascii: "-"):
                at += 1
                continue
            default: break
            }
            break
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if let integer = Int(text) { return .integer(integer) }
        guard let number = Double(text) else { throw failure("\u{201C}\(text.prefix(40))\u{201D} is no number") }
        return .number(number)
    }

    /// The bytes of the string that begins here, escapes resolved.
    private mutating func string() throws(Failure) -> [UInt8] {
        at += 1
        let start = at
        while at < bytes.count, bytes[at] != UInt8(ascii: "\""), bytes[at] != UInt8(ascii: "\\"), bytes[at] >= 0x20 { at += 1 }
        var text = Array(bytes[start..<at])
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") { return text }
            guard byte >= 0x20 else { throw failure("a control character in a string") }
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            guard at < bytes.count else { break }
            at += 1
            switch bytes[at - 1] {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(bytes[at - 1])
            case UInt8(ascii: "u"): text.append(contentsOf: Array(String(Character(try scalar())).utf8))
            default: throw failure("an unknown escape")
            }
        }
        throw failure("a string without an end")
    }

    private mutating func scalar() throws(Failure) -> Unicode.Scalar {
        let first = try hex()
        var code = first
        if 0xD800...0xDBFF ~= first {
            guard word("\\u") else { throw failure("half a surrogate pair") }
            let second = try hex()
            guard 0xDC00...0xDFFF ~= second else { throw failure("half a surrogate pair") }
            code = 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw failure("half a surrogate pair") }
        return scalar
    }

    private mutating func hex() throws(Failure) -> UInt32 {
        guard bytes.count - at >= 4, bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        else { throw failure("expected four hexadecimal digits") }
        at += 4
        return value
    }
}
