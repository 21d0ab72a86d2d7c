/// Python's `int`: of any size up to `maximumBits`, with every operation checked, so that no number of a template or a
/// message can overflow. Small values are machine integers; larger ones have a magnitude in limbs of 32 bits.
struct Integer: Hashable, Sendable {
    private enum Storage: Hashable { case small(Int), large(isNegative: Bool, limbs: [UInt32]) }

    private let storage: Storage

    /// Bits of the largest magnitude: some 20,000 decimal digits, five times what Python agrees to print.
    static let maximumBits = 1 << 16
    /// Decimal digits that Python converts from and to text.
    static let maximumDigits = 4300

    init(_ value: Int) { storage = .small(value) }

    /// - Parameter limbs: magnitude, lowest first.
    private init(isNegative: Bool, limbs: [UInt32]) {
        var limbs = limbs
        while limbs.last == 0 { limbs.removeLast() }
        if limbs.count <= 2 {
            let magnitude = UInt(limbs.first ?? 0) | UInt(limbs.count > 1 ? limbs[1] : 0) << 32
            if let value = Int(exactly: magnitude) {
                storage = .small(isNegative ? -value : value)
                return
            }
            if isNegative, magnitude == Int.min.magnitude {
                storage = .small(.min)
                return
            }
        }
        storage = .large(isNegative: isNegative, limbs: limbs)
    }

    /// The whole part of a number; nil for infinities and NaN.
    init?(truncating value: Double) {
        guard value.isFinite else { return nil }
        if let small = Int(exactly: value.rounded(.towardZero)) {
            self.init(small)
            return
        }
        let shift = Int(value.exponent) - 52
        self.init(
            isNegative: value < 0, limbs: Self.shifted(Self.limbs(of: UInt(value.significandBitPattern | 1 << 52)), left: shift))
    }

    /// Digits of a radix from 2 to 36, without sign; nil where one is none.
    init?(isNegative: Bool, digits: some Collection<UInt8>, radix: Int) {
        var limbs: [UInt32] = []
        for digit in digits {
            guard digit < radix else { return nil }
            var carry = UInt64(digit)
            for index in limbs.indices {
                carry += UInt64(limbs[index]) * UInt64(radix)
                limbs[index] = UInt32(truncatingIfNeeded: carry)
                carry >>= 32
            }
            if carry > 0 { limbs.append(UInt32(carry)) }
        }
        self.init(isNegative: isNegative, limbs: limbs)
    }

    // MARK: Parts

    /// The value as a machine integer; nil where it has none.
    var small: Int? { if case .small(let value) = storage { value } else { nil } }

    /// The value, or the nearest machine integer.
    var clamped: Int {
        switch storage {
        case .small(let value): value
        case .large(let isNegative, _): isNegative ? .min : .max
        }
    }

    var isNegative: Bool {
        switch storage {
        case .small(let value): value < 0
        case .large(let isNegative, _): isNegative
        }
    }

    var isZero: Bool { small == 0 }
    var isOdd: Bool { (limbs.first ?? 0) & 1 == 1 }

    private var limbs: [UInt32] {
        switch storage {
        case .small(let value): Self.limbs(of: value.magnitude)
        case .large(_, let limbs): limbs
        }
    }

    private static func limbs(of value: UInt) -> [UInt32] {
        value == 0 ? [] : value >> 32 == 0 ? [UInt32(value)] : [UInt32(truncatingIfNeeded: value), UInt32(value >> 32)]
    }

    /// Bits of the magnitude.
    var bitCount: Int { Self.bitCount(limbs) }

    private static func bitCount(_ limbs: [UInt32]) -> Int {
        limbs.last.map { limbs.count * 32 - $0.leadingZeroBitCount } ?? 0
    }

    /// What an operation costs, in steps.
    var weight: Int { if case .large(_, let limbs) = storage { limbs.count } else { 0 } }

    // MARK: Arithmetic

    private static func checked(_ value: Integer) throws(TemplateError) -> Integer {
        guard value.weight * 32 <= maximumBits + 64 else { throw tooLarge }
        return value
    }

    static var tooLarge: TemplateError {
        TemplateError(.size, "an integer has more than \(maximumBits) bits")
    }

    static prefix func - (value: Integer) -> Integer {
        if case .small(let small) = value.storage, small != .min { return Integer(-small) }
        return Integer(isNegative: !value.isNegative, limbs: value.limbs)
    }

