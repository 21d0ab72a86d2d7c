/// Element type of the KV-cache.
package enum CacheType: String, Sendable, CaseIterable {
    case f16, f32
    package var bytes: Int { self == .f16 ? 2 : 4 }
}

/// Keys and values of one sequence: [layer][position, key/value head, head dimension], keys after rotation, in GGUF's element order.
///
/// Rows of one layer are contiguous, so the segment of a chunk is one run of bytes for keys and one for values. Pages come with the first touch.
package final class KVCache: @unchecked Sendable {
    // Rows are written by the rank that owns their positions, before they are handed on; see RunaheadAttention.
    package let geometry: Geometry
    package let type: CacheType
    package let capacity: Int
    package let region: Region

    /// - Parameters:
    ///   - capacity: positions.
    ///   - region: of at least `bytes`; nil: address space of its own.
    /// - Throws: `ModelError` when there is none.
    package init(_ geometry: Geometry, type: CacheType, capacity: Int, in region: Region? = nil) throws(ModelError) {
        self.geometry = geometry
        self.type = type
        self.capacity = capacity
        let bytes = Self.bytes(geometry, type: type, capacity: capacity)
        self.region = try .of(bytes, for: "a KV-cache", lent: region)
    }

    package static func bytes(_ geometry: Geometry, type: CacheType, capacity: Int) -> Int {
        2 * geometry.layers * capacity * geometry.keyValueWidth * type.bytes
    }

    /// Bytes of one position's keys (or values) in one layer.
    package var rowBytes: Int { geometry.keyValueWidth * type.bytes }

    package func keys(_ layer: Int, _ rows: Range<Int>) -> UnsafeMutableRawBufferPointer { part(2 * layer, rows) }
    package func values(_ layer: Int, _ rows: Range<Int>) -> UnsafeMutableRawBufferPointer { part(2 * layer + 1, rows) }

    private func part(_ index: Int, _ rows: Range<Int>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: region.base + (index * capacity + rows.lowerBound) * rowBytes, count: rows.count * rowBytes)
    }

    /// The rows of the first `positions` positions: keys and values of each layer in turn, each one run of bytes.
    package func forEachPart(_ positions: Int, _ body: (_ index: Int, UnsafeMutableRawBufferPointer) -> Void) {
        for index in 0..<2 * geometry.layers { body(index, part(index, 0..<positions)) }
    }

    /// Takes over another cache's first `positions` positions; both are of one geometry and type.
    package func copy(_ other: KVCache, positions: Int) {
        for index in 0..<2 * geometry.layers {
            part(index, 0..<positions).copyMemory(from: UnsafeRawBufferPointer(other.part(index, 0..<positions)))
        }
    }

    /// One head's keys (or values) of the first `positions` positions as floats, [positions, head dimension].
    package func floats(layer: Int, value: Bool, head: Int, positions: Int) -> [Float] {
        let rows = part(2 * layer + (value ? 1 : 0), 0..<positions)
        let width = geometry.headDimension
        return [Float](unsafeUninitializedCapacity: positions * width) { out, count in
            for position in 0..<positions {
                for element in 0..<width {
                    let index = position * geometry.keyValueWidth + head * width + element
                    out[position * width + element] =
                        type == .f32
                        ? rows.load(fromByteOffset: index * 4, as: Float.self)
                        : Float(halfBits: rows.load(fromByteOffset: index * 2, as: UInt16.self))
                }
            }
            count = positions * width
        }
    }

    /// The stored bytes of the first `positions` positions, in the order layer, key/value, head, position.
    package func forEachStoredRow(positions: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        let headBytes = geometry.headDimension * type.bytes
        for part in 0..<2 * geometry.layers {
            let rows = self.part(part, 0..<positions)
            for head in 0..<geometry.keyValueHeads {
                for position in 0..<positions {
                    let start = position * rowBytes + head * headBytes
                    body(UnsafeRawBufferPointer(rebasing: rows[start..<start + headBytes]))
                }
            }
        }
    }
}

extension Float {
    /// The value of float16 bits.
    package init(halfBits: UInt16) {
        let sign = UInt32(halfBits & 0x8000) << 16
        let exponent = UInt32(halfBits >> 10) & 0x1F
        let mantissa = UInt32(halfBits & 0x3FF)
        switch exponent {
        case 0:
            let magnitude = Float(mantissa) * 0x1p-24
            self = sign == 0 ? magnitude : -magnitude
        case 31: self = Float(bitPattern: sign | 0x7F80_0000 | mantissa << 13)
        default: self = Float(bitPattern: sign | (exponent + 112) << 23 | mantissa << 13)
        }
    }
}
