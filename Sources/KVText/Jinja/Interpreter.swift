/// Runs a template's statements. One for each rendering; everything that costs is charged to the budget.
final class Interpreter {
    private var budget: TemplateBudget
    private var depth = 0
    /// What has been written, of the macro or block at hand.
    private(set) var output = Text("")
    private(set) var scope: Scope
    /// Scopes that macros see, which would keep each other alive.
    private var capturedScopes: [Scope] = []
    private(set) var namespaces: [Value.Namespace] = []
    /// The statement at hand, for errors.
    private var line = 0
    let time: TemplateTime
    /// Namespaces that are being written, which may hold themselves.
    var written: Set<ObjectIdentifier> = []

    /// Names and what they stand for. A loop's turn, a macro's call and a `with` have their own.
    final class Scope {
        fileprivate(set) var values: [Name: Value]
        let parent: Scope?

        init(_ values: [Name: Value] = [:], parent: Scope?) {
            self.values = values
            self.parent = parent
        }
    }

    private static let loopName = Text("loop").points

    /// How a statement ended.
    enum Flow { case next, leaveLoop, nextTurn }

    init(variables: [Name: Value], budget: TemplateBudget, time: TemplateTime) {
        scope = Scope(variables, parent: nil)
        self.budget = budget
        self.time = time
    }

    /// The template's output.
    func render(_ statements: [Statement]) throws(TemplateError) -> Text {
        defer {
            for scope in capturedScopes { scope.values.removeAll() }
            for namespace in namespaces { namespace.removeAll() }
        }
        do {
            _ = try run(statements)
        } catch {
            throw error.line > 0 ? error : TemplateError(error.reason, error.message, line: line)
        }
        return output
    }

    // MARK: Budget

    func charge(_ steps: Int = 1) throws(TemplateError) {
        budget.steps -= steps
        if budget.steps < 0 { throw TemplateError(.steps, "it takes too many steps", line: line) }
    }

    /// For so many bytes of text, or list elements, about to be made.
    func charge(size: Int) throws(TemplateError) {
        guard size <= budget.size else { throw TemplateError(.size, "it makes too much text", line: line) }
        budget.size -= size
        try charge(size >> 6)
    }

    /// For a look at a dictionary's key, or its making.
    func charge(key: Value) throws(TemplateError) {
        if case .string(let text) = key { try charge(text.count >> 6) }
    }

    func nested<T>(_ body: () throws(TemplateError) -> T) throws(TemplateError) -> T {
        depth += 1
        defer { depth -= 1 }
        guard depth <= budget.depth else { throw TemplateError(.depth, "it nests too deep", line: line) }
        return try body()
    }

    // MARK: Names

    func lookUp(_ name: Text) -> Value {
        var at: Scope? = scope
        while let scope = at {
            if let value = scope.values[name.points] { return value }
            at = scope.parent
        }
        let string = name.string
        if Self.globals.contains(string) { return .function(.global(string)) }
        return .undefined("'\(string)' is undefined")
    }

    func set(_ name: Text, _ value: Value) { scope.values[name.points] = value }

    func within<T>(_ inner: Scope, _ body: () throws(TemplateError) -> T) throws(TemplateError) -> T {
        let outer = scope
        scope = inner
        defer { scope = outer }
        return try body()
    }

    /// The output of a body.
    func capture(_ body: () throws(TemplateError) -> Void) throws(TemplateError) -> Text {
        let outer = output
        output = Text("")
        defer { output = outer }
        try body()
        return output
    }

    func write(_ text: Text) throws(TemplateError) {
        try charge(size: text.count)
        output.append(text)
    }

    func newNamespace(_ values: [(key: Value, value: Value)]) throws(TemplateError) -> Value {
        let namespace = Value.Namespace()
        namespaces.append(namespace)
        for (key, value) in values {
            guard case .string(let name) = key else { throw TemplateError(.evaluation, "a namespace's names are strings") }
            try assign(value, to: name, of: namespace)
        }
        return .namespace(namespace)
    }

    private func assign(_ value: Value, to name: Text, of namespace: Value.Namespace) throws(TemplateError) {
        guard name.points.first != 0x5F else {
            throw TemplateError(
                .evaluation,
                "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '\(name.string)'")
        }
        namespace.set(name.points, value)
    }

    func assign(_ value: Value, to target: Statement.Target) throws(TemplateError) {
        switch target {
        case .name(let name): set(name, value)
        case .attribute(let name, let attribute):
            guard case .namespace(let namespace) = lookUp(name) else {
                throw TemplateError(.evaluation, "cannot assign attribute on non-namespace object '\(name.string)'")
            }
            try assign(value, to: attribute, of: namespace)
        case .tuple(let targets):
            let items = try self.items(of: value)
            guard items.count == targets.count else {
                throw TemplateError(.evaluation, "\(items.count) values for \(targets.count) names")
            }
            for (target, item) in zip(targets, items) { try assign(item, to: target) }
        }
    }

