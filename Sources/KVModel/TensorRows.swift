import CKVKernels

/// A tensor's rows in its file's format: mapped from the file, or made from a seed when there is no file (see `Synthetic`).
enum TensorRows: @unchecked Sendable {
    // Pages of a file that `Weights` keeps mapped.
    case mapped(UnsafeRawPointer, rowBytes: Int)
    case made(MadeRows)

    var rowBytes: Int {
        switch self {
        case .mapped(_, let rowBytes): rowBytes
        case .made(let rows): rows.rowBytes
        }
    }

    /// The same without the first `count` rows.
    func from(_ count: Int) -> TensorRows {
        switch self {
        case .mapped(let base, let rowBytes): .mapped(base + count * rowBytes, rowBytes: rowBytes)
        case .made(let maker): .made(maker.from(count))
        }
    }

    /// Gives rows to `body`, `rowBytes` apart; made ones lie in `scratch`.
    func with(_ rows: Range<Int>, scratch: inout [UInt8], _ body: (UnsafeRawPointer) -> Void) {
        switch self {
        case .mapped(let base, let rowBytes): body(base + rows.lowerBound * rowBytes)
        case .made(let maker):
            if scratch.count < rows.count * maker.rowBytes { scratch = [UInt8](repeating: 0, count: rows.count * maker.rowBytes) }
            scratch.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                maker.make(rows, into: base)
                body(UnsafeRawPointer(base))
            }
        }
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
