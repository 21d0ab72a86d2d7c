import Foundation

/// Why a safetensors file cannot be read or written.
package struct SafetensorsError: Error, CustomStringConvertible, Sendable, Equatable {
    package let description: String
    init(_ path: String, _ reason: String) { description = "\(path): \(reason)" }
    init(_ error: OutputError) { description = error.description }
}

/// Element types, by the format's names.
private let elementBytes = [
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
    "BOOL": 1,
]

/// A safetensors file, mapped read-only: eight bytes of header length, a JSON header, data.
package final class SafetensorsFile: Sendable {
    package struct Tensor: Sendable {
        package let dtype: String
        package let shape: [Int]
        let range: Range<Int>
    }

    let file: MappedFile
    let tensors: [String: Tensor]
    package var names: [String] { tensors.keys.sorted() }

    /// - Throws: `SafetensorsError` naming the file and tensor.
    package init(path: String) throws(SafetensorsError) {
        do { file = try MappedFile(path: path) } catch { throw SafetensorsError(path, error.reason) }
        var reader = ByteReader(bytes: file.bytes)
        guard let length = reader.count(), let header = reader.take(length), length <= 100 << 20 else {
            throw SafetensorsError(path, "the header does not fit the file's \(file.bytes.count) bytes")
        }
        let json: JSONValue
        do { json = try JSONValue(header) } catch { throw SafetensorsError(path, "the header is not JSON: \(error)") }
        guard case .object(let entries) = json else { throw SafetensorsError(path, "the header is no JSON object") }
        var tensors: [String: Tensor] = [:]
        for (name, value) in entries where name != "__metadata__" {
            guard case .object(let entry) = value, case .string(let dtype)? = entry["dtype"],
                let shape = entry["shape"]?.integers, let offsets = entry["data_offsets"]?.integers, offsets.count == 2
            else { throw SafetensorsError(path, "tensor \(name) is not described as the format asks") }
            guard let size = elementBytes[dtype] else { throw SafetensorsError(path, "tensor \(name) has unknown dtype \(dtype)") }
            var bytes = size
            for dimension in shape {
                let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
                guard dimension >= 0, !overflow else { throw SafetensorsError(path, "tensor \(name): shape \(shape)") }
                bytes = product
            }
            guard offsets[0] >= 0, offsets[0] <= offsets[1], offsets[1] <= reader.remaining, offsets[1] - offsets[0] == bytes else {
                throw SafetensorsError(path, "tensor \(name): offsets \(offsets) do not fit its shape \(shape) or the file")
            }
            tensors[name] = Tensor(dtype: dtype, shape: shape, range: reader.position + offsets[0]..<reader.position + offsets[1])
        }
        self.tensors = tensors
    }

    package func tensor(_ name: String) -> (dtype: String, shape: [Int], bytes: UnsafeRawBufferPointer)? {
        tensors[name].map { ($0.dtype, $0.shape, UnsafeRawBufferPointer(rebasing: file.bytes[$0.range])) }
    }

    private func required(_ name: String) throws(SafetensorsError) -> (dtype: String, shape: [Int], bytes: UnsafeRawBufferPointer) {
        guard let tensor = tensor(name) else { throw SafetensorsError(file.path, "tensor \(name) is missing") }
        return tensor
    }

    /// Elements of an F32, F16, BF16 or F64 tensor.
    package func floats(_ name: String) throws(SafetensorsError) -> [Float] {
        let (dtype, _, bytes) = try required(name)
        func map<T>(_ type: T.Type, _ convert: (T) -> Float) -> [Float] {
            let size = MemoryLayout<T>.size
            return (0..<bytes.count / size).map { convert(bytes.loadUnaligned(fromByteOffset: $0 * size, as: type)) }
        }
        switch dtype {
        case "F32": return map(UInt32.self) { Float(bitPattern: $0) }
        case "F64": return map(UInt64.self) { Float(Double(bitPattern: $0)) }
        case "BF16": return map(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
        case "F16": return map(UInt16.self) { Self.half($0) }
        default: throw SafetensorsError(file.path, "tensor \(name) has dtype \(dtype), no float type")
        }
    }

    /// Elements of an integer tensor.
    package func integers(_ name: String) throws(SafetensorsError) -> [Int] {
        let (dtype, _, bytes) = try required(name)
        func map<T: FixedWidthInteger>(_ type: T.Type) -> [Int] {
            let size = MemoryLayout<T>.size
            return (0..<bytes.count / size).map {
                Int(truncatingIfNeeded: bytes.loadUnaligned(fromByteOffset: $0 * size, as: type))
            }
        }
        switch dtype {
        case "I64": return map(Int64.self)
        case "I32": return map(Int32.self)
        case "I16": return map(Int16.self)
        case "I8": return map(Int8.self)
        case "U8", "BOOL": return map(UInt8.self)
        case "U16": return map(UInt16.self)
        case "U32": return map(UInt32.self)
        default: throw SafetensorsError(file.path, "tensor \(name) has dtype \(dtype), no integer type")
        }
    }

    private static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 == 0 ? 1 : -1
        let exponent = Int(bits >> 10) & 31
        let mantissa = Float(bits & 0x3FF)
        switch exponent {
        case 0: return sign * mantissa * 0x1p-24
        case 31: return mantissa == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + mantissa * 0x1p-10)
        }
    }
}

