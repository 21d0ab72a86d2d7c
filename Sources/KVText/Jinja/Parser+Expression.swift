/// Expressions, in Jinja's order of binding: conditional, or, and, not, comparison, + -, ~, * / // %, **, sign, and the
/// chain of attributes, subscripts, calls, filters and tests.
extension Parser {
    /// One expression, or several with commas between: a tuple.
    mutating func tuple(
        withConditional: Bool = true, isLoop: Bool = false, isBracketed: Bool = false
    ) throws(TemplateError) -> Expression {
        var parts: [Expression] = []
        var isTuple = false
        while true {
            if !parts.isEmpty { try expect(",") }
            if endsTuple || isLoop && peek.isName("recursive") { break }
            parts.append(withConditional ? try expression() : try nested { p throws(TemplateError) in try p.disjunction() })
            guard peek.isSymbol(",") else { break }
            isTuple = true
        }
        guard isTuple || !parts.isEmpty || isBracketed else {
            throw failure("expected an expression, found \(Self.words(peek))")
        }
        return isTuple || parts.isEmpty ? .tuple(parts) : parts[0]
    }

    var endsTuple: Bool {
        switch peek {
        case .outputEnd, .blockEnd, .symbol(")"): true
        default: false
        }
    }

    mutating func expression() throws(TemplateError) -> Expression {
        try nested { parser throws(TemplateError) in
            let outer = parser.unknown
            var value = try parser.disjunction()
            guard parser.peek.isName("if") else { return value }
            // What is read here is run on a condition, so that unknown filters do not count yet.
            defer { parser.unknown = outer }
            var count = 0
            while parser.takeName("if") {
                count += 1
                guard count <= Self.maximumDepth else { throw parser.tooDeep }
                let test = try parser.disjunction()
                let other = parser.takeName("else") ? try parser.expression() : nil
                value = .conditional(value: value, test: test, other: other)
            }
            return value
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
        case .name("not") where at + 1 < items.count && items[at + 1].token.isName("in"):
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
        let isNegative = peek.isSymbol("-")
        var value: Expression
        if isNegative || peek.isSymbol("+") {
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
            default:
                note(use: name)
                return .name(Text(name))
            }
        case .string(var text):
            at += 1
            while case .string(let more) = peek {
                text.append(more)
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
            let value = try nested { parser throws(TemplateError) in try parser.tuple(isBracketed: true) }
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
                    links.append(.attribute(Text(try expectName())))
                }
            } else if take("[") {
                links.append(try nested { parser throws(TemplateError) in try parser.subscripted() })
                try expect("]")
            } else if peek.isSymbol("(") {
                links.append(.call(try nested { parser throws(TemplateError) in try parser.arguments() }))
            } else {
                return
            }
        }
    }

    /// What is between square brackets, without the last one: an expression, a slice, or several, which are a tuple.
    private mutating func subscripted() throws(TemplateError) -> Expression.Link {
        var links: [Expression.Link] = []
        while !peek.isSymbol("]") {
            if !links.isEmpty { try expect(",") }
            links.append(try subscriptPart())
        }
        if links.count == 1 { return links[0] }
        var parts: [Expression] = []
        for link in links {
            guard case .item(let part) = link else { throw failure("a slice within a tuple is not supported") }
            parts.append(part)
        }
        return .item(.tuple(parts))
    }

    private mutating func subscriptPart() throws(TemplateError) -> Expression.Link {
        var parts: [Expression?] = []
        if take(":") {
            parts.append(nil)
        } else {
            let first = try expression()
            guard take(":") else { return .item(first) }
            parts.append(first)
        }
        func ends(_ parser: Parser) -> Bool { parser.peek.isSymbol("]") || parser.peek.isSymbol(",") }
        parts.append(peek.isSymbol(":") || ends(self) ? nil : try expression())
        if take(":") { parts.append(ends(self) ? nil : try expression()) } else { parts.append(nil) }
        return .slice(parts[0], parts[1], parts[2])
    }

    mutating func arguments() throws(TemplateError) -> Expression.Arguments {
        var arguments = Expression.Arguments()
        try expect("(")
        var isFirst = true
        func failure(_ parser: Parser) -> TemplateError { parser.failure("invalid syntax for function call expression") }
        while !take(")") {
            if !isFirst { try expect(",") }
            if !isFirst, take(")") { break }
            isFirst = false
            if take("*") {
                guard arguments.list == nil, arguments.dictionary == nil else { throw failure(self) }
                arguments.list = try expression()
            } else if take("**") {
                guard arguments.dictionary == nil else { throw failure(self) }
                arguments.dictionary = try expression()
            } else if case .name(let name) = peek, at + 1 < items.count, items[at + 1].token.isSymbol("=") {
                guard arguments.dictionary == nil, !arguments.named.contains(where: { $0.name == name }) else {
                    throw failure(self)
                }
                at += 2
                arguments.named.append((name, try expression()))
            } else {
                guard arguments.named.isEmpty, arguments.list == nil, arguments.dictionary == nil else {
                    throw failure(self)
                }
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

    mutating func filterLink() throws(TemplateError) -> Expression.Link {
        let line = self.line
        let name = try dottedName()
        let own = peek.isSymbol("(") ? try nested { p throws(TemplateError) in try p.arguments() } : .init()
        if !Interpreter.filterNames.contains(name) {
            note(unknown: TemplateError(.evaluation, "No filter named '\(name.prefix(100))'.", line: line))
        }
        return .filter(name, own)
    }

    private mutating func filtersAndTests(_ links: inout [Expression.Link]) throws(TemplateError) {
        while true {
            if take("|") {
                links.append(try filterLink())
            } else if takeName("is") {
                let isNegated = takeName("not")
                let line = self.line
                let name = try dottedName()
                if !Interpreter.testNames.contains(name) {
                    note(unknown: TemplateError(.evaluation, "No test named '\(name.prefix(100))'.", line: line))
                }
                links.append(.test(name, try testArguments(), isNegated: isNegated))
            } else if peek.isSymbol("(") {
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
        case .name("is"): throw failure("You cannot chain multiple tests with is")
        case .name("else"), .name("or"), .name("and"): return Expression.Arguments()
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
