import Foundation

extension Interpreter {
    func compare(
        _ left: Value, _ operation: Expression.Comparison, _ right: Value
    ) throws(TemplateError) -> Bool {
        try charge(comparing: left, right)
        switch operation {
        case .equal: return left.equals(right)
        case .notEqual: return !left.equals(right)
        case .less: return try left.isLess(than: right)
        case .lessOrEqual: return try left.isLess(than: right, orEqual: true)
        case .greater: return try right.isLess(than: left)
        case .greaterOrEqual: return try right.isLess(than: left, orEqual: true)
        case .within: return try contains(right, left)
        case .notWithin: return try !contains(right, left)
        }
    }

    /// For a comparison of two values; those of dictionaries' keys look at each pair.
    func charge(comparing left: Value, _ right: Value) throws(TemplateError) {
        try charge(min(left.weight, right.weight))
        if case .list(let one) = left, case .list(let two) = right, !one.isSequence, !two.isSequence {
            try charge(min(one.items.count * two.items.count, 1 << 40))
        }
    }

    func contains(_ container: Value, _ value: Value) throws(TemplateError) -> Bool {
        try charge(container.weight)
        switch container {
        case .undefined: return false
        case .list(let list): return list.items.contains { $0.equals(value) }
        case .map(let map):
            try charge(key: value)
            return map[try value.key()] != nil
        case .string(let text):
            guard case .string(let part) = value else {
                throw TemplateError(.evaluation, "'in <string>' requires string as left operand, not \(value.typeName)")
            }
            try charge(part.count >> 6)
            return text.contains(part)
        case .iterator(let iterator):
            while let item = try next(iterator) {
                try charge(comparing: item, value)
                if item.equals(value) { return true }
            }
            return false
        default: throw TemplateError(.evaluation, "argument of type '\(container.typeName)' is not iterable")
        }
    }

    func compute(
        _ left: Value, _ operation: Expression.Arithmetic, _ right: Value
    ) throws(TemplateError) -> Value {
        if operation == .modulo, case .string(let format) = left { return .string(try formatted(format, right)) }
        for value in [left, right] { if case .undefined(let words) = value { throw TemplateError(.evaluation, words) } }
        if let left = left.integer, let right = right.integer { return try compute(left, operation, right) }
        if let left = try floatValue(left), let right = try floatValue(right) { return try compute(left, operation, right) }
        switch (left, operation, right) {
        case (.string(let text), .add, .string(let other)):
            try charge(size: text.count + other.count)
            return .string(text + other)
        case (.list(let list), .add, .list(let other))
        where list.isTuple && other.isTuple || list.kind == .list && other.kind == .list:
            try charge(size: (list.items.count + other.items.count) * 8)
            return try .list(list.items + other.items, list.isTuple ? .tuple : .list)
        case (.string, .multiply, _), (.list, .multiply, _):
            if let count = right.integer { return try repeated(left, count) }
        case (_, .multiply, .string), (_, .multiply, .list):
            if let count = left.integer { return try repeated(right, count) }
        default: break
        }
        throw TemplateError(
            .evaluation,
            "unsupported operand type(s) for \(operation.rawValue): '\(left.typeName)' and '\(right.typeName)'")
    }

    /// A number as floating point; nil where the value is none.
    /// - Throws: of reason evaluation where an integer is too large for one.
    func floatValue(_ value: Value) throws(TemplateError) -> Double? {
        if let integer = value.integer {
            guard let double = integer.double else {
                throw TemplateError(.evaluation, "int too large to convert to float")
            }
            return double
        }
        if case .float(let float) = value { return float }
        return nil
    }

    private func repeated(_ value: Value, _ count: Integer) throws(TemplateError) -> Value {
        let count = max(0, count.clamped)
        switch value {
        case .string(let text):
            let (size, overflows) = text.count.multipliedReportingOverflow(by: count)
            try charge(size: overflows ? .max : size)
            return .string(text.repeated(text.isEmpty ? 0 : count))
        case .list(let list) where list.isTuple || list.kind == .list:
            let (size, overflows) = (list.items.count * 16).multipliedReportingOverflow(by: count)
            try charge(size: overflows ? .max : size)
            return try .list(
                Array(repeatElement(list.items, count: list.items.isEmpty ? 0 : count).joined()),
                list.isTuple ? .tuple : .list)
        default: throw TemplateError(.evaluation, "can't multiply sequence by non-int of type '\(value.typeName)'")
        }
    }

    private func compute(
        _ left: Integer, _ operation: Expression.Arithmetic, _ right: Integer
    ) throws(TemplateError) -> Value {
        try charge((left.weight + 1) * (right.weight + 1) >> 6)
        switch operation {
        case .add: return .integer(try left + right)
        case .subtract: return .integer(try left - right)
        case .multiply: return .integer(try left * right)
        case .floorDivide, .modulo:
            guard !right.isZero else { throw TemplateError(.evaluation, "integer division or modulo by zero") }
            let (quotient, remainder) = try left.dividedFloor(by: right)
            return .integer(operation == .modulo ? remainder : quotient)
        case .divide:
            guard !right.isZero else { throw TemplateError(.evaluation, "division by zero") }
            guard let quotient = left.dividedExactly(by: right) else {
                throw TemplateError(.evaluation, "integer division result too large for a float")
            }
            return .float(quotient)
        case .power:
            if right.isNegative {
                guard let base = left.double, let exponent = right.double else {
                    throw TemplateError(.evaluation, "int too large to convert to float")
                }
                return try compute(base, operation, exponent)
            }
            // A result of many limbs is made of products of its halves.
            let bits = min(left.bitCount * min(right.clamped, Integer.maximumBits), Integer.maximumBits)
            try charge((bits >> 5) * (bits >> 5) >> 6)
            return .integer(try left.power(right))
        }
    }

    private func compute(
        _ left: Double, _ operation: Expression.Arithmetic, _ right: Double
    ) throws(TemplateError) -> Value {
        switch operation {
        case .add: return .float(left + right)
        case .subtract: return .float(left - right)
        case .multiply: return .float(left * right)
        case .power: return .float(try power(left, right))
        case .divide:
            guard right != 0 else { throw TemplateError(.evaluation, "float division by zero") }
            return .float(left / right)
        case .floorDivide, .modulo:
            guard right != 0 else { throw TemplateError(.evaluation, "float floor division or modulo by zero") }
            var remainder = fmod(left, right)
            var quotient = (left - remainder) / right
            if remainder != 0 {
                if (right < 0) != (remainder < 0) {
                    remainder += right
                    quotient -= 1
                }
            } else {
                remainder = Double(signOf: right, magnitudeOf: 0)
            }
            if operation == .modulo { return .float(remainder) }
            guard quotient != 0 else { return .float(Double(signOf: left / right, magnitudeOf: 0)) }
            let floor = quotient.rounded(.down)
            return .float(quotient - floor > 0.5 ? floor + 1 : floor)
        }
    }

    private func power(_ base: Double, _ exponent: Double) throws(TemplateError) -> Double {
        if base == 0, exponent < 0 {
            throw TemplateError(.evaluation, "0.0 cannot be raised to a negative power")
        }
        if base < 0, base.isFinite, exponent.isFinite, exponent != exponent.rounded() {
            throw TemplateError(.evaluation, "complex numbers are not supported")
        }
        let result = pow(base, exponent)
        if result.isInfinite, base.isFinite, exponent.isFinite {
            throw TemplateError(.evaluation, "Numerical result out of range")
        }
        return result
    }
}
