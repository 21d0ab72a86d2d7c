/// Expressions, in Jinja's order of binding: conditional, or, and, not, comparison, + -, ~, * / // %, **, sign, and the
/// chain of attributes, subscripts, calls, filters and tests.
extension Parser {
    /// One expression, or several with commas between: a tuple.
    mutating func tuple(withConditional: Bool = true) throws(TemplateError) -> Expression {
        var parts: [Expression] = []
        var isTuple = false
        while true {
            if isTuple, endsTuple { break }
            parts.append(withConditional ? try expression() : try nested { p throws(TemplateError) in try p.disjunction() })
            guard take(",") else { break }
            isTuple = true
        }
        return isTuple ? .tuple(parts) : parts[0]
    }

    private var endsTuple: Bool {
        switch peek {
        case .outputEnd, .blockEnd, .end, .symbol(")"): true
        default: false
        }
    }

    mutating func expression() throws(TemplateError) -> Expression {
        try nested { parser throws(TemplateError) in
            let value = try parser.disjunction()
            guard parser.takeName("if") else { return value }
            let test = try parser.disjunction()
            let other = parser.takeName("else") ? try parser.expression() : nil
            return .conditional(value: value, test: test, other: other)
        }
    }

    private mutating func disjunction() throws(TemplateError) -> Expression {
        var parts = [try conjunction()]
        while takeName("or") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction() throws(TemplateError) -> Expression {
        var parts = [try negation()]
        while takeName("and") { parts.append(try negation()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func negation() throws(TemplateError) -> Expression {
        var isNegated = false
        var count = 0
        while takeName("not") {
            isNegated.toggle()
            count += 1
        }
        let value = try comparison()
        if count == 0 { return value }
        return isNegated ? .not(value) : .not(.not(value))
    }

    private mutating func comparison() throws(TemplateError) -> Expression {
        let first = try sum()
        var rest: [(operation: Expression.Comparison, right: Expression)] = []
        while let operation = takeComparison() { rest.append((operation, try sum())) }
        return rest.isEmpty ? first : .comparison(first, rest)
    }

    private mutating func takeComparison() -> Expression.Comparison? {
        let operation: Expression.Comparison
        switch peek {
        case .symbol("=="): operation = .equal
        case .symbol("!="): operation = .notEqual
        case .symbol("<"): operation = .less
        case .symbol("<="): operation = .lessOrEqual
        case .symbol(">"): operation = .greater
        case .symbol(">="): operation = .greaterOrEqual
        case .name("in"): operation = .within
        case .name("not") where at + 1 < items.count && items[at + 1].token == .name("in"):
            operation = .notWithin
            at += 1
        default: return nil
        }
        at += 1
        return operation
    }

    private mutating func operators(
        _ symbols: [Expression.Arithmetic], _ operand: (inout Parser) throws(TemplateError) -> Expression
    ) throws(TemplateError) -> Expression {
        let first = try operand(&self)
        var rest: [(operation: Expression.Arithmetic, right: Expression)] = []
        while case .symbol(let symbol) = peek, let operation = symbols.first(where: { $0.rawValue == symbol }) {
            at += 1
            rest.append((operation, try operand(&self)))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func sum() throws(TemplateError) -> Expression {
        try operators([.add, .subtract]) { parser throws(TemplateError) in try parser.concatenation() }
    }

    private mutating func concatenation() throws(TemplateError) -> Expression {
        var parts = [try product()]
        while take("~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts)
    }

    private mutating func product() throws(TemplateError) -> Expression {
        try operators([.multiply, .divide, .floorDivide, .modulo]) { parser throws(TemplateError) in
            try parser.operators([.power]) { parser throws(TemplateError) in try parser.signed(withFilters: true) }
        }
    }

    private mutating func signed(withFilters: Bool) throws(TemplateError) -> Expression {
        let isNegative = peek == .symbol("-")
        var value: Expression
        if isNegative || peek == .symbol("+") {
            at += 1
            let operand = try nested { parser throws(TemplateError) in try parser.signed(withFilters: false) }
            value = isNegative ? .negative(operand) : .positive(operand)
        } else {
            value = try primary()
        }
        var links: [Expression.Link] = []
        try postfix(&links)
        if withFilters { try filtersAndTests(&links) }
        if !links.isEmpty { value = .chain(value, links) }
        return value
    }

    private mutating func primary() throws(TemplateError) -> Expression {
        let token = peek
        switch token {
        case .name(let name):
            at += 1
            switch name {
            case "true", "True": return .bool(true)
            case "false", "False": return .bool(false)
            case "none", "None": return .none
            default: return .name(name)
            }
        case .string(var text):
            at += 1
            while case .string(let more) = peek {
                text += more
                at += 1
            }
            return .string(text)
        case .integer(let value):
            at += 1
            return .integer(value)
        case .float(let value):
            at += 1
            return .float(value)
        case .symbol("("):
            at += 1
            if take(")") { return .tuple([]) }
            let value = try nested { parser throws(TemplateError) in try parser.tuple() }
            try expect(")")
            return value
        case .symbol("["):
            at += 1
            return .list(try list(until: "]"))
        case .symbol("{"):
            at += 1
            return try map()
        default: throw failure("expected an expression, found \(Self.words(token))")
        }
    }

    private mutating func list(until end: String) throws(TemplateError) -> [Expression] {
        var parts: [Expression] = []
        while !take(end) {
            if !parts.isEmpty { try expect(",") }
            if take(end) { break }
            parts.append(try expression())
        }
        return parts
    }

    private mutating func map() throws(TemplateError) -> Expression {
        var entries: [(key: Expression, value: Expression)] = []
        while !take("}") {
            if !entries.isEmpty { try expect(",") }
            if take("}") { break }
            let key = try expression()
            try expect(":")
            entries.append((key, try expression()))
        }
        return .map(entries)
    }

    private mutating func postfix(_ links: inout [Expression.Link]) throws(TemplateError) {
        while true {
            if take(".") {
                if case .integer(let index) = peek {
                    at += 1
                    links.append(.item(.integer(index)))
                } else {
                    links.append(.attribute(try expectName()))
                }
            } else if take("[") {
                links.append(try nested { parser throws(TemplateError) in try parser.subscripted() })
                try expect("]")
            } else if peek == .symbol("(") {
                links.append(.call(try nested { parser throws(TemplateError) in try parser.arguments() }))
            } else {
                return
            }
        }
    }

    private mutating func subscripted() throws(TemplateError) -> Expression.Link {
        var parts: [Expression?] = [nil]
        while peek != .symbol("]") {
            if take(":") {
                guard parts.count < 3 else { throw failure("a slice has at most three parts") }
                parts.append(nil)
            } else {
                parts[parts.count - 1] = try expression()
                guard peek == .symbol(":") || peek == .symbol("]") else {
                    throw failure("expected ']', found \(Self.words(peek))")
                }
            }
        }
        if parts.count == 1 {
            guard let item = parts[0] else { throw failure("expected an expression") }
            return .item(item)
        }
        return .slice(parts[0], parts[1], parts.count > 2 ? parts[2] : nil)
    }

    mutating func arguments() throws(TemplateError) -> Expression.Arguments {
        var arguments = Expression.Arguments()
        try expect("(")
        var isFirst = true
        while !take(")") {
            if !isFirst { try expect(",") }
            isFirst = false
            if take(")") { break }
            if take("**") {
                arguments.dictionary = try expression()
            } else if take("*") {
                arguments.list = try expression()
            } else if case .name(let name) = peek, at + 1 < items.count, items[at + 1].token == .symbol("=") {
                at += 2
                arguments.named.append((name, try expression()))
            } else {
                guard arguments.named.isEmpty else { throw failure("a positional argument behind named ones") }
                arguments.positional.append(try expression())
            }
        }
        return arguments
    }

    mutating func dottedName() throws(TemplateError) -> String {
        var name = try expectName()
        while take(".") { name += "." + (try expectName()) }
        return name
    }

    private mutating func filtersAndTests(_ links: inout [Expression.Link]) throws(TemplateError) {
        while true {
            if take("|") {
                let name = try dottedName()
                let own = peek == .symbol("(") ? try nested { p throws(TemplateError) in try p.arguments() } : .init()
                links.append(.filter(name, own))
            } else if takeName("is") {
                let isNegated = takeName("not")
                let name = try dottedName()
                links.append(.test(name, try testArguments(), isNegated: isNegated))
            } else if peek == .symbol("(") {
                links.append(.call(try nested { parser throws(TemplateError) in try parser.arguments() }))
            } else {
                return
            }
        }
    }

    /// A test's arguments: in brackets, or one value without them.
    private mutating func testArguments() throws(TemplateError) -> Expression.Arguments {
        switch peek {
        case .symbol("("): return try nested { parser throws(TemplateError) in try parser.arguments() }
        case .name("else"), .name("or"), .name("and"), .name("is"), .name("if"), .name("in"), .name("not"):
            return Expression.Arguments()
        case .name, .string, .integer, .float, .symbol("["), .symbol("{"):
            let value = try nested { parser throws(TemplateError) in
                let value = try parser.primary()
                var links: [Expression.Link] = []
                try parser.postfix(&links)
                return links.isEmpty ? value : Expression.chain(value, links)
            }
            return Expression.Arguments(positional: [value])
        default: return Expression.Arguments()
        }
    }
}
