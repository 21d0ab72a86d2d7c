/// A GGUF file in parts, each of which can be made wrong by itself; the format's definition once more, apart from what reads it.
struct GGUFDocument: Sendable {
    indirect enum Value: Sendable {
        /// A number or a bool, as it lies in the file.
        case scalar([UInt8])
        /// - length: what the file says; nil: the truth.
        case string([UInt8], length: UInt64?)
        case array(type: UInt32, count: UInt64?, elements: [Value])
    }

    struct Pair: Sendable {
        var key: [UInt8]
        var type: UInt32
        var value: Value
        var name: String { String(decoding: key, as: UTF8.self) }
    }

    struct Tensor: Sendable {
        var name: [UInt8]
        var dimensions: [UInt64]
        var type: UInt32
        var offset: UInt64
    }

    var magic = Array("GGUF".utf8)
    var version: UInt32
    /// What the file says; nil: the truth.
    var tensorCount: UInt64?
    var pairCount: UInt64?
    var pairs: [Pair] = []
    var tensors: [Tensor] = []
    var data: [UInt8] = []
    private let alignment = 32

    static let stringType: UInt32 = 8
    static let arrayType: UInt32 = 9
    /// Bytes of a value of fixed size, by type.
    static let sizes: [UInt32: Int] = [0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8]

    static func string(_ text: String) -> Value { .string(Array(text.utf8), length: nil) }

    /// An integer or float of that type from a whole number, cut where it does not fit.
    static func scalar(_ type: UInt32, _ number: Int64) -> Value {
        switch type {
        case 6: return .scalar(bytes(Float(number).bitPattern))
        case 12: return .scalar(bytes(Double(number).bitPattern))
        default: return .scalar(Array(bytes(number).prefix(sizes[type] ?? 8)))
        }
    }

    static func scalar(_ type: UInt32, _ number: Double) -> Value {
        type == 6 ? .scalar(bytes(Float(number).bitPattern)) : .scalar(bytes(number.bitPattern))
    }

    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }

    // MARK: Reading a valid file

    init?(_ file: [UInt8]) {
        var reader = Reader(bytes: file)
        guard reader.take(4) == magic, let version = reader.word(UInt32.self), let tensorCount = reader.word(UInt64.self),
            let pairCount = reader.word(UInt64.self)
        else { return nil }
        self.version = version
        for _ in 0..<pairCount {
            guard let key = reader.string(), let type = reader.word(UInt32.self), let value = reader.value(type) else { return nil }
            pairs.append(Pair(key: key, type: type, value: value))
        }
        for _ in 0..<tensorCount {
            guard let name = reader.string(), let rank = reader.word(UInt32.self) else { return nil }
            var dimensions: [UInt64] = []
            for _ in 0..<rank { reader.word(UInt64.self).map { dimensions.append($0) } }
            guard let type = reader.word(UInt32.self), let offset = reader.word(UInt64.self) else { return nil }
            tensors.append(Tensor(name: name, dimensions: dimensions, type: type, offset: offset))
        }
        data = Array(file[min(file.count, (reader.at + alignment - 1) / alignment * alignment)...])
    }

    private struct Reader {
        let bytes: [UInt8]
        var at = 0

        mutating func take(_ count: Int) -> [UInt8]? {
            guard count >= 0, count <= bytes.count - at else { return nil }
            defer { at += count }
            return Array(bytes[at..<at + count])
        }

        mutating func word<T: FixedWidthInteger>(_ type: T.Type) -> T? {
            take(MemoryLayout<T>.size).map { $0.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(as: T.self)) } }
        }

        mutating func string() -> [UInt8]? { word(UInt64.self).flatMap { Int(exactly: $0) }.flatMap { take($0) } }

        mutating func value(_ type: UInt32) -> Value? {
            if type == GGUFDocument.stringType { return string().map { .string($0, length: nil) } }
            if let size = GGUFDocument.sizes[type] { return take(size).map { .scalar($0) } }
            guard type == GGUFDocument.arrayType, let element = word(UInt32.self), let count = word(UInt64.self) else { return nil }
            var elements: [Value] = []
            for _ in 0..<count {
                guard let value = value(element) else { return nil }
                elements.append(value)
            }
            return .array(type: element, count: nil, elements: elements)
        }
    }

    // MARK: Writing

    func serialised() -> [UInt8] {
        var bytes = magic + Self.bytes(version)
        bytes.reserveCapacity(data.count + (1 << 16))
        bytes += Self.bytes(tensorCount ?? UInt64(tensors.count))
        bytes += Self.bytes(pairCount ?? UInt64(pairs.count))
        for pair in pairs {
            Self.write(pair.key, nil, to: &bytes)
            bytes += Self.bytes(pair.type)
            Self.write(pair.value, to: &bytes)
        }
        for tensor in tensors {
            Self.write(tensor.name, nil, to: &bytes)
            bytes += Self.bytes(UInt32(truncatingIfNeeded: tensor.dimensions.count))
            for dimension in tensor.dimensions { bytes += Self.bytes(dimension) }
            bytes += Self.bytes(tensor.type)
            bytes += Self.bytes(tensor.offset)
        }
        bytes += [UInt8](repeating: 0, count: (alignment - bytes.count % alignment) % alignment)
        return bytes + data
    }

    private static func write(_ string: [UInt8], _ length: UInt64?, to bytes: inout [UInt8]) {
        bytes += Self.bytes(length ?? UInt64(string.count))
        bytes += string
    }

    private static func write(_ value: Value, to bytes: inout [UInt8]) {
        switch value {
        case .scalar(let scalar): bytes += scalar
        case .string(let string, let length): write(string, length, to: &bytes)
        case .array(let type, let count, let elements):
            bytes += Self.bytes(type)
            bytes += Self.bytes(count ?? UInt64(elements.count))
            for element in elements { write(element, to: &bytes) }
        }
    }

    /// Adds data at an aligned place.
    /// - Returns: its offset.
    mutating func append(_ more: [UInt8]) -> UInt64 {
        data += [UInt8](repeating: 0, count: (alignment - data.count % alignment) % alignment)
        defer { data += more }
        return UInt64(data.count)
    }
}
