import CKVKernels
import KVGGUF
import Synchronization

/// One copy of a model's weights in memory, packed by workers, each its share. A machine of several nodes may have one on each.
package final class WeightCopy: @unchecked Sendable {
    // Workers pack disjoint parts; nothing is read before all have.
    package let weights: Weights
    package let region: Region
    private let done = Atomic<Int>(0)

    /// - Parameters:
    ///   - region: of at least ``bytes(of:)``, zeroed; nil: address space of its own.
    /// - Throws: `ModelError` when there is none.
    package init(_ weights: Weights, in region: Region? = nil) throws(ModelError) {
        self.weights = weights
        self.region = try .of(
            Self.bytes(of: weights), for: "the weights of \(weights.file.path)", lent: region)
    }

    /// What a copy takes: tables, too, so that the file is not read any more once a copy is packed.
    package static func bytes(of weights: Weights) -> Int { weights.bytes + weights.tableBytes }

    /// Bytes packed so far, of ``bytesToPack``, for progress.
    package var packedSoFar: Int { done.load(ordering: .relaxed) }
    package var bytesToPack: Int {
        weights.packedBytes + weights.mappedTables.reduce(0) { $0 + $1.count * $1.rowBytes }
    }
    /// By all workers.
    package var isPacked: Bool { packedSoFar == bytesToPack }

    // MARK: Reading

    func values(_ vector: Vector) -> UnsafePointer<Float> {
        UnsafePointer((region.base + vector.offset).assumingMemoryBound(to: Float.self))
    }

    func packed(_ matrix: Matrix) -> UnsafeRawPointer { UnsafeRawPointer(region.base + matrix.offset) }

    func row(_ index: Int, of table: Table) -> UnsafeRawPointer {
        let base =
            switch table.place {
            case .mapped(_, let offset): UnsafeRawPointer(region.base + weights.bytes + offset)
            case .copied(let offset): UnsafeRawPointer(region.base + offset)
            }
        return base + index * table.rowBytes
    }

    // MARK: Packing

    /// Repacks this worker's share of everything; workers 0 ..< count together pack all.
    package func pack(worker: Int, of count: Int) {
        for vector in weights.vectors[weights.vectors.count * worker / count..<weights.vectors.count * (worker + 1) / count] {
            let target = (region.base + vector.vector.offset).assumingMemoryBound(to: Float.self)
            for index in 0..<vector.vector.count { target[index] = vector.values[index] }
        }
        for table in weights.tables {
            for row in table.count * worker / count..<table.count * (worker + 1) / count {
                table.rows.make(row..<row + 1, into: region.base + table.offset + row * table.rows.rowBytes)
                done.add(table.rows.rowBytes, ordering: .relaxed)
            }
        }
        for table in weights.mappedTables {
            let rows = table.count * worker / count..<table.count * (worker + 1) / count
            let bytes = rows.count * table.rowBytes
            let target = region.base + weights.bytes + table.offset + rows.lowerBound * table.rowBytes
            target.copyMemory(from: table.bytes + rows.lowerBound * table.rowBytes, byteCount: bytes)
            done.add(bytes, ordering: .relaxed)
        }
        // A tensor's digests where its rows are read anyway; those of which no rows are packed first.
        var undigested = Set(weights.matrices.map(\.matrix.name))
        for name in weights.digests.names where !undigested.contains(name) { digest(name, worker, of: count) }
        var scratch = Scratch()
        for item in weights.matrices {
            if undigested.remove(item.matrix.name) != nil { digest(item.matrix.name, worker, of: count) }
            let groups = item.matrix.groups
            for group in groups * worker / count..<groups * (worker + 1) / count {
                pack(group, of: item, scratch: &scratch)
                done.add(item.groupBytes, ordering: .relaxed)
            }
        }
    }

    private func digest(_ name: String, _ worker: Int, of count: Int) {
        weights.digests.write(name, worker: worker, of: count, into: region.base + weights.digestOffset)
    }

    /// A worker's, for one group of rows.
    private struct Scratch {
        var rows: [UInt8] = []
        var floats: [Float] = []
    }

    private func pack(_ group: Int, of item: Weights.PackedMatrix, scratch: inout Scratch) {
        let columns = item.matrix.columns
        let first = group * Int(CKV_GROUP)
        let count = min(Int(CKV_GROUP), item.matrix.rows - first)
        let destination = region.base + item.matrix.offset + group * item.groupBytes
        if item.format != item.target, scratch.floats.count < columns * Int(CKV_GROUP) {
            scratch.floats = [Float](repeating: 0, count: columns * Int(CKV_GROUP))
        }
        item.rows.with(first..<first + count, scratch: &scratch.rows) { source in
            guard item.format != item.target else {
                item.format.pointee.pack(source, item.rows.rowBytes, count, columns, destination)
                return
            }
            scratch.floats.withUnsafeMutableBufferPointer { floats in
                item.format.pointee.dequantise(source, floats.baseAddress, count * columns)
                item.target.pointee.pack(
                    floats.baseAddress, columns * MemoryLayout<Float>.stride, count, columns, destination)
            }
        }
    }
}
