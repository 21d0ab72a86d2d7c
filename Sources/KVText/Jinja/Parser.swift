/// Reads a template's statements. Expressions are in `Parser+Expression.swift`.
struct Parser {
    var items: [Lexer.Item]
    var at = 0
    private var depth = 0
    /// Filters and tests that Jinja does not have, outside of conditions: these it refuses before it runs.
    var unknown: [TemplateError] = []
    /// The names that the macro at hand mentions, of those that it is told more by.
    private var uses: Set<String> = []

    /// Brackets and blocks within one another.
    static let maximumDepth = 48

    /// - Throws: `TemplateError` of reason syntax, or depth where brackets or blocks nest too deep.
    static func parse(_ template: String) throws(TemplateError) -> [Statement] {
        var parser = Parser(items: try Lexer.items(of: template))
        let body = try parser.body(until: [])
        guard parser.peek.isEnd else { throw parser.failure("unexpected end of a block") }
        if let unknown = parser.unknown.first { throw unknown }
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
        guard peek.isSymbol(symbol) else { return false }
        at += 1
        return true
    }

    mutating func takeName(_ name: String) -> Bool {
        guard peek.isName(name) else { return false }
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
        guard peek.isBlockEnd else { throw failure("expected the end of the block, found \(Self.words(peek))") }
        at += 1
    }

    /// A body may begin with a colon.
    private mutating func expectBodyBegin() throws(TemplateError) {
        _ = take(":")
        try expectBlockEnd()
    }

    static func words(_ token: Lexer.Token) -> String {
        switch token {
        case .text: "text"
        case .outputBegin, .outputEnd, .blockBegin, .blockEnd: "a tag's border"
        case .name(let name): "'\(name)'"
        case .string(let text): "'\(text.string.prefix(40))'"
        case .integer(let value): "\(value.text().prefix(40))"
        case .float(let value): "\(value)"
        case .symbol(let symbol): "'\(symbol)'"
        case .end: "the template's end"
        }
    }

    var tooDeep: TemplateError {
        TemplateError(.depth, "brackets and blocks nest more than \(Self.maximumDepth) deep", line: line)
    }

