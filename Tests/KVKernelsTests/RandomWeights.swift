import CKVKernels

/// A matrix of random weights in a format: packed for the kernels, and as floats by the plain reference.
final class RandomWeights {
    let format: UnsafePointer<ckv_format>
    let rows: Int
    let columns: Int
    let floats: [Float]
    let packed: Aligned<UInt8>

    /// `columns` rounded up to whole blocks of the format.
    static func columns(_ format: UnsafePointer<ckv_format>, _ columns: Int) -> Int {
        let block = Int(format.pointee.block)
        return (columns + block - 1) / block * block
    }

    /// `fill` is every byte of integers, for the extremes of their sums; otherwise they are random.
    init(_ format: UnsafePointer<ckv_format>, rows: Int, columns: Int, fill: UInt8? = nil, _ random: inout Random) {
        self.format = format
        self.rows = rows
        self.columns = columns
        let rowBytes = columns / Int(format.pointee.block) * Int(format.pointee.bytes)
        var bytes = (0..<rows * rowBytes).map { _ in fill ?? UInt8(truncatingIfNeeded: random.next() >> 32) }
        func set16(_ offset: Int, _ value: UInt16) {
            bytes[offset] = UInt8(value & 255)
            bytes[offset + 1] = UInt8(value >> 8)
        }
        // Random bits, but scales and float weights of ordinary size.
        for block in 0..<rows * rowBytes / Int(format.pointee.bytes) {
            let offset = block * Int(format.pointee.bytes)
            let value = random.float()
            switch format.name {
            case "Q6_K":
                set16(offset + 208, halfBits(value))
                // With the integers farthest from zero, the greatest scales.
                if fill == 0 { for i in 0..<16 { bytes[offset + 192 + i] = 0x80 } }
            case "Q3_K": set16(offset + 108, halfBits(value))
            case "Q2_K":
                set16(offset + 80, halfBits(value))
                set16(offset + 82, halfBits(random.float()))
            case "MXFP4": bytes[offset] = UInt8(118 + (random.next() >> 40) % 12)
            case "F32": withUnsafeBytes(of: value.bitPattern) { for i in 0..<4 { bytes[offset + i] = $0[i] } }
            case "BF16": set16(offset, UInt16(value.bitPattern >> 16))
            default: set16(offset, halfBits(value))
            }
            if ["Q4_1", "Q5_1", "Q4_K", "Q5_K"].contains(format.name) { set16(offset + 2, halfBits(random.float())) }
        }
        var floats = [Float](repeating: 0, count: rows * columns)
        format.pointee.dequantise(bytes, &floats, floats.count)
        self.floats = floats
        let groups = (rows + 15) / 16
        let groupBytes = format.pointee.packed_bytes(columns)
        packed = Aligned(groups * groupBytes)
        bytes.withUnsafeBytes { raw in
            for group in 0..<groups {
                format.pointee.pack(
                    raw.baseAddress.map { $0 + group * 16 * rowBytes }, rowBytes, min(16, rows - group * 16), columns,
                    packed.base + group * groupBytes)
            }
        }
    }

    func largestInBlock(_ row: Int, _ column: Int) -> Float {
        let start = row * columns + column / 32 * 32
        return floats[start..<start + 32].reduce(0) { max($0, abs($1)) }
    }

    /// x · Wᵀ, [tokens, rows], for the groups asked; outputs elsewhere keep `initial`.
    func product(
        _ table: UnsafePointer<ckv_table>, _ index: Int, _ x: [Float], tokens: Int, groups: Range<Int>? = nil,
        accumulateOn initial: [Float]? = nil
    ) -> [Float] {
        var product = ckv_product()
        product.weights = UnsafeRawPointer(packed.base)
        product.rows = rows
        product.columns = columns
        product.group_begin = groups?.lowerBound ?? 0
        product.group_end = groups?.upperBound ?? (rows + 15) / 16
        product.tokens = tokens
        product.out_stride = rows
        product.accumulate = initial != nil
        let quantised = format.pointee.quantised
        let activations = Activations(Tables.scalar, quantised ? x : [])
        var out = initial ?? [Float](repeating: .nan, count: tokens * rows)
        out.withUnsafeMutableBufferPointer { out in
            x.withUnsafeBufferPointer { x in
                product.x = x.baseAddress
                product.out = out.baseAddress
                activations.values.withUnsafeBufferPointer {
                    product.values = $0.baseAddress
                    activations.scales.withUnsafeBufferPointer {
                        product.scales = $0.baseAddress
                        activations.sums.withUnsafeBufferPointer {
                            product.sums = $0.baseAddress
                            activations.offsets.withUnsafeBufferPointer {
                                product.offsets = $0.baseAddress
                                ckv_product_of(table, index, quantised)?(&product)
                            }
                        }
                    }
                }
            }
        }
        return out
    }
}

/// int8 activations of some floats (a multiple of 32).
struct Activations: Equatable {
    var values: [Int8]
    var scales: [Float]
    var sums: [ckv_sums]
    var offsets: [Float]

    init(_ table: UnsafePointer<ckv_table>, _ x: [Float]) {
        values = [Int8](repeating: 0, count: x.count)
        scales = [Float](repeating: 0, count: x.count / 32)
        sums = [ckv_sums](repeating: ckv_sums(), count: x.count / 32)
        offsets = scales
        if !x.isEmpty { table.pointee.quantise(x, x.count, &values, &scales, &sums, &offsets) }
    }

    static func == (a: Activations, b: Activations) -> Bool {
        a.values == b.values && a.scales == b.scales && a.offsets == b.offsets
            && a.sums.elementsEqual(b.sums) { $0.first == $1.first && $0.second == $1.second }
    }
}