    var magnitude: Integer { isNegative ? -self : self }

    static func + (left: Integer, right: Integer) throws(TemplateError) -> Integer {
        if let one = left.small, let two = right.small {
            let (sum, overflows) = one.addingReportingOverflow(two)
            if !overflows { return Integer(sum) }
        }
        if left.isNegative == right.isNegative {
            return try checked(Integer(isNegative: left.isNegative, limbs: sum(left.limbs, right.limbs)))
        }
        let (one, two) = (left.limbs, right.limbs)
        return isLess(one, two)
            ? Integer(isNegative: right.isNegative, limbs: difference(two, one))
            : Integer(isNegative: left.isNegative, limbs: difference(one, two))
    }

    static func - (left: Integer, right: Integer) throws(TemplateError) -> Integer { try left + (-right) }

    static func * (left: Integer, right: Integer) throws(TemplateError) -> Integer {
        if let one = left.small, let two = right.small {
            let (product, overflows) = one.multipliedReportingOverflow(by: two)
            if !overflows { return Integer(product) }
        }
        let (one, two) = (left.limbs, right.limbs)
        guard (one.count + two.count) * 32 <= maximumBits + 64 else { throw tooLarge }
        var limbs = [UInt32](repeating: 0, count: one.count + two.count)
        for (index, limb) in one.enumerated() {
            var carry: UInt64 = 0
            for (other, factor) in two.enumerated() {
                carry += UInt64(limb) * UInt64(factor) + UInt64(limbs[index + other])
                limbs[index + other] = UInt32(truncatingIfNeeded: carry)
                carry >>= 32
            }
            limbs[index + two.count] = UInt32(carry)
        }
        return try checked(Integer(isNegative: left.isNegative != right.isNegative, limbs: limbs))
    }

    /// Quotient towards minus infinity and remainder with the divisor's sign; the divisor is not 0.
    func dividedFloor(by divisor: Integer) throws(TemplateError) -> (quotient: Integer, remainder: Integer) {
        if let one = small, let two = divisor.small, two != -1 {
            let (quotient, remainder) = one.quotientAndRemainder(dividingBy: two)
            let isOff = remainder != 0 && (remainder < 0) != (two < 0)
            return (Integer(quotient - (isOff ? 1 : 0)), Integer(isOff ? remainder + two : remainder))
        }
        let (quotient, remainder) = Self.divided(limbs, divisor.limbs)
        var whole = Integer(isNegative: isNegative != divisor.isNegative, limbs: quotient)
        var rest = Integer(isNegative: isNegative, limbs: remainder)
        if !rest.isZero, isNegative != divisor.isNegative {
            whole = try whole - Integer(1)
            rest = try rest + divisor
        }
        return (whole, rest)
    }

    /// - Parameter exponent: not negative.
    func power(_ exponent: Integer) throws(TemplateError) -> Integer {
        if self == Integer(0) || self == Integer(1) { return exponent.isZero ? Integer(1) : self }
        if self == Integer(-1) { return exponent.isOdd ? self : Integer(1) }
        guard var rest = exponent.small, rest <= Self.maximumBits,
            (bitCount - 1).multipliedReportingOverflow(by: rest).partialValue <= Self.maximumBits
        else { throw Self.tooLarge }
        var base = self
        var result = Integer(1)
        while true {
            if rest & 1 == 1 { result = try result * base }
            rest >>= 1
            if rest == 0 { return result }
            base = try base * base
        }
    }

    /// 10 to a power that is not negative.
    static func powerOfTen(_ exponent: Int) throws(TemplateError) -> Integer {
        try Integer(10).power(Integer(exponent))
    }

    // MARK: Comparison

    static func < (left: Integer, right: Integer) -> Bool {
        if let one = left.small, let two = right.small { return one < two }
        if left.isNegative != right.isNegative { return left.isNegative }
        return left.isNegative ? isLess(right.limbs, left.limbs) : isLess(left.limbs, right.limbs)
    }

    /// Below 0 where this is less than a number, 0 where they are equal, above 0 where it is more; nil for NaN.
    func compared(to number: Double) -> Int? {
        if number.isNaN { return nil }
        if number.isInfinite { return number < 0 ? 1 : -1 }
        guard let whole = Integer(truncating: number) else { return nil }
        if whole == self {
            let fraction = number - number.rounded(.towardZero)
            return fraction > 0 ? -1 : fraction < 0 ? 1 : 0
        }
        return self < whole ? -1 : 1
    }

