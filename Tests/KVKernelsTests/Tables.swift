import CKVKernels
import KVTestSupport

/// The tables that this machine can run, and the scalar reference among them.
enum Tables {
    static var all: [UnsafePointer<ckv_table>] {
        var count = 0
        guard let tables = ckv_tables(&count) else { return [] }
        return (0..<count).compactMap { tables[$0] }.filter { $0.pointee.supported() }
    }

    /// The plain reference: the last of the list.
    static var scalar: UnsafePointer<ckv_table> { all[all.count - 1] }
    static var vector: [UnsafePointer<ckv_table>] { all.dropLast() }

    static func name(_ table: UnsafePointer<ckv_table>) -> String { String(cString: table.pointee.name) }

    static var formats: [UnsafePointer<ckv_format>] {
        var count = 0
        guard let formats = ckv_formats(&count) else { return [] }
        return (0..<count).compactMap { formats[$0] }
    }
}

extension UnsafePointer<ckv_format> {
    var name: String { String(cString: pointee.name) }
}

/// Seeded random numbers, the same on every machine (xorshift64*).
struct Random: RandomNumberGenerator {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 2_685_821_657_736_338_717 | 1 }
    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 2_685_821_657_736_338_717
    }
    mutating func float(_ range: ClosedRange<Float> = -1...1) -> Float { Float.random(in: range, using: &self) }
}

/// Float16 bits, rounded to nearest even by Swift's own arithmetic on the exact value; independent of the kernels.
func halfBits(_ value: Float) -> UInt16 {
    let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
    if value.isNaN { return sign | 0x7E00 }
    let magnitude = Double(abs(value))
    if magnitude >= 65520 { return sign | 0x7C00 }
    if magnitude < 0x1p-14 { return sign | UInt16((magnitude * 0x1p24).rounded(.toNearestOrEven)) }
    let exponent = Int(magnitude.exponent)
    let mantissa = (magnitude / Double(sign: .plus, exponent: exponent, significand: 1) * 1024).rounded(.toNearestOrEven)
    // A mantissa of 2048 carries into the exponent by itself.
    return sign | UInt16((exponent + 14) * 1024 + Int(mantissa))
}

/// The value of float16 bits, exact.
func halfValue(_ bits: UInt16) -> Float {
    let sign: Float = bits & 0x8000 == 0 ? 1 : -1
    let exponent = Int(bits >> 10) & 31
    let mantissa = Float(bits & 0x3FF)
    if exponent == 31 { return mantissa == 0 ? sign * .infinity : .nan }
    return exponent == 0
        ? sign * mantissa * 0x1p-24 : sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + mantissa / 1024)
}

/// A buffer on its own cache lines.
final class Aligned<Element> {
    let base: UnsafeMutablePointer<Element>
    let count: Int
    init(_ count: Int) {
        self.count = count
        base = UnsafeMutableRawPointer.allocate(byteCount: max(64, count * MemoryLayout<Element>.stride), alignment: 128)
            .assumingMemoryBound(to: Element.self)
    }
    deinit { UnsafeMutableRawPointer(base).deallocate() }
}
