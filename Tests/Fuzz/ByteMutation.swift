/// Changes that know nothing of a format: flipped, overwritten, inserted, doubled and missing bytes.
enum ByteMutation {
    /// - Parameter others: what pieces are taken from.
    static func apply(to bytes: inout [UInt8], _ random: inout RandomSource, others: [[UInt8]] = []) {
        guard !bytes.isEmpty else {
            bytes = [UInt8(random.below(256))]
            return
        }
        // Near the beginning more often: there the headers are.
        let reach = random.oneIn(2) ? bytes.count : min(bytes.count, 512)
        let at = random.below(reach)
        switch random.below(9) {
        case 0: bytes[at] ^= 1 << UInt8(random.below(8))
        case 1: for _ in 0...random.below(16) { bytes[random.below(reach)] = UInt8(random.below(256)) }
        case 2: bytes.removeSubrange(at...)
        case 3:
            let length = 1 << random.below(4)
            let word = UInt64(bitPattern: random.pick(ExtremeValues.integers))
            for index in 0..<min(length, bytes.count - at) {
                bytes[at + index] = UInt8(truncatingIfNeeded: word >> UInt64(8 * index))
            }
        case 4: bytes.removeSubrange(at..<min(bytes.count, at + 1 + random.below(64)))
        case 5: bytes.insert(contentsOf: ExtremeValues.text(&random), at: at)
        case 6: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 1 + random.below(256))], at: random.below(reach))
        case 7:
            let other = others.isEmpty ? bytes : random.pick(others)
            let cut = random.below(other.count)
            bytes = Array(bytes[..<at]) + other[cut...]
        default:
            let other = random.below(bytes.count)
            bytes.swapAt(at, other)
        }
    }
}
