import Crypto
import Dispatch
import KVGGUF

/// The content of a model's tensors as SHA-256 digests: of every block of every tensor's bytes as the file has them. Whoever packs the
/// weights computes them while it reads these bytes; they lie behind the weights in each copy, where all processes see them.
///
/// Blocks have one size, so digests do not depend on how many workers compute them.
struct TensorDigests: Sendable {
    /// Bytes of a block: small enough to be shared out evenly, large enough that digests take 0.03 per cent of the weights.
    private static let blockBytes = 1 << 17

    private struct Part: @unchecked Sendable {
        // Pages of a file that is kept open.
        let info: TensorInfo
        let bytes: UnsafeRawBufferPointer
        /// Of its blocks among all.
        let blocks: Range<Int>
    }

    /// Sorted by name.
    private let parts: [Part]
    private let index: [String: Int]
    private let count: Int

    /// - Parameter file: a header without data has no blocks: its tensors are made from names and seed.
    init(_ file: GGUFFile) {
        var parts: [Part] = []
        var count = 0
        for info in file.tensors.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            // A tensor of unknown type is refused before anything is computed with it.
            let bytes = (try? file.bytes(of: info)) ?? UnsafeRawBufferPointer(start: nil, count: 0)
            let blocks = (bytes.count + Self.blockBytes - 1) / Self.blockBytes
            parts.append(Part(info: info, bytes: bytes, blocks: count..<count + blocks))
            count += blocks
        }
        self.parts = parts
        self.count = count
        index = Dictionary(parts.indices.map { (parts[$0].info.name, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// Bytes of all digests.
    var bytes: Int { count * SHA256.byteCount }

    /// Names of all tensors.
    var names: [String] { parts.map(\.info.name) }

    /// Writes a worker's share of a tensor's digests; workers 0 ..< count together write all.
    func write(_ name: String, worker: Int, of count: Int, into memory: UnsafeMutableRawPointer) {
        guard let part = index[name].map({ parts[$0] }) else { return }
        let blocks = part.blocks.count
        for block in blocks * worker / count..<blocks * (worker + 1) / count {
            let start = block * Self.blockBytes
            let end = min(start + Self.blockBytes, part.bytes.count)
            var hash = SHA256()
            hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: part.bytes[start..<end]))
            let target = memory + (part.blocks.lowerBound + block) * SHA256.byteCount
            hash.finalize().withUnsafeBytes {
                target.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(target), byteCount: $0.count)
            }
        }
    }

    /// One digest of all tensors, by name: names, shapes, types, orders of rows, and content, as 64 hexadecimal digits.
    /// - Parameter memory: with all blocks' digests.
    func combined(_ memory: UnsafeRawPointer) -> String {
        var hash = SHA256()
        for part in parts {
            let text = "\(part.info.name)\0\(part.info.dimensions)\0\(part.info.type.rawValue)\0\(part.bytes.count)\0"
            hash.update(data: Array(text.utf8))
            if let order = part.info.rowOrder { order.withUnsafeBytes { hash.update(bufferPointer: $0) } }
            let digests = UnsafeRawBufferPointer(
                start: memory + part.blocks.lowerBound * SHA256.byteCount, count: part.blocks.count * SHA256.byteCount)
            hash.update(bufferPointer: digests)
        }
        return hash.finalize().hexadecimal
    }
}

extension Weights {
    /// What tells these weights from all others: every tensor's name, shape, type and bytes, as 64 hexadecimal digits. Neither path nor
    /// anything of how they are packed counts.
    /// - Parameter copy: one that is packed, which has the digests; nil: where none is, all bytes are read now.
    package func digest(in copy: WeightCopy?) -> String {
        if let copy { return digests.combined(copy.region.base + digestOffset) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(1, digests.bytes), alignment: 16)
        defer { memory.deallocate() }
        let names = digests.names
        // Every iteration writes its own blocks.
        nonisolated(unsafe) let shared = memory
        DispatchQueue.concurrentPerform(iterations: names.count) { digests.write(names[$0], worker: 0, of: 1, into: shared) }
        return digests.combined(memory)
    }
}

extension Model {
    /// What tells the computation from that of other models with these weights: all keys of the file but the tokenizer's and those that
    /// describe it to people, with their whole values, as 64 hexadecimal digits.
    package var hyperparameterDigest: String {
        var hash = SHA256()
        for key in file.metadata.keys.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) {
            if key.hasPrefix("tokenizer.") || key.hasPrefix("general.") && key != "general.architecture" { continue }
            hash.update(data: Array("\(key)\0".utf8))
            switch file.metadata[key] {
            case .array(let array)?:
                hash.update(data: Array("\(array.elementType) \(array.count)\0".utf8))
                array.withBytes { hash.update(bufferPointer: $0) }
            case .string(let text)?: hash.update(data: Array("\"\(text)\"\0".utf8))
            case let value?: hash.update(data: Array("\(value)\0".utf8))
            case nil: break
            }
        }
        return hash.finalize().hexadecimal
    }
}

extension Digest {
    /// Two digits a byte.
    fileprivate var hexadecimal: String {
        map { byte in
            let digits = String(byte, radix: 16)
            return digits.count < 2 ? "0" + digits : digits
        }.joined()
    }
}
