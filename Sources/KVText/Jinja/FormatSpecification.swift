/// Python's format specifications: `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`.
struct FormatSpecification {
    private var fill: UInt32 = 0x20
    private var align: UInt32?
    private var sign: UInt32 = 0x2D
    private var avoidsNegativeZero = false
    private var isAlternate = false
    private var width = 0
    private var grouping: UInt32?
    private var precision: Int?
    private var type: UInt32?

    /// The widest and most precise number or text: what is beyond would fill the budget.
    static let maximumWidth = 1 << 20

    private static func failure(_ message: String) -> TemplateError { TemplateError(.evaluation, message) }

    private static func named(_ point: UInt32) -> String { Text(points: [point]).string }

    /// - Parameter isText: whether the default is to the left.
    private init(_ text: [UInt32], isText: Bool) throws(TemplateError) {
        var rest = text[...]
        let aligns: Set<UInt32> = [0x3C, 0x3E, 0x3D, 0x5E]
        var hasFill = false
        if rest.count >= 2, aligns.contains(rest[1]) {
            (fill, align, hasFill) = (rest[0], rest[1], true)
            rest = rest.dropFirst(2)
        } else if let first = rest.first, aligns.contains(first) {
            align = rest.removeFirst()
        }
        if let first = rest.first, [0x2B, 0x2D, 0x20].contains(first) {
            sign = rest.removeFirst()
            hasSign = true
        }
        if rest.first == 0x7A {
            avoidsNegativeZero = true
            rest.removeFirst()
        }
        if rest.first == 0x23 {
            isAlternate = true
            rest.removeFirst()
        }
        if !hasFill, rest.first == 0x30 {
            fill = 0x30
            if align == nil, !isText { align = 0x3D }
            rest.removeFirst()
        }
        width = try Self.number(&rest) ?? 0
        for mark in [0x2C, 0x5F] as [UInt32] where rest.first == mark {
            guard grouping == nil else { throw Self.failure("Cannot specify both ',' and '_'.") }
            grouping = rest.removeFirst()
        }
        if rest.first == 0x2C { throw Self.failure("Cannot specify ',' twice or behind '_'.") }
        if rest.first == 0x2E {
            rest.removeFirst()
            guard let number = try Self.number(&rest) else { throw Self.failure("Format specifier missing precision") }
            precision = number
        }
        guard rest.count <= 1 else { throw Self.failure("Invalid format specifier '\(Text(points: text).string)'") }
        type = rest.first
    }

    private var hasSign = false

    private static func number(_ rest: inout ArraySlice<UInt32>) throws(TemplateError) -> Int? {
        var number: Int?
        while let point = rest.first, let digit = CodePoint.decimalValue(point) {
            number = min((number ?? 0) * 10 + Int(digit), 1 << 40)
            rest.removeFirst()
        }
        if let number, number > maximumWidth { throw TemplateError(.size, "the format asks for \(number) characters") }
        return number
    }

    /// Python's `format(value, specification)`, where the specification is not empty.
    static func format(_ value: Value, _ specification: Text) throws(TemplateError) -> Text {
        switch value {
        case .string(let text): return try Self(specification.points, isText: true).format(text.plain)
        case .integer(let integer): return try Self(specification.points, isText: false).format(integer)
        case .bool(let bool): return try Self(specification.points, isText: false).format(Integer(bool ? 1 : 0))
        case .float(let float): return try Self(specification.points, isText: false).format(float, "float")
        default: throw failure("unsupported format string passed to \(value.typeName).__format__")
        }
    }

    private func format(_ text: Text) throws(TemplateError) -> Text {
        guard type == nil || type == 0x73 else { throw unknown("str") }
        guard !hasSign else { throw Self.failure("Sign not allowed in string format specifier") }
        guard !isAlternate, !avoidsNegativeZero, align != 0x3D else {
            throw Self.failure("'#', 'z' and '=' are not allowed in a string format specifier")
        }
        guard grouping == nil else { throw Self.failure("Cannot specify ',' with 's'.") }
        let cut = precision.map { $0 < text.count ? text[0..<$0] : text } ?? text
        return padded(Text(""), cut, default: 0x3C)
    }

    private func unknown(_ name: String) -> TemplateError {
        Self.failure("Unknown format code '\(type.map(Self.named) ?? "")' for object of type '\(name)'")
    }

