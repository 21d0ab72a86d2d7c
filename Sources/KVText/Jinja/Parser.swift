/// Reads a template's statements. Expressions are in `Parser+Expression.swift`.
struct Parser {
    var items: [Lexer.Item]
    var at = 0
    private var depth = 0

    /// Brackets and blocks within one another.
    static let maximumDepth = 48

    /// - Throws: `TemplateError` of reason syntax, or depth where brackets or blocks nest too deep.
    static func parse(_ template: String) throws(TemplateError) -> [Statement] {
        var parser = Parser(items: try Lexer.items(of: template))
        let body = try parser.body(until: [])
        guard parser.peek == .end else { throw parser.failure("unexpected end of a block") }
        return body
    }

    init(items: [Lexer.Item]) { self.items = items }

    // MARK: Tokens

    var peek: Lexer.Token { items[at].token }
    var line: Int { items[at].line }

    func failure(_ message: String) -> TemplateError { TemplateError(.syntax, message, line: line) }

    mutating func next() -> Lexer.Token {
        defer { if at + 1 < items.count { at += 1 } }
        return items[at].token
    }

    mutating func take(_ symbol: String) -> Bool {
        guard peek == .symbol(symbol) else { return false }
        at += 1
        return true
    }

    mutating func takeName(_ name: String) -> Bool {
        guard peek == .name(name) else { return false }
        at += 1
        return true
    }

    mutating func expect(_ symbol: String) throws(TemplateError) {
        guard take(symbol) else { throw failure("expected '\(symbol)', found \(Self.words(peek))") }
    }

    mutating func expectName() throws(TemplateError) -> String {
        guard case .name(let name) = peek else { throw failure("expected a name, found \(Self.words(peek))") }
        at += 1
        return name
    }

    private mutating func expectBlockEnd() throws(TemplateError) {
        guard peek == .blockEnd else { throw failure("expected the end of the block, found \(Self.words(peek))") }
        at += 1
    }

    static func words(_ token: Lexer.Token) -> String {
        switch token {
        case .text: "text"
        case .outputBegin, .outputEnd, .blockBegin, .blockEnd: "a tag's border"
        case .name(let name): "'\(name)'"
        case .string(let text): "'\(text.prefix(40))'"
        case .integer(let value): "\(value)"
        case .float(let value): "\(value)"
        case .symbol(let symbol): "'\(symbol)'"
        case .end: "the template's end"
        }
    }

    mutating func nested<T>(_ body: (inout Parser) throws(TemplateError) -> T) throws(TemplateError) -> T {
        depth += 1
        guard depth <= Self.maximumDepth else {
            throw TemplateError(.depth, "brackets and blocks nest more than \(Self.maximumDepth) deep", line: line)
        }
        defer { depth -= 1 }
        return try body(&self)
    }

    // MARK: Statements

    /// Statements up to a block that begins with one of `ends`, which is left at its name.
    private mutating func body(until ends: Set<String>) throws(TemplateError) -> [Statement] {
        var statements: [Statement] = []
        while true {
            let line = self.line
            switch peek {
            case .end:
                guard ends.isEmpty else { throw failure("expected \(ends.sorted().joined(separator: " or "))") }
                return statements
            case .text(let text):
                at += 1
                statements.append(.text(text))
            case .outputBegin:
                at += 1
                statements.append(.output(try tuple(), line: line))
                guard next() == .outputEnd else {
                    at -= 1
                    throw failure("expected '}}', found \(Self.words(peek))")
                }
            case .blockBegin:
                at += 1
                guard case .name(let name) = peek else { throw failure("expected a statement's name") }
                if ends.contains(name) { return statements }
                at += 1
                if let statement = try nested({ parser throws(TemplateError) in try parser.statement(name, line) }) {
                    statements.append(statement)
                }
            default: throw failure("unexpected \(Self.words(peek))")
            }
        }
    }

    /// The body of a block up to its end, which is read.
    private mutating func block(until end: String) throws(TemplateError) -> [Statement] {
        try expectBlockEnd()
        let statements = try body(until: [end])
        at += 1
        // `{% endblock name %}`.
        if case .name = peek { at += 1 }
        try expectBlockEnd()
        return statements
    }

