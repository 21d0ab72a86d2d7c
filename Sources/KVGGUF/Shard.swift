/// One file of a (possibly split) model: header parsed and checked. GGUF specification: magic, version, counts, metadata, tensor
/// descriptions, padding, data.
struct Shard {
    let file: MappedFile
    let version: UInt32
    let metadata: Metadata
    let tensors: [TensorInfo]
    private let dataStart: Int

    /// - Parameter index: of the shard in its model.
    init(path: String, index: Int) throws(GGUFError) {
        do { file = try MappedFile(path: path) } catch {
            let kind: GGUFError.Kind =
                switch error {
                case .notFound: .notFound
                case .notAFile: .notAFile
                case .empty: .empty
                case .system: .unreadable
                }
            throw GGUFError(kind: kind, file: path, reason: error.reason)
        }
        var parser = Parser(file: file)
        version = try parser.version()
        let tensorCount = try parser.count("tensor count", leastBytes: 8 + 4 + 8 + 4 + 8, most: Parser.mostTensors)
        let pairCount = try parser.count("metadata count", leastBytes: 8 + 4 + 1, most: Parser.mostKeys)
        let pairs = parser
        var metadata = try parser.metadata(pairCount)
        let alignment = try metadata.integer("general.alignment", default: 32)
        guard alignment > 0, alignment & (alignment - 1) == 0, alignment <= 1 << 30 else {
            throw parser.fail(.malformed, "general.alignment is \(alignment), no power of two")
        }
        let headers = try parser.tensorHeaders(tensorCount)
        let start = (parser.reader.position + alignment - 1) & ~(alignment - 1)
        dataStart = start
        var tensors: [TensorInfo] = []
        tensors.reserveCapacity(headers.count)
        for header in headers {
            tensors.append(try parser.check(header, dataStart: start, alignment: alignment, shard: index))
        }
        self.tensors = tensors
        // Arrays are decoded when asked, also after the load: they are read from memory, whatever becomes of the file.
        do {
            let header = UnsafeRawBufferPointer(rebasing: file.bytes[..<parser.reader.position])
            let copy = try MappedFile(name: path, contents: Array(header))
            var again = Parser(file: copy, from: pairs.reader.position)
            metadata = try again.metadata(pairCount)
        } catch let error as MappedFile.Failure {
            throw GGUFError(kind: .unreadable, file: path, reason: error.reason)
        } catch let error as GGUFError {
            if let change = file.change { throw GGUFError(kind: .changed, file: path, reason: change) }
            throw error
        } catch { throw GGUFError(kind: .unreadable, file: path, reason: "\(error)") }
        self.metadata = metadata
    }
}

private struct TensorHeader {
    let name: String
    let dimensions: [UInt64]
    let type: TensorType
    let offset: UInt64
}

/// Reads a header; every failure names what was being read.
private struct Parser {
    let file: MappedFile
    var reader: ByteReader

    init(file: MappedFile, from position: Int = 0) {
        self.file = file
        reader = ByteReader(bytes: file.bytes, position: position)
    }

    /// Far more than any model has, and little enough for memory.
    static let mostTensors = 1 << 20
    static let mostKeys = 1 << 16
    static let mostElements = 1 << 24
    static let mostHeaderBytes = 1 << 28

    func fail(_ kind: GGUFError.Kind, _ reason: String) -> GGUFError {
        GGUFError(kind: kind, file: file.path, reason: reason)
    }

    func truncated(_ what: String) -> GGUFError {
        fail(.truncated, "the file ends (\(file.bytes.count) bytes) within \(what)")
    }

    mutating func version() throws(GGUFError) -> UInt32 {
        guard let magic = reader.take(4) else { throw truncated("the magic") }
        guard magic.elementsEqual("GGUF".utf8) else {
            throw fail(
                .badMagic, "not a GGUF file (it begins with bytes \(magic.map { String($0, radix: 16) }.joined(separator: " ")))")
        }
        guard let version = reader.integer(UInt32.self) else { throw truncated("the version") }
        if version == UInt32(3).byteSwapped || version == UInt32(2).byteSwapped {
            throw fail(.unsupportedVersion, "a big-endian GGUF file; this build reads little-endian ones")
        }
        guard version == 2 || version == 3 else {
            throw fail(.unsupportedVersion, "GGUF version \(version); this build reads 2 and 3")
        }
        return version
    }

    /// A count of things that take at least `leastBytes` each: more than can be there is an error before anything is made for them.
    mutating func count(_ what: String, leastBytes: Int, most: Int) throws(GGUFError) -> Int {
        guard let value = reader.integer(UInt64.self) else { throw truncated("the \(what)") }
        guard value <= UInt64(reader.remaining / leastBytes) else {
            throw fail(.truncated, "the \(what) is \(value), more than the file's \(file.bytes.count) bytes can hold")
        }
        guard value <= UInt64(most) else { throw fail(.malformed, "the \(what) is \(value); more than \(most) are not read") }
        return Int(value)
    }

    /// What has been read so far is to be kept in memory.
    private func checkHeader(_ what: String) throws(GGUFError) {
        guard reader.position <= Self.mostHeaderBytes else {
            throw fail(.malformed, "the header is longer than \(Self.mostHeaderBytes) bytes at \(what)")
        }
    }

    mutating func string(_ what: String) throws(GGUFError) -> String {
        guard let bytes = reader.stringBytes() else { throw truncated(what) }
        return String(decoding: bytes, as: UTF8.self)
    }

