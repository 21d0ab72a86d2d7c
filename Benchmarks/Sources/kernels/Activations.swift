import CKVKernels

/// Rows of activations, floats and what a table's own quantisation makes of them.
final class Activations: @unchecked Sendable {
    /// Rows repeat after this many, as weights do; no multiple of a tile.
    static let distinct = 29

    let tokens: Int
    let columns: Int
    let floats: Buffer<Float>
    let values: Buffer<Int8>
    let scales: Buffer<Float>
    /// A block's sums have the type that the tables give them, of eight bytes at most.
    let sums: Buffer<UInt64>
    let offsets: Buffer<Float>

    /// Throws when the table's int8 activations are not the scalar table's.
    init(_ table: KernelTable, tokens: Int, columns: Int) throws(BenchmarkError) {
        var random = Random(UInt64(tokens + columns))
        (self.tokens, self.columns) = (tokens, columns)
        floats = Buffer(tokens * columns, 0)
        let rows = random.floats(min(tokens, Self.distinct) * columns)
        for token in 0..<tokens {
            for column in 0..<columns { floats.base[token * columns + column] = rows[token % Self.distinct * columns + column] }
        }
        let blocks = tokens * columns / Int(CKV_BLOCK)
        values = Buffer(tokens * columns, 0)
        (scales, sums, offsets) = (Buffer(blocks, 0), Buffer(blocks, 0), Buffer(blocks, 0))
        // Float formats may have columns that no int8 block divides.
        guard columns % Int(CKV_BLOCK) == 0 else { return }
        let (plainValues, plainSums) = (Buffer<Int8>(tokens * columns, 0), Buffer<UInt64>(blocks, 0))
        let (plainScales, plainOffsets) = (Buffer<Float>(blocks, 0), Buffer<Float>(blocks, 0))
        table.kernels.quantise(floats.base, floats.count, values.base, scales.base, Self.typed(sums.base), offsets.base)
        KernelTable.scalar.kernels.quantise(
            floats.base, floats.count, plainValues.base, plainScales.base, Self.typed(plainSums.base), plainOffsets.base)
        guard
            values.equals(plainValues), scales.equals(plainScales), sums.equals(plainSums), offsets.equals(plainOffsets)
        else { throw .differs("\(table.name) quantise of \(tokens)x\(columns) gives other values, scales, sums or offsets") }
    }

    static func typed<Element>(_ base: UnsafeMutablePointer<UInt64>) -> UnsafeMutablePointer<Element> {
        UnsafeMutableRawPointer(base).assumingMemoryBound(to: Element.self)
    }

    /// A product of these with packed weights; whoever calls fills in the groups.
    func product(weights: UnsafeRawPointer, rows: Int, tokens: Int, out: UnsafeMutablePointer<Float>) -> ckv_product {
        var product = ckv_product()
        product.weights = weights
        product.rows = rows
        product.columns = columns
        product.group_end = (rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP)
        product.tokens = tokens
        product.x = UnsafePointer(floats.base)
        product.values = UnsafePointer(values.base)
        product.scales = UnsafePointer(scales.base)
        product.sums = UnsafePointer(Self.typed(sums.base))
        product.offsets = UnsafePointer(offsets.base)
        product.out = out
        product.out_stride = rows
        return product
    }

    /// The scalar table's product with the distinct groups alone, [min(tokens, distinct), RandomGroups.rows].
    func reference(_ groups: RandomGroups, int8: Bool) throws(BenchmarkError) -> Buffer<Float> {
        let count = min(tokens, Self.distinct)
        let out = Buffer<Float>(count * RandomGroups.rows, .nan)
        guard let scalar = KernelTable.scalar.product(groups.format, int8: int8) else {
            throw .differs("there is a kernel of \(groups.format.name)")
        }
        var product = product(weights: groups.packed.base, rows: RandomGroups.rows, tokens: count, out: out.base)
        scalar(&product)
        return out
    }

    /// Whether every output is the reference's, bit for bit; nil if so, else where it is not.
    static func difference(_ out: Buffer<Float>, rows: Int, _ reference: Buffer<Float>) -> String? {
        for index in 0..<out.count {
            let (token, row) = (index / rows, index % rows)
            let expected = reference[token % distinct * RandomGroups.rows + row % RandomGroups.rows]
            if out[index].bitPattern != expected.bitPattern {
                return "token \(token), row \(row) is \(out[index]) and not \(expected)"
            }
        }
        return nil
    }
}
