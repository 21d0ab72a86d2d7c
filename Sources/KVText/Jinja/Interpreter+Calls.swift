extension Interpreter {
    static let globals: Set<String> = [
        "range", "dict", "namespace", "raise_exception", "strftime_now", "cycler", "joiner", "lipsum",
    ]
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
            for (key, value) in map.entries {
                guard case .string(let name) = key else { throw TemplateError(.evaluation, "keywords must be strings") }
                values.named.append((name.string, value))
                if name.isForeign { values.foreignNames.insert(name.string) }
            }
        }
        var seen = Set<String>()
        for (name, _) in values.named where !seen.insert(name).inserted {
            throw TemplateError(.evaluation, "got multiple values for keyword argument '\(name)'")
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
        guard values.named("caller") == nil else {
            throw TemplateError(.evaluation, "got multiple values for keyword argument 'caller'")
        }
        values.caller = caller
        return try call(callee, values)
    }

    func call(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .function(let function):
            switch function {
            case .macro(let macro): return .string(try call(macro, arguments))
            case .global(let name): return try call(global: name, arguments)
            case .method(let name, let owner): return try call(method: name, of: owner, arguments)
            case .unsafe(let words): throw TemplateError(.evaluation, words)
            case .joiner(let joiner):
                _ = try ("" as Signature).bind(arguments, of: "joiner")
                defer { joiner.isUsed = true }
                return joiner.isUsed ? joiner.separator : .text("")
            case .cycler: break
            }
        case .loop(let loop):
            guard loop.definition.isRecursive else {
                throw TemplateError(
                    .evaluation, "The loop must have the 'recursive' marker to be called recursively.")
            }
            guard let items = try ("iterable" as Signature).bind(arguments, of: "loop")[0] else { break }
            return .string(
                try capture { () throws(TemplateError) in
                    try nested { () throws(TemplateError) in
                        try run(loop.definition, over: items, depth: loop.depth + 1)
                    }
                })
        default: break
        }
        throw TemplateError(.evaluation, "'\(value.typeName)' object is not callable")
    }

    private func call(_ macro: Value.Macro, _ arguments: Arguments) throws(TemplateError) -> Text {
        let definition = macro.definition
        let name = definition.name.string
        let parameters = definition.parameters
        try charge(arguments.named.count * (1 + parameters.count >> 2))
        var values: [Value?] = arguments.positional.prefix(parameters.count).map { $0 }
        var rest = arguments.named
        if let caller = arguments.caller { rest.append(("caller", .function(.macro(caller)))) }
        for parameter in parameters.dropFirst(values.count) {
            let at = rest.firstIndex { $0.name.unicodeScalars.elementsEqual(parameter.name.string.unicodeScalars) }
            values.append(at.map { rest.remove(at: $0).value })
        }
        var caller = Value.undefined("No caller defined")
        let takesCaller = definition.uses.contains("caller") && !parameters.contains { $0.name.equals("caller") }
        if takesCaller, let at = rest.firstIndex(where: { $0.name == "caller" }) { caller = rest.remove(at: at).value }
        guard rest.isEmpty || definition.uses.contains("kwargs") else {
            throw TemplateError(.evaluation, "macro '\(name)' takes no keyword argument '\(rest[0].name)'")
        }
        let more = Array(arguments.positional.dropFirst(parameters.count))
        guard more.isEmpty || definition.uses.contains("varargs") else {
            throw TemplateError(.evaluation, "macro '\(name)' takes not more than \(parameters.count) argument(s)")
        }
        return try nested { () throws(TemplateError) in
            try capture { () throws(TemplateError) in
                try within(Scope(parent: macro.scope)) { () throws(TemplateError) in
                    if takesCaller { set(Text("caller"), caller) }
                    if definition.uses.contains("varargs") { set(Text("varargs"), try .list(more, .tuple)) }
                    if definition.uses.contains("kwargs") {
                        var more = arguments
                        more.named = rest
                        set(Text("kwargs"), try .map(more.entries))
                    }
                    for (parameter, value) in zip(parameters, values) {
                        if let value {
                            set(parameter.name, value)
                        } else if let fallback = parameter.value {
                            set(parameter.name, try evaluate(fallback))
                        } else {
                            set(parameter.name, .undefined("parameter '\(parameter.name.string)' was not provided"))
                        }
                    }
                    _ = try run(definition.body)
                }
            }
        }
    }

    private func call(global name: String, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch name {
        case "raise_exception":
            let message = try ("message" as Signature).bind(arguments, of: name)[0] ?? .none
            throw TemplateError(.raised, try text(of: message).string)
        case "strftime_now":
            guard let format = try ("format" as Signature).bind(arguments, of: name).text(0) else { break }
            try charge(format.count)
            return .string(Text(time.formatted(format.string), isForeign: format.isForeign))
        case "namespace": return try newNamespace(try entries(arguments, of: name))
        case "dict":
            let entries = try entries(arguments, of: name)
            for entry in entries { try charge(key: entry.key) }
            return try .map(entries)
        case "range": return try range(arguments)
        case "joiner":
            let separator = try ("sep=" as Signature).bind(arguments, of: name)[0] ?? .text(", ")
            _ = try Value.depth(of: [separator])
            return .function(.joiner(Value.Joiner(separator)))
        case "cycler":
            guard arguments.named.isEmpty, !arguments.positional.isEmpty else {
                throw TemplateError(.evaluation, "at least one item has to be provided")
            }
            _ = try Value.depth(of: arguments.positional)
            return .function(.cycler(Value.Cycler(arguments.positional)))
        default: break
        }
        throw TemplateError(.evaluation, "\(name) is not supported here")
    }

    /// What Python's `dict(…)` takes: a dictionary or pairs, and names.
    private func entries(_ arguments: Arguments, of name: String) throws(TemplateError) -> [(key: Value, value: Value)] {
        guard arguments.positional.count <= 1, arguments.caller == nil else {
            throw TemplateError(.evaluation, "\(name) expected at most 1 argument")
        }
        var entries: [(key: Value, value: Value)] = []
        switch arguments.positional.first {
        case .map(let map)?: entries = map.entries
        case let pairs?:
            for pair in try items(of: pairs) {
                try charge()
                let parts = try items(of: pair)
                guard parts.count == 2 else { throw TemplateError(.evaluation, "\(name) needs pairs") }
                entries.append((parts[0], parts[1]))
            }
        case nil: break
        }
        try charge(8 * (entries.count + arguments.named.count))
        return entries + arguments.entries
    }

    private func range(_ arguments: Arguments) throws(TemplateError) -> Value {
        guard arguments.named.isEmpty, arguments.caller == nil else {
            throw TemplateError(.evaluation, "range() takes no keyword arguments")
        }
        var bounds: [Integer] = []
        for value in arguments.positional {
            guard let bound = value.integer else {
                throw TemplateError(.evaluation, "'\(value.typeName)' object cannot be interpreted as an integer")
            }
            bounds.append(bound)
        }
        guard (1...3).contains(bounds.count) else { throw TemplateError(.evaluation, "range takes 1 to 3 arguments") }
        let step = bounds.count == 3 ? bounds[2] : Integer(1)
        guard !step.isZero else { throw TemplateError(.evaluation, "range() arg 3 must not be zero") }
        let (start, end) = bounds.count == 1 ? (Integer(0), bounds[0]) : (bounds[0], bounds[1])
        let span = step.isNegative ? try start - end : try end - start
        let count =
            try span.isNegative || span.isZero
            ? Integer(0) : (span - Integer(1)).dividedFloor(by: step.magnitude).quotient + Integer(1)
        guard let count = count.small, count <= Self.maximumRange else {
            throw TemplateError(
                .size, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(Self.maximumRange)).")
        }
        return try range(start, step, count: count, end: end)
    }

    static let rangeTooLarge = TemplateError(.size, "a range with numbers beyond 64 bits is not supported")

    /// The numbers of a range; what is beyond a machine's integers is refused.
    private func range(_ start: Integer, _ step: Integer, count: Int, end: Integer) throws(TemplateError) -> Value {
        guard let first = start.small, let by = step.small, let last = end.small else {
            throw Self.rangeTooLarge
        }
        try charge(size: count * 8)
        var numbers: [Value] = []
        numbers.reserveCapacity(count)
        var at = first
        for index in 0..<count {
            numbers.append(.number(at))
            if index + 1 < count { at += by }
        }
        return try .list(numbers, .range(start: first, end: last, step: by))
    }
}
