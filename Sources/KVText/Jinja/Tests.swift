extension Interpreter {
    static let testNames: Set<String> = [
        "odd", "even", "divisibleby", "defined", "undefined", "filter", "test", "none", "boolean", "false", "true", "integer",
        "float", "lower", "upper", "string", "mapping", "number", "sequence", "iterable", "callable", "sameas", "escaped",
        "in", "==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan", "<=", "le",
    ]
    private static let comparisons: [String: Expression.Comparison] = [
        "eq": .equal, "equalto": .equal, "==": .equal, "ne": .notEqual, "!=": .notEqual, "lt": .less, "lessthan": .less,
        "<": .less, "gt": .greater, "greaterthan": .greater, ">": .greater, "le": .lessOrEqual, "<=": .lessOrEqual,
        "ge": .greaterOrEqual, ">=": .greaterOrEqual,
    ]

    /// Jinja's tests.
    func test(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Bool {
        guard Self.testNames.contains(name) else { throw TemplateError(.evaluation, "No test named '\(name.prefix(100))'.") }
        if let comparison = Self.comparisons[name] {
            return try compare(value, comparison, try other(name, "other /", arguments))
        }
        switch name {
        case "divisibleby", "sameas", "in":
            let other = try other(name, name == "in" ? "seq" : name == "sameas" ? "other" : "num", arguments)
            switch name {
            case "in": return try contains(other, value)
            case "sameas":
                try charge(comparing: value, other)
                return value.typeName == other.typeName && value.equals(other)
            default: return try compute(value, .modulo, other).equals(.number(0))
            }
        default:
            _ = try ("" as Signature).bind(arguments, of: name)
            return try test(name, value)
        }
    }

    private func other(_ name: String, _ signature: Signature, _ arguments: Arguments) throws(TemplateError) -> Value {
        try signature.bind(arguments, of: name)[0] ?? .none
    }

    private func test(_ name: String, _ value: Value) throws(TemplateError) -> Bool {
        switch name {
        case "defined": return !value.isUndefined
        case "undefined": return value.isUndefined
        case "none": return value.isNone
        case "boolean": if case .bool = value { return true }
        case "true": if case .bool(true) = value { return true }
        case "false": if case .bool(false) = value { return true }
        case "integer": if case .integer = value { return true }
        case "float": if case .float = value { return true }
        case "number":
            switch value {
            case .bool, .integer, .float: return true
            default: return false
            }
        case "string": if case .string = value { return true }
        case "escaped": if case .string(let text) = value { return text.isSafe }
        case "mapping": if case .map = value { return true }
        case "sequence":
            switch value {
            case .string, .map, .undefined: return true
            case .list(let list): return list.isSequence
            default: return false
            }
        case "iterable":
            switch value {
            case .string, .map, .undefined, .list, .iterator, .loop: return true
            default: return false
            }
        case "callable":
            switch value {
            case .function(.cycler): return false
            case .function, .loop, .undefined: return true
            default: return false
            }
        case "odd", "even":
            return try compute(value, .modulo, .number(2)).equals(.number(name == "odd" ? 1 : 0))
        case "filter", "test":
            guard case .string(let text) = value else {
                _ = try value.key()
                return false
            }
            return (name == "filter" ? Self.filterNames : Self.testNames).contains(text.string)
        default:
            let text = try text(of: value)
            try charge(text.count >> 4)
            return name == "lower" ? text.isLower : text.isUpper
        }
        return false
    }
}