    mutating func metadata(_ count: Int) throws(GGUFError) -> Metadata {
        var keys: [String] = []
        var values: [String: MetadataValue] = [:]
        for index in 0..<count {
            let key = try string("key \(index)")
            guard !key.isEmpty, key.utf8.count <= 65535 else { throw fail(.malformed, "key \(index) has \(key.utf8.count) bytes") }
            let type = try self.type("key \(key)")
            let value = try value(key, type, depth: 0)
            try checkHeader("key \(key)")
            guard values.updateValue(value, forKey: key) == nil else { throw fail(.malformed, "key \(key) comes twice") }
            keys.append(key)
        }
        return Metadata(path: file.path, keys: keys, values: values)
    }

    private mutating func type(_ what: String) throws(GGUFError) -> MetadataType {
        guard let number = reader.integer(UInt32.self) else { throw truncated("the type of \(what)") }
        guard let type = MetadataType(rawValue: number) else { throw fail(.malformed, "\(what) has unknown value type \(number)") }
        return type
    }

    private mutating func value(_ key: String, _ type: MetadataType, depth: Int) throws(GGUFError) -> MetadataValue {
        switch type {
        case .string: return .string(try string("the value of key \(key)"))
        case .array: return .array(try array(key, depth: depth))
        default:
            if let value = MetadataValue(type, &reader) { return value }
            if type == .bool, reader.remaining > 0 { throw fail(.malformed, "key \(key) is a bool that is neither 0 nor 1") }
            throw truncated("the value of key \(key)")
        }
    }

    /// Steps over an array, checking that all of it is there.
    private mutating func array(_ key: String, depth: Int) throws(GGUFError) -> MetadataArray {
        guard depth < 8 else { throw fail(.malformed, "key \(key) nests arrays more than 8 deep") }
        let type = try type("key \(key)'s elements")
        let count = try count(
            "length of array \(key)", leastBytes: type.size ?? (type == .string ? 8 : 12), most: Self.mostElements)
        let start = reader.position
        if let size = type.size {
            // No overflow: count ≤ remaining / size.
            guard reader.take(count * size) != nil else { throw truncated("array \(key)") }
        } else {
            for _ in 0..<count {
                if type == .string {
                    guard reader.stringBytes() != nil else { throw truncated("array \(key)") }
                } else {
                    _ = try array(key, depth: depth + 1)
                }
            }
        }
        let bytes = UnsafeRawBufferPointer(rebasing: file.bytes[start..<reader.position])
        return MetadataArray(elementType: type, count: count, bytes: bytes, owner: file)
    }

    mutating func tensorHeaders(_ count: Int) throws(GGUFError) -> [TensorHeader] {
        var headers: [TensorHeader] = []
        var names: Set<String> = []
        for index in 0..<count {
            let name = try string("the name of tensor \(index)")
            guard !name.isEmpty, name.utf8.count <= 1024 else {
                throw fail(.malformed, "tensor \(index) has a name of \(name.utf8.count) bytes")
            }
            try checkHeader("tensor \(name)")
            guard names.insert(name).inserted else { throw fail(.malformed, "tensor \(name) comes twice") }
            guard let rank = reader.integer(UInt32.self) else { throw truncated("tensor \(name)") }
            guard (1...4).contains(rank) else { throw fail(.malformed, "tensor \(name) has \(rank) dimensions, not 1 to 4") }
            var dimensions: [UInt64] = []
            for _ in 0..<rank {
                guard let dimension = reader.integer(UInt64.self) else { throw truncated("tensor \(name)") }
                dimensions.append(dimension)
            }
            guard let type = reader.integer(UInt32.self), let offset = reader.integer(UInt64.self) else {
                throw truncated("tensor \(name)")
            }
            headers.append(
                TensorHeader(name: name, dimensions: dimensions, type: TensorType(rawValue: type), offset: offset))
        }
        return headers
    }

    /// A tensor whose every byte is known to lie in the file (when its type is known).
    func check(_ header: TensorHeader, dataStart: Int, alignment: Int, shard: Int) throws(GGUFError) -> TensorInfo {
        let name = "tensor \(header.name)"
        var elements = 1
        var dimensions: [Int] = []
        for dimension in header.dimensions {
            guard dimension > 0, let size = Int(exactly: dimension) else {
                throw fail(.malformed, "\(name) has a dimension of \(dimension)")
            }
            let (product, overflow) = elements.multipliedReportingOverflow(by: size)
            guard !overflow else { throw fail(.malformed, "\(name): dimensions \(header.dimensions) overflow") }
            elements = product
            dimensions.append(size)
        }
        guard let relative = Int(exactly: header.offset), relative % alignment == 0 else {
            throw fail(.malformed, "\(name): offset \(header.offset) is not aligned to \(alignment)")
        }
        let (offset, overflow) = dataStart.addingReportingOverflow(relative)
        guard !overflow, offset <= file.bytes.count else {
            throw fail(.truncated, "\(name): offset \(header.offset) lies beyond the file's \(file.bytes.count) bytes")
        }
        guard let block = header.type.block, let blockBytes = header.type.blockBytes else {
            return TensorInfo(
                name: header.name, dimensions: dimensions, type: header.type, byteCount: nil, offset: offset, shard: shard)
        }
        guard dimensions[0] % block == 0 else {
            throw fail(.malformed, "\(name): \(dimensions[0]) columns are no multiple of \(header.type)'s block of \(block)")
        }
        let (bytes, tooMany) = (elements / block).multipliedReportingOverflow(by: blockBytes)
        guard !tooMany, bytes <= file.bytes.count - offset else {
            throw fail(
                .truncated,
                "\(name) (\(header.type) \(dimensions)) ends beyond the file's \(file.bytes.count) bytes: is the download complete?"
            )
        }
        return TensorInfo(
            name: header.name, dimensions: dimensions, type: header.type, byteCount: bytes, offset: offset, shard: shard)
    }
}
