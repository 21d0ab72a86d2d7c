extension Interpreter {
    func evaluate(_ expression: Expression) throws(TemplateError) -> Value {
        try charge()
        switch expression {
        case .undefined: return .undefined("undefined")
        case .none: return .none
        case .bool(let bool): return .bool(bool)
        case .integer(let integer): return .integer(integer)
        case .float(let float): return .float(float)
        case .string(let text): return .string(text)
        case .name(let name): return lookUp(name)
        default: return try nested { () throws(TemplateError) in try evaluateCompound(expression) }
        }
    }

    private func evaluateCompound(_ expression: Expression) throws(TemplateError) -> Value {
        switch expression {
        case .list(let parts): return try .list(try evaluate(parts))
        case .tuple(let parts): return try .list(try evaluate(parts), .tuple)
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
        case .negative(let operand): return try signed(try evaluate(operand), isNegative: true)
        case .positive(let operand): return try signed(try evaluate(operand), isNegative: false)
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
        try apply(links, to: try evaluate(base))
    }

    func apply(_ links: [Expression.Link], to value: Value) throws(TemplateError) -> Value {
        var value = value
        for link in links {
            try charge()
            value = try apply(link, to: value)
        }
        return value
    }

    private func apply(_ link: Expression.Link, to value: Value) throws(TemplateError) -> Value {
        switch link {
        case .attribute(let name): return try attribute(name, of: value)
        case .item(let expression): return try item(try evaluate(expression), of: value)
        case .slice(let start, let end, let step):
            // Python cuts bounds off at those of a machine's integers.
            func bound(_ expression: Expression?) throws(TemplateError) -> Int? {
                guard let expression else { return nil }
                let value = try evaluate(expression)
                if value.isNone { return nil }
                guard let integer = value.integer else {
                    throw TemplateError(.evaluation, "slice indices must be integers, not \(value.typeName)")
                }
                return integer.clamped
            }
            return try slice(value, try bound(start), try bound(end), try bound(step))
        case .call(let arguments): return try call(value, try evaluate(arguments))
        case .filter(let name, let arguments): return try filter(name, value, try evaluate(arguments))
        case .test(let name, let arguments, let isNegated):
            return .bool(try test(name, value, try evaluate(arguments)) != isNegated)
        }
    }

    /// Python's sign before a number.
    private func signed(_ value: Value, isNegative: Bool) throws(TemplateError) -> Value {
        if let integer = value.integer { return .integer(isNegative ? -integer : integer) }
        if case .float(let float) = value { return .float(isNegative ? -float : float) }
        if case .undefined(let words) = value { throw TemplateError(.evaluation, words) }
        throw TemplateError(.evaluation, "bad operand type for unary \(isNegative ? "-" : "+"): '\(value.typeName)'")
    }
}