    // MARK: Statements

    func run(_ statements: [Statement]) throws(TemplateError) -> Flow {
        for statement in statements {
            let flow = try run(statement)
            if flow != .next { return flow }
        }
        return .next
    }

    private func run(_ statement: Statement) throws(TemplateError) -> Flow {
        try charge()
        switch statement {
        case .text(let text): try write(text)
        case .output(let expressions, let line):
            self.line = line
            for expression in expressions { try write(try text(of: try evaluate(expression))) }
        case .conditional(let branches, let line):
            self.line = line
            for branch in branches {
                if let test = branch.test, try !evaluate(test).isTrue { continue }
                return try nested { () throws(TemplateError) in try run(branch.body) }
            }
        case .loop(let loop): try run(loop)
        case .assignment(let target, let expression, let line):
            self.line = line
            try assign(try evaluate(expression), to: target)
        case .block(let target, let filters, let body, let line):
            self.line = line
            let text = try captureScoped(body)
            try assign(try apply(filters, to: .string(text)), to: target)
        case .macro(let macro): set(macro.name, .function(.macro(capturing(macro))))
        case .call(let macro, let call, let line):
            self.line = line
            try write(try text(of: try evaluate(call, caller: capturing(macro))))
        case .filtered(let filters, let body, let line):
            self.line = line
            let text = try captureScoped(body)
            guard case .string(let result) = try apply(filters, to: .string(text)) else {
                throw TemplateError(.evaluation, "a filter block gives text, and its filters none")
            }
            try write(result)
        case .scope(let values, let body, let line):
            self.line = line
            return try runScope(values, body)
        case .leaveLoop: return .leaveLoop
        case .nextTurn: return .nextTurn
        }
        return .next
    }

    private func captureScoped(_ body: [Statement]) throws(TemplateError) -> Text {
        try capture { () throws(TemplateError) in
            try within(Scope(parent: scope)) { () throws(TemplateError) in
                _ = try nested { () throws(TemplateError) in try run(body) }
            }
        }
    }

    private func runScope(
        _ values: [(target: Statement.Target, value: Expression)], _ body: [Statement]
    ) throws(TemplateError) -> Flow {
        var evaluated: [Value] = []
        for value in values { evaluated.append(try evaluate(value.value)) }
        // Names of a `with` are seen in it alone; a `generation` has none, and is no scope of its own for them.
        return try within(values.isEmpty ? scope : Scope(parent: scope)) { () throws(TemplateError) in
            for (value, own) in zip(evaluated, values) { try assign(value, to: own.target) }
            return try nested { () throws(TemplateError) in try run(body) }
        }
    }

    private func capturing(_ macro: Statement.Macro) -> Value.Macro {
        capturedScopes.append(scope)
        return Value.Macro(definition: macro, scope: scope)
    }

    private func run(_ loop: Statement.Loop) throws(TemplateError) {
        line = loop.line
        try run(loop, over: try evaluate(loop.items), depth: 0)
    }

    /// - Parameter depth: how often a recursive loop has called itself.
    func run(_ loop: Statement.Loop, over value: Value, depth: Int) throws(TemplateError) {
        let state = Value.Loop(depth: depth, definition: loop, try source(of: loop, over: value))
        var hasFinishedTurn = false
        try nested { () throws(TemplateError) in
            while try state.has(state.index + 1, self) {
                try charge()
                state.index += 1
                let turn = Scope([Self.loopName: .loop(state)], parent: scope)
                let flow = try within(turn) { () throws(TemplateError) in
                    try assign(state.items[state.index], to: loop.target)
                    return try run(loop.body)
                }
                if flow == .leaveLoop { break }
                if flow == .next { hasFinishedTurn = true }
            }
        }
        // As Jinja has it: also where every turn has been left early.
        if hasFinishedTurn || loop.otherwise.isEmpty { return }
        _ = try nested { () throws(TemplateError) in
            try within(Scope(parent: scope)) { () throws(TemplateError) in try run(loop.otherwise) }
        }
    }

    /// The items of a loop that meet its condition.
    private func source(of loop: Statement.Loop, over value: Value) throws(TemplateError) -> Value.Loop.Source {
        let source = try makeSource(value)
        guard let condition = loop.condition else { return source }
        let outer = scope
        return { interpreter throws(TemplateError) in
            while let item = try source(interpreter) {
                try interpreter.charge()
                let holds = try interpreter.within(Scope(parent: outer)) { () throws(TemplateError) in
                    try interpreter.assign(item, to: loop.target)
                    return try interpreter.evaluate(condition).isTrue
                }
                if holds { return item }
            }
            return nil
        }
    }
}
