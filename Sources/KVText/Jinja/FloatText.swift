import Foundation

/// Floating-point numbers as Python writes and reads them.
enum FloatText {
    /// Python's `repr`: the shortest digits that read back, with an exponent below -4 and from 16.
    static func shortest(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "nan" : value < 0 ? "-inf" : "inf" }
        let (digits, exponent) = shortestDigits(value.magnitude)
        let sign = value.sign == .minus ? "-" : ""
        if exponent < -4 || exponent >= 16 {
            let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
            return sign + digits.prefix(1) + fraction + exponentText(exponent)
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        let whole = exponent + 1
        if digits.count <= whole { return sign + digits + String(repeating: "0", count: whole - digits.count) + ".0" }
        return sign + digits.prefix(whole) + "." + digits.dropFirst(whole)
    }

    /// The shortest digits, and the exponent of the first one.
    static func shortestDigits(_ magnitude: Double) -> (digits: String, exponent: Int) {
        guard magnitude > 0 else { return ("0", 0) }
        let parts = magnitude.description.lowercased().split(separator: "e")
        var exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        let point = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        var digits = String(point[0]) + (point.count > 1 ? point[1] : "")
        exponent += point[0].count - 1
        while digits.hasPrefix("0"), digits.count > 1 {
            digits.removeFirst()
            exponent -= 1
        }
        while digits.hasSuffix("0"), digits.count > 1 { digits.removeLast() }
        return (digits, exponent)
    }

    static func exponentText(_ exponent: Int) -> String {
        let digits = String(exponent.magnitude)
        return "e" + (exponent < 0 ? "-" : "+") + (digits.count < 2 ? "0" : "") + digits
    }

    /// A decimal number as C reads it; nil where the text is none.
    static func parse(_ text: String) -> Double? {
        text.withCString { start in
            var end: UnsafeMutablePointer<CChar>?
            let value = strtod(start, &end)
            guard let end, UnsafePointer(end) > start, end.pointee == 0 else { return nil }
            return value
        }
    }

    /// C's `%.{precision}{kind}` of a magnitude that is finite; precision is bounded by the caller.
    static func printed(_ magnitude: Double, kind: Character, precision: Int) -> String {
        String(format: "%.\(precision)\(kind)", magnitude)
    }

    /// Python's `round(value, digits)`: exact decimal rounding, ties to even. nil where the result is too large.
    static func rounded(_ value: Double, digits: Int) throws(TemplateError) -> Double? {
        guard value.isFinite, digits <= 323 else { return value }
        if digits >= 0 {
            let result = parse(printed(value.magnitude, kind: "f", precision: digits)) ?? value
            return result.isFinite ? value.sign == .minus ? -result : result : nil
        }
        guard digits >= -308, let whole = Integer(truncating: value.magnitude) else { return value.sign == .minus ? -0.0 : 0 }
        let unit = try Integer.powerOfTen(-digits)
        var (quotient, remainder) = try whole.dividedFloor(by: unit)
        let twice = try remainder + remainder
        let hasFraction = value.magnitude != value.magnitude.rounded(.towardZero)
        if unit < twice || twice == unit && (hasFraction || quotient.isOdd) { quotient = try quotient + Integer(1) }
        remainder = try quotient * unit
        guard let result = remainder.double else { return nil }
        return value.sign == .minus ? -result : result
    }
}
