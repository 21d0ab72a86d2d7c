import CKVKernels
package import KVGGUF
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// How matrix inputs are handled: `int8` quantises them for quantised matrices; `float` is the exact mode (weights dequantised).
package enum ActivationType: String, Sendable, CaseIterable {
    case int8
    case float = "f32"
}

/// A float vector (norm weights, biases), [count].
package struct Vector: @unchecked Sendable {
    // Immutable after load; owned by `Weights`.
    let values: UnsafePointer<Float>
    package let count: Int
}

/// A weight matrix, [rows, columns], repacked for the kernels.
package struct Matrix: @unchecked Sendable {
    package let name: String
    package let rows: Int
    package let columns: Int
    /// Takes int8 activations.
    package let quantised: Bool
    /// What is added to its products, [rows].
    package let bias: Vector?
    // Written by `Weights.pack` before any use; owned by `Weights`.
    let packed: UnsafeMutableRawPointer
    let packedBytes: Int
    let product: @convention(c) (UnsafePointer<ckv_product>?) -> Void

    var groups: Int { (rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP) }
}

/// A matrix whose rows are looked up, [rows, columns], as the file holds it.
package struct Table: @unchecked Sendable {
    // Bytes of the mapped file, or written by `Weights.pack` before any use; alive as long as `Weights`.
    let bytes: UnsafeRawPointer
    let rowBytes: Int
    let dequantise: @convention(c) (UnsafeRawPointer?, UnsafeMutablePointer<Float>?, Int) -> Void
    package let rows: Int
    package let columns: Int
}

