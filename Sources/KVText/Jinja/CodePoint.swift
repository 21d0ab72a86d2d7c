/// Python's view of code points: classes and case mappings, which go by code point and never by grapheme. Surrogates are
/// code points of their own, without case.
enum CodePoint {
    static func properties(_ point: UInt32) -> Unicode.Scalar.Properties? { Unicode.Scalar(point)?.properties }

    static func isSurrogate(_ point: UInt32) -> Bool { (0xD800..<0xE000).contains(point) }

    /// `str.isspace`, `\s`, and what `strip` and `split` take away.
    static func isSpace(_ point: UInt32) -> Bool {
        switch point {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// Where `splitlines` cuts.
    static func isLineBreak(_ point: UInt32) -> Bool {
        switch point {
        case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
        default: false
        }
    }

    static func isAlphabetic(_ point: UInt32) -> Bool {
        switch properties(point)?.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
        default: false
        }
    }

    static func isDecimal(_ point: UInt32) -> Bool { properties(point)?.numericType == .decimal }

    static func isDigit(_ point: UInt32) -> Bool {
        let type = properties(point)?.numericType
        return type == .decimal || type == .digit
    }

    static func isNumeric(_ point: UInt32) -> Bool { properties(point)?.numericType != nil }

    static func isAlphanumeric(_ point: UInt32) -> Bool { isAlphabetic(point) || isNumeric(point) }

    /// `\w` of a regular expression.
    static func isWord(_ point: UInt32) -> Bool { point == 0x5F || isAlphanumeric(point) }

    static func isPrintable(_ point: UInt32) -> Bool {
        if point == 0x20 { return true }
        switch properties(point)?.generalCategory {
        case nil, .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
            .spaceSeparator:
            return false
        default: return true
        }
    }

    static func isUppercase(_ point: UInt32) -> Bool { properties(point)?.isUppercase ?? false }
    static func isLowercase(_ point: UInt32) -> Bool { properties(point)?.isLowercase ?? false }
    static func isTitlecase(_ point: UInt32) -> Bool { properties(point)?.generalCategory == .titlecaseLetter }
    static func isCased(_ point: UInt32) -> Bool { isUppercase(point) || isLowercase(point) || isTitlecase(point) }

    /// The value of a decimal digit of any script; nil where it is none.
    static func decimalValue(_ point: UInt32) -> UInt8? {
        if (0x30...0x39).contains(point) { return UInt8(point - 0x30) }
        guard point > 0x7F, isDecimal(point) else { return nil }
        return properties(point)?.numericValue.map { UInt8($0) }
    }

    // MARK: Case

    private static func points(_ mapping: String?, _ point: UInt32) -> [UInt32] {
        mapping.map { $0.unicodeScalars.map(\.value) } ?? [point]
    }

    static func upper(_ point: UInt32) -> [UInt32] {
        if point < 0x80 { return [(0x61...0x7A).contains(point) ? point - 0x20 : point] }
        return points(properties(point)?.uppercaseMapping, point)
    }

    static func title(_ point: UInt32) -> [UInt32] {
        point < 0x80 ? upper(point) : points(properties(point)?.titlecaseMapping, point)
    }

    /// The lower case of a code point alone.
    static func lower(_ point: UInt32) -> [UInt32] {
        if point < 0x80 { return [(0x41...0x5A).contains(point) ? point + 0x20 : point] }
        return points(properties(point)?.lowercaseMapping, point)
    }

    /// The lower case of a code point within a text: a capital sigma that ends a word has its own.
    static func lower(at index: Int, of text: [UInt32]) -> [UInt32] {
        guard text[index] == 0x3A3 else { return lower(text[index]) }
        func isIgnorable(_ point: UInt32) -> Bool { properties(point)?.isCaseIgnorable ?? false }
        func isLetter(_ point: UInt32) -> Bool { properties(point)?.isCased ?? false }
        let before = text[..<index].last { !isIgnorable($0) }
        let after = text[(index + 1)...].first { !isIgnorable($0) }
        return [before.map(isLetter) == true && after.map(isLetter) != true ? 0x3C2 : 0x3C3]
    }

    /// Unicode's full case folding.
    static func folded(_ point: UInt32) -> [UInt32] {
        switch point {
        case 0x131, 0x13A0...0x13F7: return [point]
        case 0x13F8...0x13FD: return [point - 8]
        case 0xAB70...0xABBF: return [point - 0xAB70 + 0x13A0]
        case 0x1E9E: return [0x73, 0x73]
        default: return upper(point).flatMap { lower($0) }
        }
    }
}
