/// GGUF's metadata value types, by number.
package enum MetadataType: UInt32, Sendable {
    case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// Bytes of a value of fixed size; nil for strings and arrays.
    var size: Int? {
        switch self {
        case .uint8, .int8, .bool: 1
        case .uint16, .int16: 2
        case .uint32, .int32, .float32: 4
        case .uint64, .int64, .float64: 8
        case .string, .array: nil
        }
    }
}

package enum MetadataValue: Sendable {
    case unsigned(UInt64)
    case signed(Int64)
    case float(Double)
    case bool(Bool)
    case string(String)
    case array(MetadataArray)
}

/// An array of the file, decoded when asked: its bytes were checked when the file was opened.
package struct MetadataArray: @unchecked Sendable {
    // Read-only pages of the mapping, which `owner` keeps.
    package let elementType: MetadataType
    package let count: Int
    let bytes: UnsafeRawBufferPointer
    let owner: MappedFile

    /// Gives the elements as the file has them.
    package func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) { body(bytes) }

    /// Visits every string's bytes, without making Strings; nothing when the elements are no strings.
    package func forEachStringBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        guard elementType == .string else { return }
        var reader = ByteReader(bytes: bytes)
        for _ in 0..<count {
            guard let string = reader.stringBytes() else { return }
            body(string)
        }
    }

    package func strings() -> [String] {
        var strings: [String] = []
        strings.reserveCapacity(elementType == .string ? count : 0)
        forEachStringBytes { strings.append(String(decoding: $0, as: UTF8.self)) }
        return strings
    }

    /// Integers of any width; empty when the elements are none.
    package func integers() -> [Int] { numbers { $0.integer } }
    /// Floats of either width; empty when the elements are none.
    package func floats() -> [Double] {
        numbers { value in if case .float(let float) = value { float } else { nil } }
    }

    /// Elements as `read` gives them, without a list of values between.
    private func numbers<T>(_ read: (MetadataValue) -> T?) -> [T] {
        guard elementType.size != nil else { return [] }
        var reader = ByteReader(bytes: bytes)
        var numbers: [T] = []
        numbers.reserveCapacity(count)
        for _ in 0..<count {
            guard let value = MetadataValue(elementType, &reader), let number = read(value) else { continue }
            numbers.append(number)
        }
        return numbers
    }

    /// All elements but strings' and arrays'.
    package func values() -> [MetadataValue] {
        guard elementType.size != nil else { return [] }
        var reader = ByteReader(bytes: bytes)
        return (0..<count).compactMap { _ in MetadataValue(elementType, &reader) }
    }
}

extension MetadataValue {
    /// A value of fixed size; nil at the end of the bytes, or for a bool that is neither 0 nor 1.
    init?(_ type: MetadataType, _ reader: inout ByteReader) {
        switch type {
        case .uint8: guard let value = reader.integer(UInt8.self) else { return nil }; self = .unsigned(UInt64(value))
        case .uint16: guard let value = reader.integer(UInt16.self) else { return nil }; self = .unsigned(UInt64(value))
        case .uint32: guard let value = reader.integer(UInt32.self) else { return nil }; self = .unsigned(UInt64(value))
        case .uint64: guard let value = reader.integer(UInt64.self) else { return nil }; self = .unsigned(value)
        case .int8: guard let value = reader.integer(Int8.self) else { return nil }; self = .signed(Int64(value))
        case .int16: guard let value = reader.integer(Int16.self) else { return nil }; self = .signed(Int64(value))
        case .int32: guard let value = reader.integer(Int32.self) else { return nil }; self = .signed(Int64(value))
        case .int64: guard let value = reader.integer(Int64.self) else { return nil }; self = .signed(value)
        case .float32:
            guard let bits = reader.integer(UInt32.self) else { return nil }
            self = .float(Double(Float(bitPattern: bits)))
        case .float64:
            guard let bits = reader.integer(UInt64.self) else { return nil }
            self = .float(Double(bitPattern: bits))
        case .bool:
            guard let byte = reader.integer(UInt8.self), byte < 2 else { return nil }
            self = .bool(byte == 1)
        case .string, .array: return nil
        }
    }

    /// The value as an Int, when it is an integer that fits.
    var integer: Int? {
        switch self {
        case .unsigned(let value): Int(exactly: value)
        case .signed(let value): Int(exactly: value)
        default: nil
        }
    }
}

/// A file's key-value pairs, in its order.
package struct Metadata: Sendable {
    let path: String
    package let keys: [String]
    let values: [String: MetadataValue]

    package subscript(key: String) -> MetadataValue? { values[key] }

    private func get<T>(_ key: String, _ fallback: T?, _ kind: String, _ read: (MetadataValue) -> T?) throws(GGUFError) -> T {
        guard let value = values[key] else {
            if let fallback { return fallback }
            throw GGUFError(kind: .missingKey, file: path, reason: "key \(key) is missing")
        }
        guard let result = read(value) else {
            throw GGUFError(kind: .wrongType, file: path, reason: "key \(key) is \(value.short), not \(kind)")
        }
        return result
    }

    package func integer(_ key: String, default fallback: Int? = nil) throws(GGUFError) -> Int {
        try get(key, fallback, "an integer") { $0.integer }
    }

    /// Any number.
    package func float(_ key: String, default fallback: Double? = nil) throws(GGUFError) -> Double {
        try get(key, fallback, "a number") { value in
            if case .float(let float) = value { float } else { value.integer.map(Double.init) }
        }
    }

    package func bool(_ key: String, default fallback: Bool? = nil) throws(GGUFError) -> Bool {
        try get(key, fallback, "a bool") { if case .bool(let bool) = $0 { bool } else { nil } }
    }

    package func string(_ key: String, default fallback: String? = nil) throws(GGUFError) -> String {
        try get(key, fallback, "a string") { if case .string(let string) = $0 { string } else { nil } }
    }

    package func array(_ key: String) throws(GGUFError) -> MetadataArray {
        try get(key, nil, "an array") { if case .array(let array) = $0 { array } else { nil } }
    }
}

extension MetadataValue {
    /// For messages.
    package var short: String {
        switch self {
        case .unsigned(let value): "\(value)"
        case .signed(let value): "\(value)"
        case .float(let value): "\(value)"
        case .bool(let value): "\(value)"
        case .string(let value): value.count > 80 ? "\"\(value.prefix(80))…\"" : "\"\(value)\""
        case .array(let array): "an array of \(array.count) (\(array.elementType))"
        }
    }
}
