import Foundation

extension Interpreter {
    func compute(
        _ left: Double, _ operation: Expression.Arithmetic, _ right: Double
    ) throws(TemplateError) -> Value {
        switch operation {
        case .add: return .float(left + right)
        case .subtract: return .float(left - right)
        case .multiply: return .float(left * right)
        case .power: return .float(pow(left, right))
        case .divide, .floorDivide, .modulo:
            guard right != 0 else { throw TemplateError(.evaluation, "division by zero") }
            if operation == .divide { return .float(left / right) }
            let quotient = (left / right).rounded(.down)
            return .float(operation == .floorDivide ? quotient : left - quotient * right)
        }
    }

    /// Python's `format % values`: %s, %r, %d, %i, %f, %e, %g, %x with flags, width and precision.
    func formatted(_ format: Text, _ values: Value) throws(TemplateError) -> Text {
        try charge(format.count)
        var arguments: [Value] = [values]
        if case .list(let list) = values, list.isTuple { arguments = list.items }
        var result = Text("")
        var rest = format.string[...]
        var used = 0
        while let percent = rest.firstIndex(of: "%") {
            result.append(Text(String(rest[..<percent]), isForeign: format.isForeign))
            rest = rest[rest.index(after: percent)...]
            let specification = rest.prefix { "-+ #0123456789.".contains($0) }
            rest = rest[specification.endIndex...]
            guard let kind = rest.popFirst() else { throw TemplateError(.evaluation, "incomplete format") }
            if kind == "%" {
                result.append("%")
                continue
            }
            guard used < arguments.count else {
                throw TemplateError(.evaluation, "not enough arguments for format string")
            }
            let text = try formatted(String(specification), kind, arguments[used])
            try charge(size: text.count)
            result.append(text)
            used += 1
        }
        result.append(Text(String(rest), isForeign: format.isForeign))
        return result
    }

    private func formatted(_ specification: String, _ kind: Character, _ value: Value) throws(TemplateError) -> Text {
        let parts = specification.split(separator: ".", omittingEmptySubsequences: false)
        let width = parts.first.flatMap { Int($0.drop { "-+ #0".contains($0) }) } ?? 0
        let precision = parts.count > 1 ? Int(parts[1]) ?? 0 : nil
        guard width <= 1 << 16, precision ?? 0 <= 1 << 10 else { throw TemplateError(.size, "the format is too wide") }
        var text: Text
        switch kind {
        case "s", "r":
            text = kind == "s" ? try self.text(of: value) : try representation(of: value)
            if let precision { text = text.mapped { String($0.prefix(precision)) } }
        case "d", "i", "u", "x", "X", "o":
            guard let number = value.integer ?? value.number.flatMap({ Int(exactly: $0.rounded(.towardZero)) })
            else { throw TemplateError(.evaluation, "%\(kind) format: a number is required, not \(value.typeName)") }
            let radix = kind == "x" || kind == "X" ? 16 : kind == "o" ? 8 : 10
            let digits = String(number, radix: radix, uppercase: kind == "X")
            text = Text(specification.contains("+") && number >= 0 ? "+" + digits : digits)
        case "f", "F", "e", "E", "g", "G":
            guard let number = value.number else {
                throw TemplateError(.evaluation, "must be real number, not \(value.typeName)")
            }
            text = Text(String(format: "%.\(precision ?? 6)\(kind)", number))
            if specification.contains("+"), number >= 0 { text = Text("+" + text.string) }
        default: throw TemplateError(.evaluation, "unsupported format character '\(kind)'")
        }
        let missing = width - text.string.unicodeScalars.count
        guard missing > 0 else { return text }
        if specification.hasPrefix("-") { return text.mapped { $0 + String(repeating: " ", count: missing) } }
        let fill = specification.hasPrefix("0") && kind != "s" ? "0" : " "
        return text.mapped { String(repeating: fill, count: missing) + $0 }
    }
}
