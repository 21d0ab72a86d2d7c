/// A call's arguments.
struct Arguments {
    var positional: [Value] = []
    var named: [(name: String, value: Value)] = []
    /// The body of a `call` block.
    var caller: Value.Macro?

    /// An argument by its place or its name.
    func value(_ index: Int, _ name: String) -> Value? {
        if index >= 0, index < positional.count { return positional[index] }
        return named.first { $0.name == name }?.value
    }

    func text(_ index: Int, _ name: String) throws(TemplateError) -> Text? {
        switch value(index, name) {
        case nil, .some(.none): return nil
        case .string(let text)?: return text
        case let other?: throw TemplateError(.evaluation, "\(name) must be str, not \(other.typeName)")
        }
    }

    func integer(_ index: Int, _ name: String) throws(TemplateError) -> Int? {
        guard let value = value(index, name) else { return nil }
        if case .none = value { return nil }
        guard let integer = value.integer else {
            throw TemplateError(.evaluation, "\(name) must be int, not \(value.typeName)")
        }
        return integer
    }

    func flag(_ index: Int, _ name: String) -> Bool? { value(index, name)?.isTrue }
}

extension Interpreter {
    static let globals: Set<String> = ["range", "dict", "namespace", "raise_exception", "strftime_now"]
    static let maximumRange = 100_000

    func evaluate(_ arguments: Expression.Arguments) throws(TemplateError) -> Arguments {
        var values = Arguments()
        values.positional = arguments.positional.isEmpty ? [] : try evaluate(arguments.positional)
        if let list = arguments.list {
            let items = try items(of: try evaluate(list))
            try charge(items.count)
            values.positional += items
        }
        for (name, expression) in arguments.named { values.named.append((name, try evaluate(expression))) }
        if let dictionary = arguments.dictionary {
            guard case .map(let map) = try evaluate(dictionary) else {
                throw TemplateError(.evaluation, "the argument after ** must be a mapping")
            }
            try charge(8 * map.entries.count)
            for (key, value) in map.entries { values.named.append((try text(of: key).string, value)) }
        }
        return values
    }

    /// The call of a `call` block, whose body the macro gets as `caller`.
    func evaluate(_ expression: Expression, caller: Value.Macro) throws(TemplateError) -> Value {
        guard case .chain(let base, let links) = expression, case .call(let arguments)? = links.last else {
            throw TemplateError(.evaluation, "a call block needs a call")
        }
        let callee = try apply(Array(links.dropLast()), to: try evaluate(base))
        var values = try evaluate(arguments)
        values.caller = caller
        return try call(callee, values)
    }

    func call(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .function(.macro(let macro)): return .string(try call(macro, arguments))
        case .function(.global(let name)): return try call(global: name, arguments)
        case .loop(let loop):
            guard loop.definition.isRecursive else {
                throw TemplateError(.evaluation, "only recursive loops can be called")
            }
            let items = arguments.positional.first ?? .undefined("loop() needs an argument")
            return .string(
                try capture { () throws(TemplateError) in
                    try nested { () throws(TemplateError) in
                        try run(loop.definition, over: items, depth: loop.depth + 1)
                    }
                })
        default: throw TemplateError(.evaluation, "'\(value.typeName)' object is not callable")
        }
    }

    private func call(_ macro: Value.Macro, _ arguments: Arguments) throws(TemplateError) -> Text {
        let definition = macro.definition
        let parameters = definition.parameters
        return try nested { () throws(TemplateError) in
            try capture { () throws(TemplateError) in
                try within(Scope(parent: macro.scope)) { () throws(TemplateError) in
                    for (index, parameter) in parameters.enumerated() {
                        if let value = arguments.value(index, parameter.name) {
                            set(parameter.name, value)
                        } else if let fallback = parameter.value {
                            set(parameter.name, try evaluate(fallback))
                        } else {
                            set(parameter.name, .undefined("parameter '\(parameter.name)' was not provided"))
                        }
                    }
                    try charge(arguments.named.count * (1 + parameters.count >> 2))
                    let more = arguments.named.filter { argument in !parameters.contains { $0.name == argument.name } }
                    set("varargs", try .list(Array(arguments.positional.dropFirst(parameters.count)), isTuple: true))
                    set("kwargs", try .map(more.map { (Value.text($0.name), $0.value) }))
                    set("caller", arguments.caller.map { .function(.macro($0)) } ?? .undefined("no caller defined"))
                    _ = try run(definition.body)
                }
            }
        }
    }

    private func call(global name: String, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch name {
        case "raise_exception":
            throw TemplateError(.raised, try text(of: arguments.value(0, "message") ?? .text("")).string)
        case "strftime_now":
            guard let format = try arguments.text(0, "format") else {
                throw TemplateError(.evaluation, "strftime_now needs a format")
            }
            try charge(format.count)
            return .text(time.formatted(format.string))
        case "namespace":
            var values: [String: Value] = [:]
            if case .map(let map)? = arguments.positional.first {
                try charge(8 * map.entries.count)
                for (key, value) in map.entries { values[try text(of: key).string] = value }
            }
            for (name, value) in arguments.named { values[name] = value }
            return try newNamespace(values)
        case "dict":
            var entries: [(key: Value, value: Value)] = []
            switch arguments.positional.first {
            case .map(let map)?: entries = map.entries
            case let pairs?:
                for pair in try items(of: pairs) {
                    try charge()
                    let parts = try items(of: pair)
                    guard parts.count == 2 else { throw TemplateError(.evaluation, "dict needs pairs") }
                    entries.append((parts[0], parts[1]))
                }
            case nil: break
            }
            try charge(8 * (entries.count + arguments.named.count))
            for entry in entries { try charge(key: entry.key) }
            return try .map(entries + arguments.named.map { (.text($0.name), $0.value) })
        default: return try range(arguments)
        }
    }

    private func range(_ arguments: Arguments) throws(TemplateError) -> Value {
        var bounds: [Int] = []
        for value in arguments.positional {
            guard let bound = value.integer else {
                throw TemplateError(.evaluation, "'\(value.typeName)' object cannot be interpreted as an integer")
            }
            bounds.append(bound)
        }
        guard (1...3).contains(bounds.count) else { throw TemplateError(.evaluation, "range takes 1 to 3 arguments") }
        let start = bounds.count == 1 ? 0 : bounds[0]
        let end = bounds.count == 1 ? bounds[0] : bounds[1]
        let step = bounds.count == 3 ? bounds[2] : 1
        guard step != 0 else { throw TemplateError(.evaluation, "range() arg 3 must not be zero") }
        let span = step > 0 ? end.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(end)
        guard !span.overflow, step != .min, span.partialValue / abs(step) < Self.maximumRange else {
            throw TemplateError(.size, "range too big, maximum size for range is \(Self.maximumRange)")
        }
        let numbers = Array(stride(from: start, to: end, by: step))
        try charge(size: numbers.count * 8)
        return try .list(numbers.map { .integer($0) })
    }
}
