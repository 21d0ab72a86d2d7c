/// JSON as it is written: order and doubled keys are kept, numbers are text, and what is no JSON can be put in.
indirect enum JSONDocument: Sendable {
    case null
    case bool(Bool)
    case number(String)
    case string([UInt8])
    case array([JSONDocument])
    case object([Member])
    /// Written as it is.
    case raw([UInt8])

    struct Member: Sendable {
        var key: [UInt8]
        var value: JSONDocument
    }

    static func text(_ string: String) -> JSONDocument { .string(Array(string.utf8)) }
    static func integer(_ value: Int) -> JSONDocument { .number(String(value)) }
    static func object(_ members: KeyValuePairs<String, JSONDocument>) -> JSONDocument {
        .object(members.map { Member(key: Array($0.key.utf8), value: $0.value) })
    }

    subscript(key: String) -> JSONDocument? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.key.elementsEqual(key.utf8) }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            members.removeAll { $0.key.elementsEqual(key.utf8) }
            if let newValue { members.append(Member(key: Array(key.utf8), value: newValue)) }
            self = .object(members)
        }
    }

    // MARK: Writing

    func serialised() -> [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return bytes
    }

    private func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .number(let text): bytes += text.utf8
        case .string(let text): Self.write(text, to: &bytes)
        case .raw(let text): bytes += text
        case .array(let items):
            bytes.append(UInt8(ascii: "["))
            for (index, item) in items.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                item.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(member.key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: [UInt8], to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    // MARK: Reading

    /// nil for what is no JSON.
    init?(_ bytes: [UInt8]) {
        var reader = JSONDocumentReader(bytes: bytes)
        guard let value = reader.value(depth: 0) else { return nil }
        self = value
    }
}

/// Reads the corpus's files: well-formed JSON, no more.
private struct JSONDocumentReader {
    let bytes: [UInt8]
    var at = 0

    private mutating func skipSpace() {
        while at < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    mutating func value(depth: Int) -> JSONDocument? {
        skipSpace()
        guard at < bytes.count, depth < 100 else { return nil }
        switch bytes[at] {
        case UInt8(ascii: "{"):
            at += 1
            var members: [JSONDocument.Member] = []
            while !take(UInt8(ascii: "}")) {
                if !members.isEmpty, !take(UInt8(ascii: ",")) { return nil }
                skipSpace()
                guard let key = string(), take(UInt8(ascii: ":")), let value = value(depth: depth + 1) else { return nil }
                members.append(JSONDocument.Member(key: key, value: value))
            }
            return .object(members)
        case UInt8(ascii: "["):
            at += 1
            var items: [JSONDocument] = []
            while !take(UInt8(ascii: "]")) {
                if !items.isEmpty, !take(UInt8(ascii: ",")) { return nil }
                guard let item = value(depth: depth + 1) else { return nil }
                items.append(item)
            }
            return .array(items)
        case UInt8(ascii: "\""): return string().map { .string($0) }
        default: return word()
        }
    }

    private mutating func word() -> JSONDocument? {
        let start = at
        while at < bytes.count, ![0x20, 0x09, 0x0A, 0x0D, 0x2C, 0x5D, 0x7D].contains(bytes[at]) { at += 1 }
        switch String(decoding: bytes[start..<at], as: UTF8.self) {
        case "": return nil
        case "null": return .null
        case "true": return .bool(true)
        case "false": return .bool(false)
        case let text: return .number(text)
        }
    }

    private mutating func string() -> [UInt8]? {
        guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { return nil }
        at += 1
        var text: [UInt8] = []
        while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
            guard bytes[at] == UInt8(ascii: "\\"), at + 1 < bytes.count else {
                text.append(bytes[at])
                at += 1
                continue
            }
            switch bytes[at + 1] {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "u"):
                guard at + 6 <= bytes.count, var code = unit(at + 2) else { return nil }
                at += 4
                if (0xD800..<0xDC00).contains(code), at + 8 <= bytes.count, let low = unit(at + 4), (0xDC00..<0xE000).contains(low)
                {
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
                    at += 6
                }
                text += String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8
            default: text.append(bytes[at + 1])
            }
            at += 2
        }
        guard at < bytes.count else { return nil }
        at += 1
        return text
    }

    private func unit(_ start: Int) -> UInt32? { UInt32(String(decoding: bytes[start..<start + 4], as: UTF8.self), radix: 16) }
}