    mutating func nested<T>(_ body: (inout Parser) throws(TemplateError) -> T) throws(TemplateError) -> T {
        depth += 1
        guard depth <= Self.maximumDepth else { throw tooDeep }
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
                statements.append(.output([try tuple()], line: line))
                guard next().isOutputEnd else {
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
        try expectBodyBegin()
        let statements = try body(until: [end])
        at += 1
        try expectBlockEnd()
        return statements
    }

    private mutating func statement(_ name: String, _ line: Int) throws(TemplateError) -> Statement? {
        switch name {
        case "if": return try soft { parser throws(TemplateError) in try parser.conditional(line) }
        case "for": return try hard { parser throws(TemplateError) in try parser.loop(line) }
        case "set": return try hard { parser throws(TemplateError) in try parser.assignment(line) }
        case "macro":
            let name = try expectTarget()
            return .macro(try hard { parser throws(TemplateError) in try parser.macro(name, line) })
        case "call": return try hard { parser throws(TemplateError) in try parser.callBlock(line) }
        case "filter":
            return try hard { parser throws(TemplateError) in
                let links = try parser.filters()
                return .filtered(links, body: try parser.block(until: "endfilter"), line: line)
            }
        case "with": return try hard { parser throws(TemplateError) in try parser.with(line) }
        // What transformers marks as the assistant's; the text is the same.
        case "generation":
            return try hard { parser throws(TemplateError) in
                let body = try parser.block(until: "endgeneration")
                return .filtered([], body: body, line: line)
            }
        case "print":
            var values: [Expression] = []
            while !peek.isBlockEnd {
                if !values.isEmpty { try expect(",") }
                values.append(try expression())
            }
            try expectBlockEnd()
            return .output(values, line: line)
        case "break", "continue":
            try expectBlockEnd()
            guard loops > 0 else { throw TemplateError(.syntax, "'\(name)' outside of a loop", line: line) }
            return name == "break" ? .leaveLoop : .nextTurn
        case "import", "from", "include", "extends", "block", "autoescape":
            throw TemplateError(.syntax, "the statement '\(name)' is not supported: there is but one template", line: line)
        default: throw TemplateError(.syntax, "unknown statement '\(name)'", line: line)
        }
    }

    /// A part in which unknown filters and tests are refused only where they are run.
    private mutating func soft<T>(_ body: (inout Parser) throws(TemplateError) -> T) throws(TemplateError) -> T {
        let outer = unknown
        let result = try body(&self)
        unknown = outer
        return result
    }

    /// A part with a scope of its own, in which they are refused at once.
    private mutating func hard<T>(_ body: (inout Parser) throws(TemplateError) -> T) throws(TemplateError) -> T {
        let outer = unknown
        unknown = []
        let result = try body(&self)
        if let unknown = unknown.first { throw unknown }
        unknown = outer
        return result
    }

    mutating func note(unknown error: TemplateError) { unknown.append(error) }

    mutating func note(use name: String) { if ["caller", "kwargs", "varargs"].contains(name) { uses.insert(name) } }

    /// Loops around, which `break` leaves.
    private var loops = 0

    private mutating func conditional(_ line: Int) throws(TemplateError) -> Statement {
        var branches: [(test: Expression?, body: [Statement])] = []
        var test: Expression? = try tuple(withConditional: false)
        while true {
            try expectBodyBegin()
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
        let target = try target(isLoop: true)
        guard takeName("in") else { throw failure("expected 'in', found \(Self.words(peek))") }
        let items = try tuple(withConditional: false, isLoop: true)
        let condition = takeName("if") ? try expression() : nil
        let isRecursive = takeName("recursive")
        try expectBodyBegin()
        loops += 1
        defer { loops -= 1 }
        let body = try body(until: ["else", "endfor"])
        var otherwise: [Statement] = []
        if try expectName() == "else" {
            try expectBodyBegin()
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
        let target = try target(withNamespace: true)
        if take("=") {
            let value = try tuple()
            try expectBlockEnd()
            return .assignment(target, value, line: line)
        }
        let links = take("|") ? try filters() : []
        return .block(target, filters: links, body: try block(until: "endset"), line: line)
    }

    private mutating func with(_ line: Int) throws(TemplateError) -> Statement {
        var values: [(target: Statement.Target, value: Expression)] = []
        while !peek.isBlockEnd {
            if !values.isEmpty { try expect(",") }
            let target = try target()
            try expect("=")
            values.append((target, try expression()))
        }
        return .scope(values, body: try block(until: "endwith"), line: line)
    }

    private mutating func callBlock(_ line: Int) throws(TemplateError) -> Statement {
        let parameters = peek.isSymbol("(") ? try parameters() : []
        let call = try expression()
        guard case .chain(_, let links) = call, case .call? = links.last else {
            throw TemplateError(.syntax, "expected call", line: line)
        }
        let macro = try body(of: Text(""), parameters, end: "endcall", line)
        return .call(macro, call, line: line)
    }

    /// A name that may be assigned to.
    private mutating func expectTarget() throws(TemplateError) -> Text {
        let name = try expectName()
        guard !["true", "false", "none", "True", "False", "None"].contains(name) else {
            throw failure("can't assign to '\(name)'")
        }
        return Text(name)
    }

    /// What is assigned to: a name, a namespace's attribute, or several of them.
    private mutating func target(
        isLoop: Bool = false, withNamespace: Bool = false, isBracketed: Bool = false
    ) throws(TemplateError) -> Statement.Target {
        var targets: [Statement.Target] = []
        var isTuple = false
        while true {
            if !targets.isEmpty { try expect(",") }
            if endsTuple || isLoop && peek.isName("in") { break }
            if take("(") {
                targets.append(try nested { parser throws(TemplateError) in try parser.target(isBracketed: true) })
                try expect(")")
            } else {
                let name = try expectTarget()
                if isLoop, name.equals("loop") { throw failure("can't assign to special loop variable in for-loop target") }
                targets.append(withNamespace && take(".") ? .attribute(name, Text(try expectName())) : .name(name))
            }
            guard peek.isSymbol(",") else { break }
            isTuple = true
        }
        guard isTuple || !targets.isEmpty || isBracketed else { throw failure("expected a name, found \(Self.words(peek))") }
        return isTuple || targets.isEmpty ? .tuple(targets) : targets[0]
    }

    private mutating func parameters() throws(TemplateError) -> [(name: Text, value: Expression?)] {
        var parameters: [(name: Text, value: Expression?)] = []
        try expect("(")
        while !take(")") {
            if !parameters.isEmpty { try expect(",") }
            let name = try expectTarget()
            guard !parameters.contains(where: { $0.name.points == name.points }) else {
                throw failure("duplicate argument '\(name.string)'")
            }
            let value = take("=") ? try expression() : nil
            if value == nil, let last = parameters.last, last.value != nil {
                throw failure("non-default argument follows default argument")
            }
            parameters.append((name, value))
        }
        return parameters
    }

    private mutating func macro(_ name: Text, _ line: Int) throws(TemplateError) -> Statement.Macro {
        try body(of: name, try parameters(), end: "endmacro", line)
    }

    private mutating func body(
        of name: Text, _ parameters: [(name: Text, value: Expression?)], end: String, _ line: Int
    ) throws(TemplateError) -> Statement.Macro {
        let (outerUses, outerLoops) = (uses, loops)
        (uses, loops) = ([], 0)
        defer { (uses, loops) = (uses.union(outerUses), outerLoops) }
        let body = try block(until: end)
        return Statement.Macro(name: name, parameters: parameters, uses: uses, body: body, line: line)
    }

    private mutating func filters() throws(TemplateError) -> [Expression.Link] {
        var links: [Expression.Link] = []
        repeat { links.append(try filterLink()) } while take("|")
        return links
    }
}
