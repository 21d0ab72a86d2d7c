import CKVKernels
package import KVGGUF

/// How matrix inputs are handled: `int8` quantises them for quantised matrices; `float` is the exact mode (weights dequantised).
package enum ActivationType: String, Sendable, CaseIterable {
    case int8
    case float = "f32"
}

/// A float vector (norm weights, biases), [count].
package struct Vector: Sendable {
    /// Among all vectors of the model.
    package let index: Int
    /// In each copy of the weights, in bytes.
    let offset: Int
    package let count: Int
}

/// A weight matrix, [rows, columns], repacked for the kernels.
package struct Matrix: Sendable {
    package let name: String
    /// Among all matrices of the model.
    package let index: Int
    package let rows: Int
    package let columns: Int
    /// Takes int8 activations.
    package let quantised: Bool
    /// What is added to its products, [rows].
    package let bias: Vector?
    /// In each copy of the weights, in bytes.
    let offset: Int
    let packedBytes: Int
    let product: @convention(c) (UnsafePointer<ckv_product>?) -> Void

    var groups: Int { (rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP) }
}

/// A matrix whose rows are looked up, [rows, columns], as the file holds it.
package struct Table: @unchecked Sendable {
    // Bytes of the mapped file, alive as long as `Weights`.
    enum Place {
        /// `offset` behind the weights of a copy that has the rows too.
        case mapped(UnsafeRawPointer, offset: Int)
        /// In each copy of the weights, in bytes.
        case copied(Int)
    }
    /// Among all tables of the model.
    package let index: Int
    let type: TensorType
    let place: Place
    let rowBytes: Int
    let dequantise: @convention(c) (UnsafeRawPointer?, UnsafeMutablePointer<Float>?, Int) -> Void
    package let rows: Int
    package let columns: Int
}