    private func format(_ integer: Integer) throws(TemplateError) -> Text {
        let radix: Int
        switch type.map(Self.named) {
        case nil, "d", "n": radix = 10
        case "b": radix = 2
        case "o": radix = 8
        case "x", "X": radix = 16
        case "c": return try character(integer)
        case "e", "E", "f", "F", "g", "G", "%":
            guard let number = integer.double else { throw Self.failure("int too large to convert to float") }
            return try format(number, "int")
        default: throw unknown("int")
        }
        guard precision == nil else { throw Self.failure("Precision not allowed in integer format specifier") }
        guard !avoidsNegativeZero else {
            throw Self.failure("Negative zero coercion (z) not allowed in format specifier with integer")
        }
        if let grouping, grouping == 0x2C ? radix != 10 || type == 0x6E : type == 0x6E {
            throw Self.failure("Cannot specify '\(Self.named(grouping))' with '\(type.map(Self.named) ?? "")'.")
        }
        var digits = radix == 10 ? try integer.magnitude.decimal() : integer.magnitude.text(radix: radix)
        var prefix = isAlternate && radix != 10 ? "0" + (type.map(Self.named) ?? "") : ""
        if type == 0x58 {
            digits = digits.uppercased()
            prefix = prefix.uppercased()
        }
        return number(isNegative: integer.isNegative, prefix: prefix, digits: digits, rest: "", group: radix == 10 ? 3 : 4)
    }

    private func character(_ integer: Integer) throws(TemplateError) -> Text {
        guard !hasSign, !isAlternate, precision == nil, grouping == nil, !avoidsNegativeZero else {
            throw Self.failure("sign, '#', precision and ',' are not allowed with integer format specifier 'c'")
        }
        guard let small = integer.small, (0...0x10FFFF).contains(small) else {
            throw Self.failure("%c arg not in range(0x110000)")
        }
        // The number may be a message's.
        return padded(Text(""), Text(points: [UInt32(small)], isForeign: true), default: 0x3E)
    }

    private func format(_ float: Double, _ name: String) throws(TemplateError) -> Text {
        var kind = type.map(Self.named) ?? ""
        guard ["", "e", "E", "f", "F", "g", "G", "n", "%"].contains(kind) else { throw unknown(name) }
        if kind == "n", let grouping { throw Self.failure("Cannot specify '\(Self.named(grouping))' with 'n'.") }
        if kind == "n" { kind = "g" }
        var value = kind == "%" ? float * 100 : float
        if kind == "%", !value.isFinite, float.isFinite { value = float < 0 ? -.infinity : .infinity }
        var text = try NumberText.printed(value.magnitude, kind: kind, precision: precision, isAlternate: isAlternate)
        var isNegative = value.sign == .minus && !value.isNaN
        if avoidsNegativeZero, isNegative, !text.unicodeScalars.contains(where: { ("1"..."9").contains($0) || $0 == "i" }) {
            isNegative = false
        }
        if kind == "%" { text += "%" }
        let digits = text.prefix { $0.isNumber }
        return number(
            isNegative: isNegative, prefix: "", digits: String(digits), rest: String(text[digits.endIndex...]), group: 3)
    }

    private func number(isNegative: Bool, prefix: String, digits: String, rest: String, group: Int) -> Text {
        let mark = isNegative ? "-" : sign == 0x2B ? "+" : sign == 0x20 ? " " : ""
        var whole = digits
        if let grouping {
            let taken = mark.utf8.count + prefix.utf8.count + rest.utf8.count
            let least = fill == 0x30 && align == 0x3D ? max(0, width - taken) : 0
            whole = Self.grouped(digits, Self.named(grouping), group, least: least)
        }
        return padded(Text(mark + prefix), Text(whole + rest), default: 0x3E)
    }

    /// Digits in groups, with zeros before them up to a width.
    private static func grouped(_ digits: String, _ separator: String, _ group: Int, least: Int) -> String {
        guard !digits.isEmpty else { return digits }
        var rest = Array(digits.utf8)
        var missing = least
        var parts: [String] = []
        while true {
            let length = min(group, max(rest.count, missing, 1))
            let taken = min(rest.count, length)
            let part = [UInt8](repeating: 0x30, count: length - taken) + rest.suffix(taken)
            rest.removeLast(taken)
            missing -= length
            parts.append(String(decoding: part, as: UTF8.self))
            if rest.isEmpty, missing <= 0 { break }
            missing -= 1
        }
        return parts.reversed().joined(separator: separator)
    }