/// All weights of a model: declared by the architecture (checked, address space reserved), then packed by workers, each its share.
///
/// Nothing is read or touched before `pack`; `packedBytes` tells beforehand what it will take.
package final class Weights: @unchecked Sendable {
    // Mutable only while the architecture declares, on one thread; `pack` writes disjoint parts.
    private struct Pending {
        let matrix: Matrix
        let rows: TensorRows
        let format: UnsafePointer<ckv_format>
        /// The format packed into, when it is not the file's (exact mode).
        let target: UnsafePointer<ckv_format>
        let groupBytes: Int
    }
    /// A table that no file holds.
    private struct PendingTable {
        let bytes: UnsafeMutableRawPointer
        let rows: MadeRows
        let count: Int
    }

    package let file: GGUFFile
    package let kernels: Kernels
    package let activations: ActivationType
    /// Of the weights of a header without data (see `Synthetic`).
    private let seed: UInt64
    private var pending: [Pending] = []
    private var pendingTables: [PendingTable] = []
    private var matrices: [String: Matrix] = [:]
    private var allocations: [(UnsafeMutableRawPointer, Int)] = []
    private let done = Atomic<Int>(0)

    package init(_ file: GGUFFile, kernels: Kernels, activations: ActivationType) {
        self.file = file
        self.kernels = kernels
        self.activations = activations
        seed = Synthetic.seed(of: file)
    }

    deinit {
        for (base, bytes) in allocations { munmap(base, bytes) }
    }

    /// Bytes that the packed matrices, and tables that no file holds, take in memory.
    package var packedBytes: Int {
        pending.reduce(0) { $0 + $1.matrix.packedBytes } + pendingTables.reduce(0) { $0 + $1.count * $1.rows.rowBytes }
    }
    /// Bytes packed so far, for progress.
    package var packedSoFar: Int { done.load(ordering: .relaxed) }
    /// Whether any matrix takes int8 (float) activations.
    package private(set) var needsInt8 = false
    package private(set) var needsFloat = false

    package func has(_ name: String) -> Bool { file.tensor(name) != nil }

    /// - Throws: `ModelError` when the file holds a tensor that we would have to skip.
    package func refuse(_ name: String, because reason: String) throws(ModelError) {
        if has(name) { throw ModelError(.unsupported, "\(file.path): tensor \(name): \(reason)") }
    }

    // MARK: Declaring

    package func vector(_ name: String, count: Int) throws(ModelError) -> Vector {
        try vector(name, of: count, 0..<count)
    }

    /// Some elements of a vector of `total`.
    private func vector(_ name: String, of total: Int, _ range: Range<Int>) throws(ModelError) -> Vector {
        let info = try tensor(name, [total])
        let values = file.hasData ? try Self.floats(of: info, in: file) : Synthetic.vector(name, count: total)
        let base = try reserve(range.count * MemoryLayout<Float>.stride, for: name).assumingMemoryBound(to: Float.self)
        for index in range { base[index - range.lowerBound] = values[index] }
        return Vector(values: UnsafePointer(base), count: range.count)
    }

    package func table(_ name: String, columns: Int, rows: Int) throws(ModelError) -> Table {
        let info = try tensor(name, [columns, rows])
        let format = try format(of: info)
        guard let dequantise = format.pointee.dequantise else { throw unsupported(info) }
        let source = try self.rows(of: info, format)
        let base: UnsafeRawPointer
        switch source {
        case .mapped(let bytes, _): base = bytes
        case .made(let maker):
            let bytes = try reserve(rows * maker.rowBytes, for: name)
            pendingTables.append(PendingTable(bytes: bytes, rows: maker, count: rows))
            base = UnsafeRawPointer(bytes)
        }
        return Table(bytes: base, rowBytes: source.rowBytes, dequantise: dequantise, rows: rows, columns: columns)
    }

    package func matrix(_ name: String, columns: Int, rows: Int, bias: String? = nil) throws(ModelError) -> Matrix {
        try matrix(name, columns: columns, of: rows, rows: 0..<rows, bias: bias)
    }

    /// Some rows of a tensor of `total`, as a matrix of its own: parts that are multiplied apart (query, key and value of one tensor).
    /// - Parameter bias: the tensor, [total], that is added to the products.
    package func matrix(
        _ name: String, columns: Int, of total: Int, rows range: Range<Int>, bias: String? = nil
    ) throws(ModelError) -> Matrix {
        let key = "\(name) \(range) \(bias ?? "")"
        if let known = matrices[key] { return known }
        let info = try tensor(name, [columns, total])
        let rows = range.count
        let format = try format(of: info)
        let exact = activations == .float && format.pointee.quantised
        guard let target = exact ? ckv_format_of(CKV_F32.rawValue) : format,
            let product = kernels.product(target), let packedBytes = target.pointee.packed_bytes
        else { throw unsupported(info) }
        let groups = (rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP)
        let groupBytes = packedBytes(columns)
        let matrix = Matrix(
            name: name, rows: rows, columns: columns, quantised: target.pointee.quantised,
            bias: try bias.map { name throws(ModelError) in try vector(name, of: total, range) },
            packed: try reserve(groups * groupBytes, for: name), packedBytes: groups * groupBytes, product: product)
        pending.append(
            Pending(
                matrix: matrix, rows: try self.rows(of: info, format).from(range.lowerBound), format: format, target: target,
                groupBytes: groupBytes))
        matrices[key] = matrix
        if matrix.quantised { needsInt8 = true } else { needsFloat = true }
        return matrix
    }

    private func tensor(_ name: String, _ dimensions: [Int]) throws(ModelError) -> TensorInfo {
        guard let info = file.tensor(name) else {
            throw ModelError(.missingTensor, "\(file.path): tensor \(name) is missing")
        }
        guard info.dimensions == dimensions else {
            throw ModelError(
                .badShape, "\(file.path): tensor \(name) has dimensions \(info.dimensions); \(dimensions) expected")
        }
        return info
    }

    private func rows(of info: TensorInfo, _ format: UnsafePointer<ckv_format>) throws(ModelError) -> TensorRows {
        guard file.hasData else {
            return .made(MadeRows(seed: seed, tensor: info.name, format: format, columns: info.columns))
        }
        let bytes: UnsafeRawBufferPointer
        do { bytes = try file.bytes(of: info) } catch { throw ModelError(.unsupportedTensorType, "\(error)") }
        guard let base = bytes.baseAddress else {
            throw ModelError(.badShape, "\(file.path): tensor \(info.name) is empty")
        }
        return .mapped(base, rowBytes: bytes.count / info.rows)
    }

    private func format(of info: TensorInfo) throws(ModelError) -> UnsafePointer<ckv_format> {
        guard let format = ckv_format_of(info.type.rawValue) else { throw unsupported(info) }
        guard info.columns % Int(format.pointee.block) == 0 else {
            throw ModelError(
                .badShape,
                "\(file.path): tensor \(info.name): \(info.columns) columns are no multiple of \(info.type)'s block")
        }
        return format
    }

    private func unsupported(_ info: TensorInfo) -> ModelError {
        ModelError(
            .unsupportedTensorType,
            "\(file.path): tensor \(info.name) has type \(info.type), which this build cannot compute with; it knows "
                + Kernels.formatNames.joined(separator: ", ") + ". Requantise the model to one of these.")
    }

    /// Address space only: pages come with the first touch, by the worker that packs them.
    private func reserve(_ bytes: Int, for name: String) throws(ModelError) -> UnsafeMutableRawPointer {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let base = mmap(nil, max(bytes, 1), PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else {
            throw ModelError(.memory, "no address space for \(bytes) bytes of \(name): errno \(errno)")
        }
        allocations.append((base, max(bytes, 1)))
        return base
    }

    // MARK: Packing

    /// Another team of the same model has packed them already.
    package var isPacked: Bool { packedSoFar == packedBytes }

    /// Repacks this worker's share of every matrix; workers 0 ..< count together pack all.
    package func pack(worker: Int, of count: Int) {
        for table in pendingTables {
            for row in table.count * worker / count..<table.count * (worker + 1) / count {
                table.rows.make(row..<row + 1, into: table.bytes + row * table.rows.rowBytes)
                done.add(table.rows.rowBytes, ordering: .relaxed)
            }
        }
        var scratch = Scratch()
        for item in pending {
            let groups = item.matrix.groups
            for group in groups * worker / count..<groups * (worker + 1) / count {
                pack(group, of: item, scratch: &scratch)
                done.add(item.groupBytes, ordering: .relaxed)
            }
        }
    }

    /// A worker's, for one group of rows.
    private struct Scratch {
        var rows: [UInt8] = []
        var floats: [Float] = []
    }

    private func pack(_ group: Int, of item: Pending, scratch: inout Scratch) {
        let columns = item.matrix.columns
        let first = group * Int(CKV_GROUP)
        let count = min(Int(CKV_GROUP), item.matrix.rows - first)
        let destination = item.matrix.packed + group * item.groupBytes
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

    /// Any tensor as floats.
    package static func floats(of info: TensorInfo, in file: GGUFFile) throws(ModelError) -> [Float] {
        guard let format = ckv_format_of(info.type.rawValue), info.columns % Int(format.pointee.block) == 0 else {
            throw ModelError(
                .unsupportedTensorType,
                "\(file.path): tensor \(info.name) has type \(info.type), which this build cannot read")
        }
        let bytes: UnsafeRawBufferPointer
        do { bytes = try file.bytes(of: info) } catch { throw ModelError(.unsupportedTensorType, "\(error)") }
        return [Float](unsafeUninitializedCapacity: info.elements) { buffer, count in
            format.pointee.dequantise(bytes.baseAddress, buffer.baseAddress, info.elements)
            count = info.elements
        }
    }
}