/// All weights of a model: declared by the architecture (checked, laid out), then packed into one or more copies (`WeightCopy`).
///
/// No weight matrix is read before that; `packedBytes` tells beforehand what a copy will take.
package final class Weights: @unchecked Sendable {
    // Mutable only while the architecture declares, on one thread.
    struct PackedMatrix {
        let matrix: Matrix
        let rows: TensorRows
        let format: UnsafePointer<ckv_format>
        /// The format packed into, when it is not the file's (exact mode).
        let target: UnsafePointer<ckv_format>
        let groupBytes: Int
    }
    /// A table that no file holds.
    struct MadeTable {
        let offset: Int
        let rows: MadeRows
        let count: Int
    }
    /// A table that the file holds.
    struct MappedTable: @unchecked Sendable {
        // Bytes of the mapped file.
        let offset: Int
        let bytes: UnsafeRawPointer
        let rowBytes: Int
        let count: Int
    }
    struct PackedVector {
        let vector: Vector
        let values: [Float]
    }

    package let file: GGUFFile
    package let kernels: Kernels
    package let activations: ActivationType
    /// What float matrices are quantised to while they are packed; nil: they stay.
    package let type: TensorType?
    /// Of the weights of a header without data (see `Synthetic`).
    private let seed: UInt64
    private(set) var matrices: [PackedMatrix] = []
    private(set) var tables: [MadeTable] = []
    private(set) var mappedTables: [MappedTable] = []
    private(set) var vectors: [PackedVector] = []
    /// All tables, of either kind.
    private(set) var lookups: [Table] = []
    private var known: [String: Matrix] = [:]
    /// Names of the tensors that somebody has asked for.
    private var declared: Set<String> = []
    private var layout = Layout()
    private var mappedLayout = Layout()
    /// Of the file's tensors.
    let digests: TensorDigests

    /// - Parameter type: what float matrices are quantised to; nil: they stay as they are.
    package init(_ file: GGUFFile, kernels: Kernels, activations: ActivationType, type: TensorType? = nil) {
        self.file = file
        self.type = type
        self.kernels = kernels
        self.activations = activations
        seed = Synthetic.seed(of: file)
        digests = TensorDigests(file)
    }

    /// Bytes that the packed matrices, and tables that no file holds, take in each copy.
    package var packedBytes: Int {
        matrices.reduce(0) { $0 + $1.matrix.packedBytes } + tables.reduce(0) { $0 + $1.count * $1.rows.rowBytes }
    }
    /// Bytes of a copy's memory: the same, with vectors, digests and padding.
    package var bytes: Int { digestOffset + (digests.bytes + 127) / 128 * 128 }
    /// Of the digests in a copy.
    var digestOffset: Int { layout.bytes }
    /// Bytes of the tables that the file holds, which a copy may hold too.
    package var tableBytes: Int { mappedLayout.bytes }
    /// Whether any matrix takes int8 (float) activations.
    package private(set) var needsInt8 = false
    package private(set) var needsFloat = false
    /// Whether any matrix is quantised to `type`.
    private(set) var quantises = false

    /// Whether every matrix has this type already.
    func all(are type: TensorType) -> Bool { matrices.allSatisfy { $0.format.pointee.type == type.rawValue } }

    package func has(_ name: String) -> Bool { file.tensor(name) != nil }
    /// Elements of a tensor, 0 where there is none.
    func count(_ name: String) -> Int { file.tensor(name)?.elements ?? 0 }

    /// What the file holds and the architecture did not declare would be left out of the computation.
    /// - Throws: `ModelError` naming the first such tensor.
    func refuseUndeclared(by architecture: String) throws(ModelError) {
        guard let tensor = file.tensors.first(where: { !declared.contains($0.name) }) else { return }
        throw ModelError(
            .unsupported,
            "\(file.path): tensor \(tensor.name) is no part of the architecture \(architecture) as this build computes it")
    }

    // MARK: Declaring

    package func vector(_ name: String, count: Int) throws(ModelError) -> Vector {
        try vector(name, of: count, 0..<count)
    }

    /// A vector of zeros that no file holds.
    package func zeros(count: Int) -> Vector {
        let vector = Vector(index: vectors.count, offset: layout.reserve(count * MemoryLayout<Float>.stride), count: count)
        vectors.append(PackedVector(vector: vector, values: [Float](repeating: 0, count: count)))
        return vector
    }

    /// All elements of a tensor, now: what no operation reads from a copy.
    func floats(_ name: String, count: Int) throws(ModelError) -> [Float] {
        let info = try tensor(name, [count])
        return file.hasData ? try Self.floats(of: info, in: file) : Synthetic.vector(name, count: count)
    }

    /// Some elements of a vector of `total`, which may be several rows of a tensor.
    private func vector(_ name: String, of total: Int, _ range: Range<Int>) throws(ModelError) -> Vector {
        var dimensions = [total]
        if let info = file.tensor(name), info.dimensions.count > 1, info.elements == total { dimensions = info.dimensions }
        let info = try tensor(name, dimensions)
        let values = file.hasData ? try Self.floats(of: info, in: file) : Synthetic.vector(name, count: total)
        let vector = Vector(
            index: vectors.count, offset: layout.reserve(range.count * MemoryLayout<Float>.stride), count: range.count)
        vectors.append(PackedVector(vector: vector, values: Array(values[range])))
        return vector
    }

    package func table(_ name: String, columns: Int, rows: Int) throws(ModelError) -> Table {
        let info = try tensor(name, [columns, rows])
        let format = try format(of: info)
        guard let dequantise = format.pointee.dequantise else { throw unsupported(info) }
        let source = try self.rows(of: info, format)
        let place: Table.Place
        switch source {
        case .mapped(let bytes, let rowBytes):
            let offset = mappedLayout.reserve(rows * rowBytes)
            mappedTables.append(MappedTable(offset: offset, bytes: bytes, rowBytes: rowBytes, count: rows))
            place = .mapped(bytes, offset: offset)
        case .made(let maker):
            let offset = layout.reserve(rows * maker.rowBytes)
            tables.append(MadeTable(offset: offset, rows: maker, count: rows))
            place = .copied(offset)
        // Rows are reordered in products only, and looked up as the file has them, whatever `type` is.
        case .ordered, .quantised: throw unsupported(info)
        }
        let table = Table(
            index: lookups.count, type: info.type, place: place, rowBytes: source.rowBytes, dequantise: dequantise, rows: rows,
            columns: columns)
        lookups.append(table)
        return table
    }

    package func matrix(
        _ name: String, columns: Int, rows: Int, bias: String? = nil, float: Bool = false
    ) throws(ModelError) -> Matrix {
        try matrix(name, columns: columns, of: rows, rows: 0..<rows, bias: bias, float: float)
    }

    /// The matrices of a tensor [columns, rows, count].
    package func matrices(_ name: String, columns: Int, rows: Int, count: Int) throws(ModelError) -> [Matrix] {
        try matrices(name, columns: columns, of: rows, rows: 0..<rows, count: count)
    }

    /// Some rows of each matrix of a tensor [columns, total, count].
    package func matrices(
        _ name: String, columns: Int, of total: Int, rows range: Range<Int>, count: Int
    ) throws(ModelError) -> [Matrix] {
        let info = try tensor(name, [columns, total, count])
        var matrices: [Matrix] = []
        for index in 0..<count {
            let first = index * total + range.lowerBound
            matrices.append(try matrix(info, rows: first..<first + range.count, bias: nil, float: false))
        }
        return matrices
    }

    /// Some rows of a tensor of `total`, as a matrix of its own: parts that are multiplied apart (query, key and value of one tensor).
    /// - Parameters:
    ///   - bias: the tensor, [total], that is added to the products.
    ///   - float: the matrix takes float activations whatever its format.
    package func matrix(
        _ name: String, columns: Int, of total: Int, rows range: Range<Int>, bias: String? = nil, float: Bool = false
    ) throws(ModelError) -> Matrix {
        let key = "\(name) \(range) \(bias ?? "") \(float)"
        if let matrix = known[key] { return matrix }
        // A vector is a matrix of one row.
        let isVector = total == 1 && file.tensor(name)?.dimensions == [columns]
        let info = try tensor(name, isVector ? [columns] : [columns, total])
        let bias = try bias.map { name throws(ModelError) in try vector(name, of: total, range) }
        let matrix = try matrix(info, rows: range, bias: bias, float: float)
        known[key] = matrix
        return matrix
    }

    private func matrix(_ info: TensorInfo, rows range: Range<Int>, bias: Vector?, float: Bool) throws(ModelError) -> Matrix {
        let rows = range.count
        let columns = info.columns
        let (source, format) = try source(of: info, isKept: float)
        let exact = (float || activations == .float) && format.pointee.quantised
        guard let target = exact ? ckv_format_of(CKV_F32.rawValue) : format,
            let product = kernels.product(target), let packedBytes = target.pointee.packed_bytes
        else { throw unsupported(info) }
        let groups = (rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP)
        let groupBytes = packedBytes(columns)
        let matrix = Matrix(
            name: info.name, index: matrices.count, rows: rows, columns: columns, quantised: target.pointee.quantised, bias: bias,
            offset: layout.reserve(groups * groupBytes), packedBytes: groups * groupBytes, product: product)
        matrices.append(
            PackedMatrix(
                matrix: matrix, rows: source.from(range.lowerBound), format: format, target: target,
                groupBytes: groupBytes))
        if matrix.quantised { needsInt8 = true } else { needsFloat = true }
        return matrix
    }

    private func tensor(_ name: String, _ dimensions: [Int]) throws(ModelError) -> TensorInfo {
        guard let info = file.tensor(name) else {
            throw ModelError(.missingTensor, "\(file.path): tensor \(name) is missing")
        }
        declared.insert(name)
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
        let rowBytes = bytes.count / info.rows
        if let order = info.rowOrder { return .ordered(base, rowBytes: rowBytes, order: order[...]) }
        return .mapped(base, rowBytes: rowBytes)
    }

    /// A matrix's rows and their format: the file's, or `type` where that is asked for and the file's are floats.
    /// - Parameter isKept: the file's, whatever is asked for.
    private func source(of info: TensorInfo, isKept: Bool) throws(ModelError) -> (TensorRows, UnsafePointer<ckv_format>) {
        let format = try format(of: info)
        let rows = try rows(of: info, format)
        guard let type, !isKept, type != info.type, !format.pointee.quantised else { return (rows, format) }
        guard let target = ckv_format_of(type.rawValue) else { throw ModelError(.unsupportedTensorType, "no type \(type)") }
        guard info.columns % Int(target.pointee.block) == 0 else {
            throw ModelError(
                .unsupportedTensorType,
                "\(file.path): tensor \(info.name) cannot become \(type): \(info.columns) columns are no multiple of its block of "
                    + "\(target.pointee.block); \(info.columns % 32 == 0 ? "q8_0, q5_1, q4_1 or q4_0" : "f16 or bf16") would do")
        }
        guard let quantiser = RowQuantiser(from: format, to: target, columns: info.columns) else {
            throw ModelError(
                .unsupportedTensorType,
                "weights cannot be made \(type) here, only \(Kernels.quantisableNames.joined(separator: ", "))")
        }
        quantises = true
        return (.quantised(rows, quantiser), target)
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

    /// Any tensor as floats.
    package static func floats(of info: TensorInfo, in file: GGUFFile) throws(ModelError) -> [Float] {
        guard let format = ckv_format_of(info.type.rawValue), info.columns % Int(format.pointee.block) == 0 else {
            throw ModelError(
                .unsupportedTensorType,
                "\(file.path): tensor \(info.name) has type \(info.type), which this build cannot read")
        }
        let bytes: UnsafeRawBufferPointer
        do { bytes = try file.bytes(of: info) } catch { throw ModelError(.unsupportedTensorType, "\(error)") }
        let floats = [Float](unsafeUninitializedCapacity: info.elements) { buffer, count in
            format.pointee.dequantise(bytes.baseAddress, buffer.baseAddress, info.elements)
            count = info.elements
        }
        guard let order = info.rowOrder else { return floats }
        return order.flatMap { row in floats[Int(row) * info.columns..<(Int(row) + 1) * info.columns] }
    }
}