    private func padded(_ mark: Text, _ text: Text, default alignment: UInt32) -> Text {
        let missing = max(0, width - mark.count - text.count)
        let side = align ?? alignment
        let before = side == 0x3E ? missing : side == 0x5E ? missing / 2 : 0
        func filling(_ count: Int) -> Text { Text(points: [UInt32](repeating: fill, count: count)) }
        var result = filling(before)
        result.append(mark)
        if side == 0x3D { result.append(filling(missing)) }
        result.append(text)
        if side == 0x3C || side == 0x5E { result.append(filling(missing - before)) }
        return result
    }
}

/// Floating-point numbers by Python's presentation types.
enum NumberText {
    /// - Parameters:
    ///   - kind: `e`, `f`, `g`, their capitals, `%`, or empty for the shortest text.
    ///   - precision: at most `FormatSpecification.maximumWidth`.
    static func printed(
        _ magnitude: Double, kind: String, precision: Int?, isAlternate: Bool
    ) throws(TemplateError) -> String {
        guard magnitude.isFinite else {
            let text = magnitude.isNaN ? "nan" : "inf"
            return kind == kind.uppercased() && kind != "" && kind != "%" ? text.uppercased() : text
        }
        switch kind {
        case "":
            guard let precision else {
                let text = FloatText.shortest(magnitude)
                guard isAlternate, !text.contains("."), let mark = text.firstIndex(of: "e") else { return text }
                return text[..<mark] + "." + text[mark...]
            }
            return general(magnitude, max(1, precision), isAlternate: isAlternate, hasPoint: true)
        case "g": return general(magnitude, max(1, precision ?? 6), isAlternate: isAlternate)
        case "G": return general(magnitude, max(1, precision ?? 6), isAlternate: isAlternate).uppercased()
        case "e", "E":
            let text = FloatText.printed(magnitude, kind: "e", precision: precision ?? 6)
            let pointed = isAlternate && precision == 0 ? text.replacingFirst("e", with: ".e") : text
            return kind == "E" ? pointed.uppercased() : pointed
        default:
            let text = FloatText.printed(magnitude, kind: "f", precision: precision ?? 6)
            return isAlternate && precision == 0 ? text + "." : text
        }
    }

    /// C's `%g` with so many digits. With `hasPoint` as `repr` does: whole numbers end in `.0`, and one digit less stays
    /// without an exponent.
    private static func general(_ magnitude: Double, _ precision: Int, isAlternate: Bool, hasPoint: Bool = false) -> String {
        // More digits than a number has are zeros.
        let text = FloatText.printed(magnitude, kind: "e", precision: precision - 1)
        let parts = text.split(separator: "e")
        let exponent = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
        var digits = Array(parts[0].utf8).filter { $0 != 0x2E }
        let isExponential = exponent < -4 || exponent >= precision - (hasPoint ? 1 : 0)
        if !isAlternate { while digits.count > 1, digits.last == 0x30 { digits.removeLast() } }
        func string(_ part: some Sequence<UInt8>) -> String { String(decoding: Array(part), as: UTF8.self) }
        if isExponential {
            let fraction = digits.count > 1 || isAlternate ? "." + string(digits.dropFirst()) : ""
            return string(digits.prefix(1)) + fraction + FloatText.exponentText(exponent)
        }
        if exponent < 0 { return "0." + String(repeating: "0", count: -exponent - 1) + string(digits) }
        let whole = exponent + 1
        while digits.count < whole { digits.append(0x30) }
        let fraction = string(digits.dropFirst(whole))
        if !fraction.isEmpty || isAlternate {
            return string(digits.prefix(whole)) + "." + (fraction.isEmpty && hasPoint ? "0" : fraction)
        }
        return string(digits) + (hasPoint ? ".0" : "")
    }
}

extension String {
    fileprivate func replacingFirst(_ mark: Character, with text: String) -> String {
        guard let at = firstIndex(of: mark) else { return self }
        return self[..<at] + text + self[index(after: at)...]
    }
}
