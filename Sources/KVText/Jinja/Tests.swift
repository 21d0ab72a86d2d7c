extension Interpreter {
    /// Jinja's tests.
    func test(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Bool {
        func other() throws(TemplateError) -> Value {
            guard let other = arguments.positional.first else {
                throw TemplateError(.evaluation, "the test '\(name)' needs an argument")
            }
            try charge(min(value.weight, other.weight))
            return other
        }
        switch name {
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "none": if case .none = value { return true }
        case "boolean": if case .bool = value { return true }
        case "true": if case .bool(true) = value { return true }
        case "false": if case .bool(false) = value { return true }
        case "integer": if case .integer = value { return true }
        case "float": if case .float = value { return true }
        case "number": return value.number != nil
        case "string": if case .string = value { return true }
        case "mapping": if case .map = value { return true }
        case "sequence", "iterable":
            switch value {
            case .string, .list, .map: return true
            case .undefined: return true
            default: return false
            }
        case "callable": if case .function = value { return true }
        case "odd", "even", "divisibleby":
            guard let integer = value.integer else {
                throw TemplateError(.evaluation, "the test '\(name)' needs an integer, not \(value.typeName)")
            }
            if name != "divisibleby" { return (integer % 2 == 0) == (name == "even") }
            guard let divisor = try other().integer, divisor != 0 else {
                throw TemplateError(.evaluation, "the test 'divisibleby' needs a number but 0")
            }
            return divisor == -1 || integer % divisor == 0
        case "eq", "equalto", "==": return value.equals(try other())
        case "ne", "!=": return !value.equals(try other())
        case "lt", "lessthan", "<": return try value.isLess(than: try other())
        case "gt", "greaterthan", ">": return try other().isLess(than: value)
        case "le", "<=": return try value.isAtMost(try other())
        case "ge", ">=": return try other().isAtMost(value)
        case "in": return try contains(try other(), value)
        case "sameas":
            let other = try other()
            return value.typeName == other.typeName && value.equals(other)
        case "lower", "upper":
            guard case .string(let text) = value else { return false }
            return text.string == (name == "lower" ? text.string.lowercased() : text.string.uppercased())
        default: throw TemplateError(.evaluation, "no test named '\(name)'")
        }
        return false
    }
}