/// Writes a safetensors file tensor by tensor.
package final class SafetensorsWriter {
    private let file: OutputFile
    private var pending: [(name: String, bytes: Int)]

    /// - Parameters:
    ///   - file: becomes the output with `finish`, and is otherwise as it was.
    ///   - tensors: in the order in which they will be appended.
    /// - Throws: `SafetensorsError`.
    package init(
        _ file: OutputFile, tensors: [(name: String, dtype: String, shape: [Int])], metadata: [String: String] = [:]
    ) throws(SafetensorsError) {
        self.file = file
        var header: [String: Any] = metadata.isEmpty ? [:] : ["__metadata__": metadata]
        var offset = 0
        pending = []
        for tensor in tensors {
            guard let size = elementBytes[tensor.dtype] else {
                throw SafetensorsError(file.path, "tensor \(tensor.name) has unknown dtype \(tensor.dtype)")
            }
            let bytes = tensor.shape.reduce(size, *)
            header[tensor.name] = ["dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [offset, offset + bytes]]
            pending.append((tensor.name, bytes))
            offset += bytes
        }
        guard var json = try? JSONSerialization.data(withJSONObject: header, options: [.sortedKeys]) else {
            throw SafetensorsError(file.path, "the header cannot be written as JSON")
        }
        // The data begins on a multiple of 8.
        while json.count % 8 != 0 { json.append(0x20) }
        do throws(OutputError) {
            try withUnsafeBytes(of: UInt64(json.count).littleEndian) { bytes throws(OutputError) in try file.write(bytes) }
            try [UInt8](json).withUnsafeBufferPointer { bytes throws(OutputError) in try file.write(UnsafeRawBufferPointer(bytes)) }
        } catch { throw SafetensorsError(error) }
    }

    /// The same with a file of its own.
    /// - Throws: `SafetensorsError`.
    package convenience init(
        path: String, tensors: [(name: String, dtype: String, shape: [Int])], metadata: [String: String] = [:]
    ) throws(SafetensorsError) {
        let file: OutputFile
        do { file = try OutputFile(path) } catch { throw SafetensorsError(error) }
        try self.init(file, tensors: tensors, metadata: metadata)
    }

    /// Appends bytes to the tensor under way; `name` must be the next that is not complete.
    /// - Throws: `SafetensorsError`.
    package func append(_ bytes: UnsafeRawBufferPointer, to name: String) throws(SafetensorsError) {
        while let first = pending.first, first.bytes == 0, first.name != name { pending.removeFirst() }
        guard let first = pending.first, first.name == name, bytes.count <= first.bytes else {
            throw SafetensorsError(file.path, "\(bytes.count) bytes for tensor \(name) do not fit what was declared")
        }
        pending[0].bytes -= bytes.count
        do { try file.write(bytes) } catch { throw SafetensorsError(error) }
    }

    /// Makes the file the output.
    /// - Throws: `SafetensorsError` when a tensor is incomplete or the disk refuses.
    package func finish() throws(SafetensorsError) {
        if let missing = pending.first(where: { $0.bytes > 0 }) {
            throw SafetensorsError(file.path, "tensor \(missing.name) lacks \(missing.bytes) bytes")
        }
        do { try file.commit() } catch { throw SafetensorsError(error) }
    }
}
