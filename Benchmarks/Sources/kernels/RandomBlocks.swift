import CKVKernels

/// Blocks of random weights in any format, with scales of ordinary size.
struct RandomBlocks {
    let format: WeightFormat
    /// Where a block has float16 scales.
    private let scales: [Int]

    init(_ format: WeightFormat) {
        self.format = format
        scales = format.elements > 1 ? Self.scaleOffsets(format) : []
    }

    /// A float16 that is no number makes weights that are none, quanta never do: so the scales' places are found
    /// without knowing the format.
    private static func scaleOffsets(_ format: WeightFormat) -> [Int] {
        stride(from: 0, to: format.bytes - 1, by: 2).filter { offset in
            var block = [UInt8](repeating: 0, count: format.bytes)
            block[offset + 1] = 0x7E
            var weights = [Float](repeating: 0, count: format.elements)
            format.pointer.pointee.dequantise(block, &weights, weights.count)
            return weights.contains { $0.isNaN }
        }
    }

    func bytes(blocks: Int, _ random: inout Random) throws(BenchmarkError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: blocks * format.bytes)
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next() >> 32) }
        for block in 0..<blocks { try patch(&bytes, at: block * format.bytes, &random) }
        var weights = [Float](repeating: 0, count: blocks * format.elements)
        format.pointer.pointee.dequantise(bytes, &weights, weights.count)
        guard weights.allSatisfy({ abs($0) < 1e4 }) else {
            throw .blocks(format: format.name, "weights that are not finite or beyond 10,000")
        }
        guard weights.contains(where: { $0 != 0 }) else { throw .blocks(format: format.name, "all weights are zero") }
        return bytes
    }

    /// Scales, or the weight itself, of ordinary size.
    private func patch(_ bytes: inout [UInt8], at offset: Int, _ random: inout Random) throws(BenchmarkError) {
        func set(_ value: UInt16, _ place: Int) {
            bytes[place] = UInt8(value & 255)
            bytes[place + 1] = UInt8(value >> 8)
        }
        switch format.name {
        case "F32":
            let bits = random.float().bitPattern
            set(UInt16(bits & 0xFFFF), offset)
            set(UInt16(bits >> 16), offset + 2)
        case "BF16": set(UInt16(random.float().bitPattern >> 16), offset)
        case "F16": set(Self.half(&random), offset)
        case "MXFP4": bytes[offset] = UInt8.random(in: 118...124, using: &random)
        case _ where scales.isEmpty: throw .blocks(format: format.name, "no float16 scale found")
        default: for scale in scales { set(Self.half(&random), offset + scale) }
        }
    }

    /// A float16 of either sign, its magnitude from 1/1024 to 1/8.
    private static func half(_ random: inout Random) -> UInt16 {
        let bits = UInt16(truncatingIfNeeded: random.next() >> 32)
        return bits & 0x83FF | UInt16.random(in: 5...11, using: &random) << 10
    }
}

/// A few groups of rows, packed, of which a matrix of any size is made by repeating them: its products repeat, too, so that all of
/// them are checked at the cost of a few.
struct RandomGroups {
    /// Odd, so that a kernel's panels of several groups hold different ones each time.
    static let count = 5
    static let rows = count * Int(CKV_GROUP)

    let format: WeightFormat
    let columns: Int
    let groupBytes: Int
    let packed: Buffer<UInt8>

    init(_ format: WeightFormat, columns: Int) throws(BenchmarkError) {
        var random = Random(UInt64(columns))
        let group = Int(CKV_GROUP)
        let rowBytes = columns / format.elements * format.bytes
        let bytes = try RandomBlocks(format).bytes(blocks: Self.rows * columns / format.elements, &random)
        let kernels = format.pointer.pointee
        let groupBytes = kernels.packed_bytes(columns)
        let packed = Buffer<UInt8>(Self.count * groupBytes, 0)
        bytes.withUnsafeBytes { rows in
            for index in 0..<Self.count {
                kernels.pack(
                    rows.baseAddress.map { $0 + index * group * rowBytes }, rowBytes, group, columns,
                    packed.base + index * groupBytes)
            }
        }
        (self.format, self.columns, self.groupBytes, self.packed) = (format, columns, groupBytes, packed)
    }

    /// Writes groups of the repeated matrix whose group 0 is at `base`.
    func fill(_ base: UnsafeMutableRawPointer, groups: Range<Int>) {
        for group in groups {
            let source = packed.base + group % Self.count * groupBytes
            (base + group * groupBytes).copyMemory(from: source, byteCount: groupBytes)
        }
    }
}
