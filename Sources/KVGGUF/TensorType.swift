/// GGUF's number of a tensor's element type, with its block geometry where this build knows it.
package struct TensorType: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let f32 = TensorType(rawValue: 0)
    package static let f16 = TensorType(rawValue: 1)
    package static let q4_0 = TensorType(rawValue: 2)
    package static let q4_1 = TensorType(rawValue: 3)
    package static let q8_0 = TensorType(rawValue: 8)
    package static let bf16 = TensorType(rawValue: 30)

    /// Number → name, elements of a block, bytes of a block (ggml's type table).
    private static let known: [UInt32: (name: String, block: Int, bytes: Int)] = [
        0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
        7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110),
        12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292),
        16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
        20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136),
        24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
        29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
        40: ("NVFP4", 64, 36),
    ]

    /// Types that ggml has given up, or whose blocks are not described here: their names alone.
    private static let others: [UInt32: String] = [
        4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8",
        38: "IQ4_NL_8_8", 41: "Q1_0",
    ]

    /// The type of that name ("Q4_0"), in lower or upper case.
    package init?(named name: String) {
        guard let number = Self.known.first(where: { $0.value.name == name.uppercased() })?.key else { return nil }
        rawValue = number
    }

    package var name: String { Self.known[rawValue]?.name ?? Self.others[rawValue] ?? "type \(rawValue)" }
    package var description: String { name }
    /// Elements of a block; nil for an unknown type.
    package var block: Int? { Self.known[rawValue]?.block }
    /// Bytes of a block; nil for an unknown type.
    package var blockBytes: Int? { Self.known[rawValue]?.bytes }
}

/// A tensor as the file's header describes it; checked against the file's size.
package struct TensorInfo: Sendable {
    package let name: String
    /// GGUF's order: columns first.
    package let dimensions: [Int]
    package let type: TensorType
    /// Bytes of its data; nil when the type is unknown.
    package let byteCount: Int?
    /// Of its data in its shard.
    let offset: Int
    let shard: Int
    /// Row i of the tensor is row `rowOrder[i]` of its data; nil: they lie in order.
    package var rowOrder: [Int32]?

    package var columns: Int { dimensions[0] }
    package var rows: Int { elements / columns }
    package var elements: Int { dimensions.reduce(1, *) }
}

extension TensorInfo {
    /// A tensor without data.
    /// - Throws: `GGUFError` (malformed) when its columns are no whole blocks, or its size overflows.
    init(_ name: String, _ dimensions: [Int], _ type: TensorType, in file: String) throws(GGUFError) {
        func fail(_ reason: String) -> GGUFError {
            GGUFError(kind: .malformed, file: file, reason: "tensor \(name) \(dimensions): \(reason)")
        }
        guard let block = type.block, let blockBytes = type.blockBytes else { throw fail("unknown type \(type)") }
        guard (1...4).contains(dimensions.count), dimensions.allSatisfy({ $0 > 0 }) else { throw fail("no such dimensions") }
        guard dimensions[0] % block == 0 else {
            throw fail("\(dimensions[0]) columns are no multiple of \(type)'s block of \(block)")
        }
        var bytes = blockBytes
        for factor in [dimensions[0] / block] + dimensions.dropFirst() {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: factor)
            guard !overflow else { throw fail("its size overflows") }
            bytes = product
        }
        self.init(name: name, dimensions: dimensions, type: type, byteCount: bytes, offset: 0, shard: 0)
    }
}
