package import CKVKernels

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The kernels of one instruction set, chosen once at start.
package struct Kernels: @unchecked Sendable {
    // A static, immutable C table.
    package let table: UnsafePointer<ckv_table>

    package var name: String { String(cString: table.pointee.name) }

    /// Tables that this machine can run, best first.
    package static var supported: [Kernels] {
        var count = 0
        guard let tables = ckv_tables(&count) else { return [] }
        return (0..<count).compactMap { tables[$0] }.filter { $0.pointee.supported() }.map { Kernels(table: $0) }
    }

    /// The environment variable that forces a table where nothing else does.
    package static let variable = "KVCPU_ISA"

    /// The table of that name, else the one that `KVCPU_ISA` names, else the best.
    /// - Throws: `ModelError` naming the tables there are.
    package static func choose(named name: String? = nil) throws(ModelError) -> Kernels {
        let supported = supported
        let environment = getenv(variable).map { String(cString: $0) } ?? ""
        guard let wanted = name ?? (environment.isEmpty ? nil : environment) else { return supported[0] }
        guard let choice = supported.first(where: { $0.name == wanted }) else {
            let names = supported.map(\.name).joined(separator: ", ")
            let origin = name == nil ? "\(variable)=" : ""
            throw ModelError(.unsupported, "no kernels \(origin)\"\(wanted)\" on this machine; it has \(names)")
        }
        return choice
    }

    private static var formats: [UnsafePointer<ckv_format>] {
        var count = 0
        guard let formats = ckv_formats(&count) else { return [] }
        return (0..<count).compactMap { formats[$0] }
    }

    /// Weight formats that matrices can have.
    package static var formatNames: [String] { formats.map { String(cString: $0.pointee.name) } }
    /// Those that can be made from floats.
    package static var quantisableNames: [String] {
        formats.filter { $0.pointee.quantise != nil }.map { String(cString: $0.pointee.name) }
    }

    /// The matrix product for weights of a format: with int8 activations when the format is quantised.
    func product(_ format: UnsafePointer<ckv_format>) -> (@convention(c) (UnsafePointer<ckv_product>?) -> Void)? {
        var count = 0
        guard let formats = ckv_formats(&count), let index = (0..<count).first(where: { formats[$0] == format }) else {
            return nil
        }
        return ckv_product_of(table, index, format.pointee.quantised)
    }
}

extension UnsafeBufferPointer<Float> {
    /// Whether none is NaN or infinite. Cost: one pass, 0.1 ns a value.
    package var isFinite: Bool { baseAddress.map { ckv_all_finite($0, count) } ?? true }
}