    // MARK: Conversion

    /// The nearest floating-point number, ties to even; nil where it is too large for one.
    var double: Double? {
        switch storage {
        case .small(let value): return Double(value)
        case .large(let isNegative, let limbs):
            let value = Self.double(limbs, scale: 0)
            return value.isFinite ? isNegative ? -value : value : nil
        }
    }

    /// A magnitude times a power of 2.
    private static func double(_ limbs: [UInt32], scale: Int) -> Double {
        let bits = bitCount(limbs)
        guard bits > 64 else {
            let value = UInt64(limbs.first ?? 0) | UInt64(limbs.count > 1 ? limbs[1] : 0) << 32
            return scaled(Double(value), scale)
        }
        // The uppermost 64 bits, of which the last one stands for all below.
        let shift = bits - 64
        let top = shifted(limbs, right: shift)
        var value = UInt64(top[0]) | UInt64(top[1]) << 32
        if limbs[..<(shift / 32)].contains(where: { $0 != 0 }) || limbs[shift / 32] & ((1 << UInt32(shift % 32)) - 1) != 0 {
            value |= 1
        }
        return scaled(Double(value), scale + shift)
    }

    private static func scaled(_ value: Double, _ exponent: Int) -> Double {
        Double(sign: .plus, exponent: max(-2200, min(2200, exponent)), significand: value)
    }

    /// Python's `/`: the nearest number to the exact quotient; nil where it is too large. The divisor is not 0.
    func dividedExactly(by divisor: Integer) -> Double? {
        if let one = small, let two = divisor.small, one.magnitude <= 1 << 53, two.magnitude <= 1 << 53 {
            return Double(one) / Double(two)
        }
        let shift = max(0, divisor.bitCount - bitCount + 66)
        var (quotient, remainder) = Self.divided(Self.shifted(limbs, left: shift), divisor.limbs)
        if !quotient.isEmpty, remainder.contains(where: { $0 != 0 }) { quotient[0] |= 1 }
        let value = Self.double(quotient, scale: -shift)
        guard value.isFinite else { return nil }
        return isNegative != divisor.isNegative ? -value : value
    }

    /// In a radix from 2 to 36, with small letters and a sign where it is negative.
    func text(radix: Int = 10) -> String {
        guard case .large(let isNegative, var limbs) = storage else { return String(clamped, radix: radix) }
        var (chunk, width) = (UInt64(radix), 1)
        while chunk * UInt64(radix) < 1 << 32 { (chunk, width) = (chunk * UInt64(radix), width + 1) }
        var parts: [String] = []
        while !limbs.isEmpty {
            var rest: UInt64 = 0
            for index in limbs.indices.reversed() {
                let value = rest << 32 | UInt64(limbs[index])
                limbs[index] = UInt32(value / chunk)
                rest = value % chunk
            }
            while limbs.last == 0 { limbs.removeLast() }
            let digits = String(rest, radix: radix)
            parts.append(limbs.isEmpty ? digits : String(repeating: "0", count: width - digits.utf8.count) + digits)
        }
        return (isNegative ? "-" : "") + parts.reversed().joined()
    }

    /// Decimal digits, as Python prints them.
    /// - Throws: of reason evaluation beyond `maximumDigits`, as Python refuses.
    func decimal() throws(TemplateError) -> String {
        let text = text()
        guard text.utf8.count <= Self.maximumDigits + (isNegative ? 1 : 0) else {
            throw TemplateError(
                .evaluation, "Exceeds the limit (\(Self.maximumDigits) digits) for integer string conversion")
        }
        return text
    }
}

// MARK: Magnitudes

extension Integer {
    private static func isLess(_ left: [UInt32], _ right: [UInt32]) -> Bool {
        if left.count != right.count { return left.count < right.count }
        for index in left.indices.reversed() where left[index] != right[index] { return left[index] < right[index] }
        return false
    }

    private static func sum(_ left: [UInt32], _ right: [UInt32]) -> [UInt32] {
        var result: [UInt32] = []
        var carry: UInt64 = 0
        for index in 0..<max(left.count, right.count) {
            carry += UInt64(index < left.count ? left[index] : 0) + UInt64(index < right.count ? right[index] : 0)
            result.append(UInt32(truncatingIfNeeded: carry))
            carry >>= 32
        }
        if carry > 0 { result.append(UInt32(carry)) }
        return result
    }

