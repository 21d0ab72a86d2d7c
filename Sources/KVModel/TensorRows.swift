import CKVKernels

/// A tensor's rows: mapped from the file, in its order or another; made from a seed when there is no file (see `Synthetic`); or made of
/// such rows, row by row, in another format.
enum TensorRows: @unchecked Sendable {
    // Pages of a file that `Weights` keeps mapped.
    case mapped(UnsafeRawPointer, rowBytes: Int)
    case ordered(UnsafeRawPointer, rowBytes: Int, order: ArraySlice<Int32>)
    case made(MadeRows)
    indirect case quantised(TensorRows, RowQuantiser)

    var rowBytes: Int {
        switch self {
        case .mapped(_, let rowBytes), .ordered(_, let rowBytes, _): rowBytes
        case .made(let rows): rows.rowBytes
        case .quantised(_, let quantiser): quantiser.rowBytes
        }
    }

    /// The same without the first `count` rows.
    func from(_ count: Int) -> TensorRows {
        switch self {
        case .mapped(let base, let rowBytes): .mapped(base + count * rowBytes, rowBytes: rowBytes)
        case .ordered(let base, let rowBytes, let order): .ordered(base, rowBytes: rowBytes, order: order.dropFirst(count))
        case .made(let maker): .made(maker.from(count))
        case .quantised(let rows, let quantiser): .quantised(rows.from(count), quantiser)
        }
    }

    /// Gives rows to `body`, `rowBytes` apart; but those that the file holds so, they lie in `scratch`.
    func with(_ rows: Range<Int>, scratch: inout [UInt8], _ body: (UnsafeRawPointer) -> Void) {
        if case .mapped(let base, let rowBytes) = self {
            body(base + rows.lowerBound * rowBytes)
            return
        }
        // Behind the rows, what making one of them takes.
        let end = (rows.count * rowBytes + 63) / 64 * 64
        if scratch.count < end + rowScratch { scratch = [UInt8](repeating: 0, count: end + rowScratch) }
        scratch.withUnsafeMutableBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            for row in rows { write(row, into: base + (row - rows.lowerBound) * rowBytes, scratch: base + end) }
            body(UnsafeRawPointer(base))
        }
    }

    /// Bytes that writing a row takes beside it.
    private var rowScratch: Int {
        if case .quantised(let rows, let quantiser) = self { quantiser.floatBytes + rows.rowBytes } else { 0 }
    }

    private func write(_ row: Int, into out: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer) {
        switch self {
        case .mapped(let base, let rowBytes): out.copyMemory(from: base + row * rowBytes, byteCount: rowBytes)
        case .ordered(let base, let rowBytes, let order):
            out.copyMemory(from: base + Int(order[order.startIndex + row]) * rowBytes, byteCount: rowBytes)
        case .made(let maker): maker.make(row..<row + 1, into: out)
        case .quantised(let rows, let quantiser):
            let source = scratch + quantiser.floatBytes
            rows.write(row, into: source, scratch: source)
            quantiser.convert(source, into: out, floats: scratch.assumingMemoryBound(to: Float.self))
        }
    }
}

/// Makes a row of one format's blocks of a row of another's.
struct RowQuantiser: @unchecked Sendable {
    // Static C formats.
    private let source, target: UnsafePointer<ckv_format>
    private let columns: Int
    let rowBytes: Int

    /// Nil where the target cannot be made from floats. `columns` must be whole blocks of both.
    init?(from source: UnsafePointer<ckv_format>, to target: UnsafePointer<ckv_format>, columns: Int) {
        guard target.pointee.quantise != nil else { return nil }
        self.source = source
        self.target = target
        self.columns = columns
        rowBytes = columns / Int(target.pointee.block) * Int(target.pointee.bytes)
    }

    /// Of the row as floats, to whole cache lines.
    var floatBytes: Int { (columns * MemoryLayout<Float>.stride + 63) / 64 * 64 }

    func convert(_ row: UnsafeRawPointer, into out: UnsafeMutableRawPointer, floats: UnsafeMutablePointer<Float>) {
        source.pointee.dequantise(row, floats, columns)
        target.pointee.quantise(floats, out, columns)
    }
}

/// Random rows of one tensor. A row's bits depend on seed, tensor and row alone, whoever makes it.
struct MadeRows: @unchecked Sendable {
    // A static C format.
    private let format: UnsafePointer<ckv_format>
    private let key: UInt64
    private let columns: Int
    let rowBytes: Int
    /// The tensor's row that is row 0 here.
    private var first = 0

    init(seed: UInt64, tensor: String, format: UnsafePointer<ckv_format>, columns: Int) {
        self.format = format
        self.columns = columns
        rowBytes = columns / Int(format.pointee.block) * Int(format.pointee.bytes)
        // FNV-1a of seed and name.
        var key: UInt64 = 0xCBF2_9CE4_8422_2325
        func add(_ byte: UInt8) { key = (key ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: seed >> UInt64(shift))) }
        for byte in tensor.utf8 { add(byte) }
        self.key = key
    }

    func from(_ count: Int) -> MadeRows {
        var rows = self
        rows.first += count
        return rows
    }

    func make(_ rows: Range<Int>, into out: UnsafeMutableRawPointer) {
        for row in rows {
            ckv_synthesise(format, key, first + row, columns, out + (row - rows.lowerBound) * rowBytes)
        }
    }
}