    private mutating func statement(_ name: String, _ line: Int) throws(TemplateError) -> Statement? {
        switch name {
        case "if": return try conditional(line)
        case "for": return try loop(line)
        case "set": return try assignment(line)
        case "macro":
            let name = try expectName()
            return .macro(try macro(name, end: "endmacro", line))
        case "call":
            let caller = peek == .symbol("(") ? try parameters() : []
            let call = try expression()
            let body = try block(until: "endcall")
            return .call(Statement.Macro(name: "caller", parameters: caller, body: body, line: line), call, line: line)
        case "filter":
            let links = try filters()
            return .filtered(links, body: try block(until: "endfilter"), line: line)
        case "with":
            var values: [(target: Statement.Target, value: Expression)] = []
            while peek != .blockEnd {
                if !values.isEmpty { try expect(",") }
                let target = try target()
                try expect("=")
                values.append((target, try expression()))
            }
            return .scope(values, body: try block(until: "endwith"), line: line)
        // What transformers marks as the assistant's; the text is the same.
        case "generation": return .scope([], body: try block(until: "endgeneration"), line: line)
        case "do":
            let expression = try tuple()
            try expectBlockEnd()
            return .evaluate(expression, line: line)
        case "break", "continue":
            try expectBlockEnd()
            return name == "break" ? .leaveLoop : .nextTurn
        default: throw TemplateError(.syntax, "unknown statement '\(name)'", line: line)
        }
    }

    private mutating func conditional(_ line: Int) throws(TemplateError) -> Statement {
        var branches: [(test: Expression?, body: [Statement])] = []
        var test: Expression? = try tuple(withConditional: false)
        while true {
            try expectBlockEnd()
            let isLast = test == nil
            branches.append((test, try body(until: isLast ? ["endif"] : ["elif", "else", "endif"])))
            let name = try expectName()
            if name == "endif" {
                try expectBlockEnd()
                return .conditional(branches, line: line)
            }
            test = name == "elif" ? try tuple(withConditional: false) : nil
        }
    }

    private mutating func loop(_ line: Int) throws(TemplateError) -> Statement {
        let target = try target()
        guard takeName("in") else { throw failure("expected 'in', found \(Self.words(peek))") }
        let items = try tuple(withConditional: false)
        let condition = takeName("if") ? try expression() : nil
        let isRecursive = takeName("recursive")
        try expectBlockEnd()
        let body = try body(until: ["else", "endfor"])
        var otherwise: [Statement] = []
        if try expectName() == "else" {
            try expectBlockEnd()
            otherwise = try self.body(until: ["endfor"])
            at += 1
        }
        try expectBlockEnd()
        return .loop(
            Statement.Loop(
                target: target, items: items, condition: condition, isRecursive: isRecursive, body: body,
                otherwise: otherwise, line: line))
    }

    private mutating func assignment(_ line: Int) throws(TemplateError) -> Statement {
        let target = try target()
        if take("=") {
            let value = try tuple()
            try expectBlockEnd()
            return .assignment(target, value, line: line)
        }
        let links = take("|") ? try filters() : []
        return .block(target, filters: links, body: try block(until: "endset"), line: line)
    }

    /// What is assigned to: a name, a namespace's attribute, or several of them.
    private mutating func target() throws(TemplateError) -> Statement.Target {
        var targets: [Statement.Target] = []
        var isTuple = false
        repeat {
            if peek == .symbol("(") {
                at += 1
                targets.append(try nested { parser throws(TemplateError) in try parser.target() })
                try expect(")")
            } else {
                if case .name = peek {} else if isTuple { break }
                let name = try expectName()
                targets.append(take(".") ? .attribute(name, try expectName()) : .name(name))
            }
            guard take(",") else { break }
            isTuple = true
        } while true
        return isTuple ? .tuple(targets) : targets[0]
    }

    private mutating func parameters() throws(TemplateError) -> [(name: String, value: Expression?)] {
        var parameters: [(name: String, value: Expression?)] = []
        try expect("(")
        while !take(")") {
            if !parameters.isEmpty { try expect(",") }
            if take(")") { break }
            let name = try expectName()
            parameters.append((name, take("=") ? try expression() : nil))
        }
        return parameters
    }

    private mutating func macro(_ name: String, end: String, _ line: Int) throws(TemplateError) -> Statement.Macro {
        let parameters = try parameters()
        return Statement.Macro(name: name, parameters: parameters, body: try block(until: end), line: line)
    }

    private mutating func filters() throws(TemplateError) -> [Expression.Link] {
        var links: [Expression.Link] = []
        repeat {
            let name = try dottedName()
            links.append(.filter(name, peek == .symbol("(") ? try arguments() : Expression.Arguments()))
        } while take("|")
        return links
    }
}
