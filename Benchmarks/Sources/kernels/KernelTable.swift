import CKVKernels

/// One instruction set's kernels.
struct KernelTable: @unchecked Sendable {
    let pointer: UnsafePointer<ckv_table>
    var name: String { String(cString: pointer.pointee.name) }
    var kernels: ckv_table { pointer.pointee }

    /// Those that this machine runs, best first, the plain reference last.
    static let supported: [KernelTable] = {
        var count = 0
        guard let list = ckv_tables(&count) else { return [] }
        return (0..<count).compactMap { list[$0] }.filter { $0.pointee.supported() }.map { KernelTable(pointer: $0) }
    }()

    /// The plain reference, which every machine runs.
    static var scalar: KernelTable { supported[supported.count - 1] }

    func product(_ format: WeightFormat, int8: Bool) -> ckv_product_fn? { ckv_product_of(pointer, format.index, int8) }

    /// What bounds the float kernels.
    var floatCeiling: Ceiling? {
        Ceiling.named(name.contains("512") ? "fma512" : name.hasPrefix("avx") ? "fma256" : nil)
    }

    /// What bounds products of int8 activations.
    func int8Ceiling(_ format: WeightFormat) -> Ceiling? {
        switch name {
        case "avx512": Ceiling.named("vnni512")
        case "avxvnni", "avx_vnni", "avx2vnni": Ceiling.named("vnni256")
        // Sums of a block's products fit int16 up to five bits.
        case "avx2": Ceiling.named(format.bitsPerWeight <= 6 ? "maddubs16" : "maddubs32")
        default: nil
        }
    }
}

/// A weight format and its place in the tables.
struct WeightFormat: @unchecked Sendable {
    let index: Int
    let pointer: UnsafePointer<ckv_format>
    var name: String { String(cString: pointer.pointee.name) }
    /// Elements and bytes of a block.
    var elements: Int { Int(pointer.pointee.block) }
    var bytes: Int { Int(pointer.pointee.bytes) }
    /// With the block's scales.
    var bitsPerWeight: Double { Double(bytes * 8) / Double(elements) }

    static let all: [WeightFormat] = {
        var count = 0
        guard let list = ckv_formats(&count) else { return [] }
        return (0..<count).compactMap { index in list[index].map { WeightFormat(index: index, pointer: $0) } }
    }()
}
