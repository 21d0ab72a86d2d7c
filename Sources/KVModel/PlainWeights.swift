import CKVKernels
package import KVGGUF

/// A model's weights row by row, in one plain format, for those that compute with other kernels than ours: devices.
package struct PlainWeights: Sendable {
    private let weights: Weights
    /// By index.
    package var matrices: [Matrix] { weights.matrices.map(\.matrix) }
    package var tables: [Table] { weights.lookups }
    package var vectors: [Vector] { weights.vectors.map(\.vector) }

    package init(_ weights: Weights) { self.weights = weights }

    package func values(_ vector: Vector) -> [Float] { weights.vectors[vector.index].values }

    /// Whether every matrix is of this type in the file already.
    package func all(are type: TensorType) -> Bool { weights.all(are: type) }

    /// What writing rows takes beside them; one for each thread.
    package struct Scratch {
        var rows: [UInt8] = []
        var floats: [Float] = []

        package init() {}
    }

    /// Writes some rows of a matrix, one after another.
    /// - Parameter type: F32, F16 or BF16.
    package func write(
        _ rows: Range<Int>, of matrix: Matrix, as type: TensorType, into out: UnsafeMutableRawPointer, scratch: inout Scratch
    ) {
        let item = weights.matrices[matrix.index]
        item.rows.with(rows, scratch: &scratch.rows) { source in
            Self.convert(
                source, item.format, elements: rows.count * matrix.columns, to: type, into: out, floats: &scratch.floats)
        }
    }

    /// Writes some rows of a table likewise.
    package func write(
        _ rows: Range<Int>, of table: Table, as type: TensorType, into out: UnsafeMutableRawPointer, scratch: inout Scratch
    ) {
        guard let format = ckv_format_of(table.type.rawValue) else { return }
        let source: TensorRows
        switch table.place {
        case .mapped(let bytes, _): source = .mapped(bytes, rowBytes: table.rowBytes)
        case .copied(let offset):
            guard let made = weights.tables.first(where: { $0.offset == offset }) else { return }
            source = .made(made.rows)
        }
        source.with(rows, scratch: &scratch.rows) { bytes in
            Self.convert(bytes, format, elements: rows.count * table.columns, to: type, into: out, floats: &scratch.floats)
        }
    }

    private static func convert(
        _ source: UnsafeRawPointer, _ format: UnsafePointer<ckv_format>, elements: Int, to type: TensorType,
        into out: UnsafeMutableRawPointer, floats: inout [Float]
    ) {
        guard let target = ckv_format_of(type.rawValue) else { return }
        if format == target {
            out.copyMemory(from: source, byteCount: elements * Int(target.pointee.bytes))
            return
        }
        if floats.count < elements { floats = [Float](repeating: 0, count: elements) }
        floats.withUnsafeMutableBufferPointer { floats in
            format.pointee.dequantise(source, floats.baseAddress, elements)
            target.pointee.quantise?(floats.baseAddress, out, elements)
        }
    }
}
