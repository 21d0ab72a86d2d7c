import Foundation

/// A GGUF model file (v2, v3), mapped read-only; with its further shards when it is the first of a split model.
///
/// Everything in the header is checked against the file's size before any tensor can be touched. Opening costs the header's length; tensor
/// pages are read when used.
package final class GGUFFile: Sendable {
    /// What messages call it, for a header in memory.
    package let path: String
    package let version: UInt32
    /// Of the first shard.
    package let metadata: Metadata
    /// In file order, over all shards.
    package let tensors: [TensorInfo]
    /// Where the model is a folder of safetensors (see `ModelFolder`): its path. The tokenizer is there, too.
    package let folder: String?
    /// With the tensors' data: each tensor knows which one and where.
    private let files: [MappedFile]
    /// Of a folder: its configuration, and its index where it has one.
    private let texts: [MappedFile]
    private let byName: [String: Int]

    /// - Throws: `GGUFError` naming the file and what is wrong with it.
    package init(path: String) throws(GGUFError) {
        let first = try Shard(path: path, index: 0)
        var shards = [first]
        let count = try first.metadata.integer("split.count", default: 1)
        if count > 1 {
            let name = try Self.splitName(path, first, count)
            for index in 1..<count { shards.append(try Self.shard(index, of: count, name)) }
        }
        var tensors: [TensorInfo] = []
        var byName: [String: Int] = [:]
        for shard in shards {
            for tensor in shard.tensors {
                guard byName.updateValue(tensors.count, forKey: tensor.name) == nil else {
                    throw GGUFError(
                        kind: .malformed, file: shard.file.path, reason: "tensor \(tensor.name) is in two shards")
                }
                tensors.append(tensor)
            }
        }
        let announced = try first.metadata.integer("split.tensors.count", default: tensors.count)
        guard announced == tensors.count else {
            throw GGUFError(
                kind: .malformed, file: path,
                reason: "split.tensors.count is \(announced), the \(shards.count) shards hold \(tensors.count)")
        }
        self.path = path
        version = first.version
        metadata = first.metadata
        self.tensors = tensors
        folder = nil
        files = shards.map(\.file)
        texts = []
        self.byName = byName
        try checkUnchanged()
    }

    /// What a folder holds, under the names and in the order of rows of a GGUF file.
    /// - Throws: `GGUFError` (malformed) when a tensor comes twice.
    init(
        folder: String, metadata: Metadata, tensors: [TensorInfo], files: [MappedFile], texts: [MappedFile] = []
    ) throws(GGUFError) {
        var byName: [String: Int] = [:]
        for (index, tensor) in tensors.enumerated() where byName.updateValue(index, forKey: tensor.name) != nil {
            throw GGUFError(kind: .malformed, file: folder, reason: "tensor \(tensor.name) comes twice")
        }
        path = folder
        version = 3
        self.metadata = metadata
        self.tensors = tensors
        self.folder = folder
        self.files = files
        self.texts = texts
        self.byName = byName
        try checkUnchanged()
    }

    /// A header in memory: metadata and tensors as a file would hold them, but no data.
    /// - Parameter name: what messages call it instead of a path.
    /// - Throws: `GGUFError` (malformed) when a key or tensor comes twice or a tensor's columns are no whole blocks of its type.
    package init(
        header name: String, metadata: [(key: String, value: MetadataValue)],
        tensors: [(name: String, dimensions: [Int], type: TensorType)]
    ) throws(GGUFError) {
        func fail(_ reason: String) -> GGUFError { GGUFError(kind: .malformed, file: name, reason: reason) }
        var values: [String: MetadataValue] = [:]
        for pair in metadata where values.updateValue(pair.value, forKey: pair.key) != nil {
            throw fail("key \(pair.key) comes twice")
        }
        var infos: [TensorInfo] = []
        var byName: [String: Int] = [:]
        for tensor in tensors {
            guard byName.updateValue(infos.count, forKey: tensor.name) == nil else {
                throw fail("tensor \(tensor.name) comes twice")
            }
            infos.append(try TensorInfo(tensor.name, tensor.dimensions, tensor.type, in: name))
        }
        path = name
        version = 3
        self.metadata = Metadata(path: name, keys: metadata.map(\.key), values: values)
        self.tensors = infos
        folder = nil
        files = []
        texts = []
        self.byName = byName
    }

    /// False for a header in memory.
    package var hasData: Bool { !files.isEmpty }

    package func tensor(_ name: String) -> TensorInfo? { byName[name].map { tensors[$0] } }

    /// The tensor's data, valid while this file lives; rows as its `rowOrder` says.
    /// - Throws: `GGUFError` when its type is unknown, so that its size is too, or there is no data.
    package func bytes(of tensor: TensorInfo) throws(GGUFError) -> UnsafeRawBufferPointer {
        guard hasData else { throw GGUFError(kind: .noData, file: path, reason: "tensor \(tensor.name) has no data") }
        guard let count = tensor.byteCount else {
            throw GGUFError(
                kind: .unknownTensorType, file: files[tensor.shard].path,
                reason: "tensor \(tensor.name) has \(tensor.type), which this build does not know")
        }
        return UnsafeRawBufferPointer(rebasing: files[tensor.shard].bytes[tensor.offset..<tensor.offset + count])
    }

    /// - Throws: `GGUFError` (changed) when a file has been written to or has shrunk since it was opened: what has been read may be a mixture.
    package func checkUnchanged() throws(GGUFError) {
        for file in files + texts {
            guard let change = file.change else { continue }
            throw GGUFError(kind: .changed, file: file.path, reason: "the file has changed while it was read: \(change)")
        }
    }

    /// Tells one state of the files from another: their numbers, sizes and times when they were opened.
    package var identity: String { (files + texts).map(\.state).joined(separator: ", ") }

    /// Where another process may read the same files (see ``OpenFiles``), by their absolute paths, while this object lives.
    package var openFiles: [String: String] {
        let process = ProcessInfo.processInfo.processIdentifier
        let held = (files + texts).filter { $0.descriptor >= 0 }
        return Dictionary(
            held.map { (URL(fileURLWithPath: $0.path).path, "/proc/\(process)/fd/\($0.descriptor)") },
            uniquingKeysWith: { first, _ in first })
    }

    /// Bytes of all shards.
    package var fileBytes: Int { files.reduce(0) { $0 + $1.bytes.count } }

    // MARK: Split models: NAME-00001-of-0000N.gguf

    private static func splitName(_ path: String, _ first: Shard, _ count: Int) throws(GGUFError) -> String {
        func fail(_ reason: String) -> GGUFError { GGUFError(kind: .missingShard, file: path, reason: reason) }
        let number = try first.metadata.integer("split.no", default: 0)
        guard number == 0 else {
            throw fail("this is shard \(number + 1) of \(count); open the first one")
        }
        guard count <= 99_999 else { throw fail("split.count is \(count)") }
        let suffix = "-00001-of-\(padded(count)).gguf"
        guard path.hasSuffix(suffix) else {
            throw fail("the first of \(count) shards, but its name does not end in \(suffix), so the others cannot be found")
        }
        return String(path.dropLast(suffix.count))
    }

    private static func shard(_ index: Int, of count: Int, _ name: String) throws(GGUFError) -> Shard {
        let path = "\(name)-\(padded(index + 1))-of-\(padded(count)).gguf"
        let shard: Shard
        do { shard = try Shard(path: path, index: index) } catch {
            guard error.kind == .notFound else { throw error }
            throw GGUFError(kind: .missingShard, file: path, reason: "shard \(index + 1) of \(count) is missing")
        }
        let number = try shard.metadata.integer("split.no")
        let total = try shard.metadata.integer("split.count", default: count)
        guard number == index, total == count else {
            throw GGUFError(
                kind: .missingShard, file: path, reason: "holds shard \(number + 1) of \(total), expected \(index + 1) of \(count)")
        }
        return shard
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
