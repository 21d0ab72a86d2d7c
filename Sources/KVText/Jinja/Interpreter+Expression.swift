extension Interpreter {
    func evaluate(_ expression: Expression) throws(TemplateError) -> Value {
        try charge()
        switch expression {
        case .undefined: return .undefined("undefined")
        case .none: return .none
        case .bool(let bool): return .bool(bool)
        case .integer(let integer): return .integer(integer)
        case .float(let float): return .float(float)
        case .string(let text): return .text(text)
        case .name(let name): return lookUp(name)
        default: return try nested { () throws(TemplateError) in try evaluateCompound(expression) }
        }
    }

    private func evaluateCompound(_ expression: Expression) throws(TemplateError) -> Value {
        switch expression {
        case .list(let parts): return try .list(try evaluate(parts))
        case .tuple(let parts): return try .list(try evaluate(parts), isTuple: true)
        case .map(let entries):
            var values: [(key: Value, value: Value)] = []
            for entry in entries {
                let key = try evaluate(entry.key)
                try charge(key: key)
                values.append((key, try evaluate(entry.value)))
            }
            return try .map(values)
        case .conditional(let value, let test, let other):
            if try evaluate(test).isTrue { return try evaluate(value) }
            guard let other else { return .undefined("the inline if-expression has no else") }
            return try evaluate(other)
        case .any(let parts):
            for part in parts.dropLast() {
                let value = try evaluate(part)
                if value.isTrue { return value }
            }
            return try evaluate(parts[parts.count - 1])
        case .all(let parts):
            for part in parts.dropLast() {
                let value = try evaluate(part)
                if !value.isTrue { return value }
            }
            return try evaluate(parts[parts.count - 1])
        case .not(let operand): return .bool(try !evaluate(operand).isTrue)
        case .comparison(let first, let rest):
            var left = try evaluate(first)
            for (operation, expression) in rest {
                let right = try evaluate(expression)
                if try !compare(left, operation, right) { return .bool(false) }
                left = right
            }
            return .bool(true)
        case .arithmetic(let first, let rest):
            var value = try evaluate(first)
            for (operation, right) in rest { value = try compute(value, operation, try evaluate(right)) }
            return value
        case .concatenation(let parts):
            var joined = Text("")
            for part in parts {
                let text = try text(of: try evaluate(part))
                try charge(size: text.count)
                joined.append(text)
            }
            return .string(joined)
        case .negative(let operand): return try compute(.integer(0), .subtract, try evaluate(operand))
        case .positive(let operand): return try compute(.integer(0), .add, try evaluate(operand))
        case .chain(let base, let links): return try chain(base, links)
        default: return try evaluate(expression)
        }
    }

    func evaluate(_ expressions: [Expression]) throws(TemplateError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(expressions.count)
        for expression in expressions { values.append(try evaluate(expression)) }
        try charge(size: values.count)
        return values
    }

    // MARK: Chains

    private func chain(_ base: Expression, _ links: [Expression.Link]) throws(TemplateError) -> Value {
        var value = try evaluate(base)
        var at = 0
        while at < links.count {
            try charge()
            // A method is called where it is named; it is no value of its own.
            if case .attribute(let name) = links[at], at + 1 < links.count, case .call(let arguments) = links[at + 1],
                hasMethod(value, name)
            {
                value = try call(method: name, of: value, try evaluate(arguments))
                at += 2
            } else {
                value = try apply(links[at], to: value)
                at += 1
            }
        }
        return value
    }

    func apply(_ links: [Expression.Link], to value: Value) throws(TemplateError) -> Value {
        var value = value
        for link in links { value = try apply(link, to: value) }
        return value
    }

    private func apply(_ link: Expression.Link, to value: Value) throws(TemplateError) -> Value {
        switch link {
        case .attribute(let name): return try attribute(name, of: value)
        case .item(let expression): return try item(try evaluate(expression), of: value)
        case .slice(let start, let end, let step):
            func bound(_ expression: Expression?) throws(TemplateError) -> Int? {
                guard let expression else { return nil }
                let value = try evaluate(expression)
                if case .none = value { return nil }
                guard let integer = value.integer else {
                    throw TemplateError(.evaluation, "slice indices must be integers, not \(value.typeName)")
                }
                return integer
            }
            return try slice(value, try bound(start), try bound(end), try bound(step))
        case .call(let arguments): return try call(value, try evaluate(arguments))
        case .filter(let name, let arguments): return try filter(name, value, try evaluate(arguments))
        case .test(let name, let arguments, let isNegated):
            return .bool(try test(name, value, try evaluate(arguments)) != isNegated)
        }
    }

    func attribute(_ name: String, of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .map(let map):
            if hasMethod(value, name) { return .function(.method(name)) }
            if let found = map[name] { return found }
        case .namespace(let namespace): if let found = namespace.values[name] { return found }
        case .loop(let loop): if let found = try attribute(name, of: loop) { return found }
        case .function(.macro(let macro)) where name == "name": return .text(macro.definition.name)
        default: if hasMethod(value, name) { return .function(.method(name)) }
        }
        return .undefined("'\(value.typeName) object' has no attribute '\(name)'")
    }

    private func attribute(_ name: String, of loop: Value.Loop) throws(TemplateError) -> Value? {
        let count = loop.items.count
        switch name {
        case "index": return .integer(loop.index + 1)
        case "index0": return .integer(loop.index)
        case "revindex": return .integer(count - loop.index)
        case "revindex0": return .integer(count - loop.index - 1)
        case "first": return .bool(loop.index == 0)
        case "last": return .bool(loop.index == count - 1)
        case "length": return .integer(count)
        case "depth": return .integer(loop.depth + 1)
        case "depth0": return .integer(loop.depth)
        case "previtem":
            return loop.index > 0 ? loop.items[loop.index - 1] : .undefined("there is no previous item")
        case "nextitem":
            return loop.index + 1 < count ? loop.items[loop.index + 1] : .undefined("there is no next item")
        default: return nil
        }
    }

    func item(_ key: Value, of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .map(let map):
            try charge(key: key)
            if let found = map[key.keyName] { return found }
        case .list(let list):
            if let index = key.integer {
                let at = index < 0 ? index + list.items.count : index
                if list.items.indices.contains(at) { return list.items[at] }
            }
        case .string(let text):
            if let index = key.integer {
                let scalars = text.string.unicodeScalars
                try charge(text.count >> 6)
                let at = index < 0 ? index + scalars.count : index
                if at >= 0, at < scalars.count { return try slice(value, at, at + 1, nil) }
            }
        default: break
        }
        if case .string(let name) = key { return try attribute(name.string, of: value) }
        return .undefined("'\(value.typeName) object' has no element \(try text(of: key).string)")
    }

    func slice(_ value: Value, _ start: Int?, _ end: Int?, _ step: Int?) throws(TemplateError) -> Value {
        let step = step ?? 1
        guard step != 0 else { throw TemplateError(.evaluation, "slice step cannot be zero") }
        func indices(_ count: Int) -> [Int] {
            func clamp(_ bound: Int?, _ fallback: Int) -> Int {
                guard let bound else { return fallback }
                let at = bound < 0 ? max(bound, -count - 1) + count : bound
                return step > 0 ? min(max(at, 0), count) : min(max(at, -1), count - 1)
            }
            let from = clamp(start, step > 0 ? 0 : count - 1)
            let to = clamp(end, step > 0 ? count : -1)
            return Array(stride(from: from, to: to, by: max(-count - 1, min(step, count + 1))))
        }
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .list(let list):
            try charge(size: list.items.count)
            return try .list(indices(list.items.count).map { list.items[$0] }, isTuple: list.isTuple)
        case .string(let text):
            try charge(size: text.count)
            try charge(text.count >> 3)
            var offsets: [Int] = [0]
            for scalar in text.string.unicodeScalars { offsets.append(offsets[offsets.count - 1] + UTF8.width(scalar)) }
            let chosen = indices(offsets.count - 1)
            guard let first = chosen.first, let last = chosen.last else { return .text("") }
            if step == 1 { return .string(text[offsets[first]..<offsets[last + 1]]) }
            var picked = String.UnicodeScalarView()
            let scalars = Array(text.string.unicodeScalars)
            for index in chosen { picked.append(scalars[index]) }
            return .string(Text(String(picked), isForeign: text.isForeign))
        default: throw TemplateError(.evaluation, "'\(value.typeName)' object is not subscriptable")
        }
    }

    /// What a loop over a value goes through.
    func items(of value: Value) throws(TemplateError) -> [Value] {
        switch value {
        case .undefined: return []
        case .list(let list):
            try charge(list.items.count >> 2)
            return list.items
        case .map(let map):
            try charge(map.entries.count >> 2)
            return map.entries.map(\.key)
        case .string(let text):
            try charge(size: text.count * 16)
            return text.string.unicodeScalars.map { .string(Text(String(Character($0)), isForeign: text.isForeign)) }
        default: throw TemplateError(.evaluation, "'\(value.typeName)' object is not iterable")
        }
    }

    // MARK: Operators

    private func compare(
        _ left: Value, _ operation: Expression.Comparison, _ right: Value
    ) throws(TemplateError) -> Bool {
        try charge(min(left.weight, right.weight))
        switch operation {
        case .equal: return left.equals(right)
        case .notEqual: return !left.equals(right)
        case .less: return try left.isLess(than: right)
        case .lessOrEqual: return try left.isAtMost(right)
        case .greater: return try right.isLess(than: left)
        case .greaterOrEqual: return try right.isAtMost(left)
        case .within: return try contains(right, left)
        case .notWithin: return try !contains(right, left)
        }
    }

    func contains(_ container: Value, _ value: Value) throws(TemplateError) -> Bool {
        try charge(container.weight)
        switch container {
        case .undefined: return false
        case .list(let list): return list.items.contains { $0.equals(value) }
        case .map(let map):
            try charge(key: value)
            return map[value.keyName] != nil
        case .string(let text):
            guard case .string(let part) = value else {
                throw TemplateError(.evaluation, "'in <string>' requires string as left operand, not \(value.typeName)")
            }
            return text.firstOffset(of: part, from: 0) != nil
        default: throw TemplateError(.evaluation, "argument of type '\(container.typeName)' is not iterable")
        }
    }

    func compute(
        _ left: Value, _ operation: Expression.Arithmetic, _ right: Value
    ) throws(TemplateError) -> Value {
        for value in [left, right] { if case .undefined(let words) = value { throw TemplateError(.evaluation, words) } }
        if operation != .divide, let left = left.integer, let right = right.integer {
            return try compute(left, operation, right)
        }
        if let left = left.number, let right = right.number { return try compute(left, operation, right) }
        switch (left, operation, right) {
        case (.string(var text), .add, .string(let other)):
            try charge(size: text.count + other.count)
            if text.isSafe || other.isSafe {
                text = text.escaped
                text.append(other.escaped)
            } else {
                text.append(other)
            }
            return .string(text)
        case (.list(let list), .add, .list(let other)):
            try charge(size: (list.items.count + other.items.count) * 8)
            return try .list(list.items + other.items, isTuple: list.isTuple)
        case (.string, .multiply, _), (.list, .multiply, _):
            if let count = right.integer { return try repeated(left, count) }
        case (_, .multiply, .string), (_, .multiply, .list):
            if let count = left.integer { return try repeated(right, count) }
        case (.string(let format), .modulo, _): return .string(try formatted(format, right))
        default: break
        }
        throw TemplateError(
            .evaluation,
            "unsupported operand type(s) for \(operation.rawValue): '\(left.typeName)' and '\(right.typeName)'")
    }

    private func repeated(_ value: Value, _ count: Int) throws(TemplateError) -> Value {
        let count = max(0, count)
        let unit: Int
        switch value {
        case .string(let text): unit = text.count
        case .list(let list): unit = list.items.count * 16
        default: unit = 0
        }
        let (size, overflows) = unit.multipliedReportingOverflow(by: count)
        try charge(size: overflows ? .max : size)
        if case .list(let list) = value {
            return try .list(
                Array(repeatElement(list.items, count: list.items.isEmpty ? 0 : count).joined()), isTuple: list.isTuple)
        }
        guard case .string(let text) = value, text.count > 0 else { return .text("") }
        return .string(text.mapped { String(repeating: $0, count: count) })
    }

    private func compute(_ left: Int, _ operation: Expression.Arithmetic, _ right: Int) throws(TemplateError) -> Value {
        let (value, overflows): (Int, Bool)
        switch operation {
        case .add: (value, overflows) = left.addingReportingOverflow(right)
        case .subtract: (value, overflows) = left.subtractingReportingOverflow(right)
        case .multiply: (value, overflows) = left.multipliedReportingOverflow(by: right)
        case .floorDivide, .modulo:
            guard right != 0 else { throw TemplateError(.evaluation, "division by zero") }
            guard right != -1 else { return operation == .modulo ? .integer(0) : try compute(0, .subtract, left) }
            let (quotient, remainder) = left.quotientAndRemainder(dividingBy: right)
            let isOff = remainder != 0 && (remainder < 0) != (right < 0)
            return .integer(operation == .modulo ? remainder + (isOff ? right : 0) : quotient - (isOff ? 1 : 0))
        case .power:
            guard right >= 0 else { return try compute(Double(left), operation, Double(right)) }
            return .integer(try power(left, right))
        case .divide: return try compute(Double(left), operation, Double(right))
        }
        guard !overflows else { throw TemplateError(.evaluation, "the number is too large") }
        return .integer(value)
    }

    private func power(_ base: Int, _ exponent: Int) throws(TemplateError) -> Int {
        if base == 0 || base == 1 { return exponent == 0 ? 1 : base }
        if base == -1 { return exponent % 2 == 0 ? 1 : -1 }
        var value = 1
        guard exponent < 64 else { throw TemplateError(.evaluation, "the number is too large") }
        for _ in 0..<exponent {
            let (product, overflows) = value.multipliedReportingOverflow(by: base)
            guard !overflows else { throw TemplateError(.evaluation, "the number is too large") }
            value = product
        }
        return value
    }
}