    /// The left one is not less than the right one.
    private static func difference(_ left: [UInt32], _ right: [UInt32]) -> [UInt32] {
        var result: [UInt32] = []
        var borrow: Int64 = 0
        for index in left.indices {
            var value = Int64(left[index]) - Int64(index < right.count ? right[index] : 0) - borrow
            borrow = value < 0 ? 1 : 0
            if value < 0 { value += 1 << 32 }
            result.append(UInt32(value))
        }
        return result
    }

    private static func shifted(_ limbs: [UInt32], left count: Int) -> [UInt32] {
        guard count > 0, !limbs.isEmpty else { return limbs }
        let bits = UInt64(count % 32)
        var result = [UInt32](repeating: 0, count: count / 32)
        var carry: UInt64 = 0
        for limb in limbs {
            let value = UInt64(limb) << bits | carry
            result.append(UInt32(truncatingIfNeeded: value))
            carry = value >> 32
        }
        result.append(UInt32(carry))
        while result.last == 0 { result.removeLast() }
        return result
    }

    private static func shifted(_ limbs: [UInt32], right count: Int) -> [UInt32] {
        let (skipped, bits) = (count / 32, UInt64(count % 32))
        guard skipped < limbs.count else { return [] }
        var result: [UInt32] = []
        for index in skipped..<limbs.count {
            let upper = index + 1 < limbs.count ? UInt64(limbs[index + 1]) << 32 : 0
            result.append(UInt32(truncatingIfNeeded: (upper | UInt64(limbs[index])) >> bits))
        }
        while result.last == 0 { result.removeLast() }
        return result
    }

    /// Knuth's algorithm D; the divisor is not empty.
    private static func divided(
        _ dividend: [UInt32], _ divisor: [UInt32]
    ) -> (quotient: [UInt32], remainder: [UInt32]) {
        guard !isLess(dividend, divisor), let top = divisor.last else { return ([], dividend) }
        if divisor.count == 1 {
            var quotient = dividend
            var rest: UInt64 = 0
            for index in dividend.indices.reversed() {
                let value = rest << 32 | UInt64(dividend[index])
                quotient[index] = UInt32(value / UInt64(top))
                rest = value % UInt64(top)
            }
            while quotient.last == 0 { quotient.removeLast() }
            return (quotient, rest == 0 ? [] : [UInt32(rest)])
        }
        let shift = top.leadingZeroBitCount
        let right = shifted(divisor, left: shift)
        var rest = shifted(dividend, left: shift)
        while rest.count <= dividend.count { rest.append(0) }
        let (count, base) = (right.count, UInt64(1) << 32)
        var quotient = [UInt32](repeating: 0, count: rest.count - count)
        for index in quotient.indices.reversed() {
            let head = UInt64(rest[index + count]) << 32 | UInt64(rest[index + count - 1])
            var guess = head / UInt64(right[count - 1])
            var over = head % UInt64(right[count - 1])
            while guess >= base || guess * UInt64(right[count - 2]) > over << 32 | UInt64(rest[index + count - 2]) {
                guess -= 1
                over += UInt64(right[count - 1])
                if over >= base { break }
            }
            var borrow: Int64 = 0
            var carry: UInt64 = 0
            for at in 0..<count {
                carry += guess * UInt64(right[at])
                let value = Int64(rest[index + at]) - Int64(carry & 0xFFFF_FFFF) - borrow
                rest[index + at] = UInt32(truncatingIfNeeded: value)
                borrow = value < 0 ? 1 : 0
                carry >>= 32
            }
            let value = Int64(rest[index + count]) - Int64(carry) - borrow
            rest[index + count] = UInt32(truncatingIfNeeded: value)
            if value < 0 {
                guess -= 1
                var carry: UInt64 = 0
                for at in 0..<count {
                    carry += UInt64(rest[index + at]) + UInt64(right[at])
                    rest[index + at] = UInt32(truncatingIfNeeded: carry)
                    carry >>= 32
                }
                rest[index + count] = UInt32(truncatingIfNeeded: UInt64(rest[index + count]) + carry)
            }
            quotient[index] = UInt32(guess)
        }
        while quotient.last == 0 { quotient.removeLast() }
        while rest.last == 0 { rest.removeLast() }
        return (quotient, shifted(rest, right: shift))
    }
}
