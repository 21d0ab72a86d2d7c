/// Jinja's filters, and transformers' `tojson`.
extension Interpreter {
    private static let signatures: [String: Signature] = [
        "abs": "x /", "attr": "obj name", "batch": "value linecount fill_with=", "capitalize": "s",
        "center": "value width=", "count": "obj /", "d": "value default_value= boolean=",
        "default": "value default_value= boolean=", "dictsort": "value case_sensitive= by= reverse=", "e": "s /",
        "escape": "s /", "filesizeformat": "value binary=", "first": "seq", "float": "value default=",
        "forceescape": "value", "groupby": "value attribute default= case_sensitive=",
        "indent": "s width= first= blank=", "int": "value default= base=", "join": "value d= attribute=", "last": "seq",
        "length": "obj /", "list": "value", "lower": "s", "items": "value", "min": "value case_sensitive= attribute=",
        "max": "value case_sensitive= attribute=", "pprint": "value", "random": "seq", "replace": "s old new count=",
        "reverse": "value", "round": "value precision= method=", "safe": "value", "slice": "value slices fill_with=",
        "sort": "value reverse= case_sensitive= attribute=", "string": "s", "striptags": "value",
        "sum": "iterable attribute= start=", "title": "s", "trim": "value chars=",
        "truncate": "s length= killwords= end= leeway=", "unique": "value case_sensitive= attribute=", "upper": "s",
        "urlencode": "value", "urlize": "value trim_url_limit= nofollow= target= rel= extra_schemes=", "wordcount": "s",
        "wordwrap": "s width= break_long_words= wrapstring= break_on_hyphens=", "xmlattr": "d autospace=",
        "tojson": "x ensure_ascii= indent= separators= sort_keys=",
    ]
    /// Filters that take what their arguments name.
    private static let open: Set<String> = ["format", "map", "select", "reject", "selectattr", "rejectattr"]

    static let filterNames = Set(signatures.keys).union(open)

    func filter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        try charge(1 + value.weight)
        guard let signature = Self.signatures[name] else {
            return try openFilter(name, value, arguments)
        }
        var all = arguments
        all.positional.insert(value, at: 0)
        let own = try signature.bind(all, of: name)
        switch name {
        case "default", "d":
            let isAbsent = value.isUndefined || own.flag(2) && !value.isTrue
            return isAbsent ? own[1] ?? .text("") : value
        case "tojson": return .string(try json(of: value, JSONStyle(own.dropFirst())))
        case "length", "count": return try length(of: value)
        case "items": return try itemPairs(of: value)
        case "list": return try .list(try items(of: value))
        case "first", "last", "reverse": return try end(name, of: value)
        case "join": return try join(value, own)
        case "int", "float", "abs", "round", "filesizeformat": return try number(name, value, own)
        case "sort", "unique", "dictsort", "min", "max", "groupby": return try ordered(name, value, own)
        case "sum": return try sum(value, own)
        case "batch", "slice": return try cut(name, value, own)
        case "attr":
            guard let path = try own.text(1) else { break }
            return try ownAttribute(path, of: value) ?? .undefined("'\(value.typeName)' has no attribute '\(path.string)'")
        case "pprint": return .string(try prettyPrinted(value))
        case "xmlattr": return .string(try xmlAttributes(value, own))
        case "urlencode": return .string(try urlEncoded(value))
        case "random", "urlize": throw TemplateError(.evaluation, "the filter '\(name)' is not supported")
        default: return try textFilter(name, value, own)
        }
        throw TemplateError(.evaluation, "\(name) needs other arguments")
    }

    private func openFilter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        guard Self.open.contains(name) else { throw TemplateError(.evaluation, "No filter named '\(name.prefix(100))'.") }
        guard arguments.caller == nil else { throw TemplateError(.evaluation, "\(name) takes no caller") }
        switch name {
        case "format":
            guard arguments.named.isEmpty || arguments.positional.isEmpty else {
                throw TemplateError(
                    .evaluation, "can't handle positional and keyword arguments at the same time")
            }
            let format = try text(of: value)
            if arguments.named.isEmpty { return .string(try formatted(format, try .list(arguments.positional, .tuple))) }
            return .string(try formatted(format, try .map(arguments.entries)))
        case "map": return try map(value, arguments)
        default: return try select(name, value, arguments)
        }
    }

    private func length(of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined: return .number(0)
        case .string(let text): return .number(text.count)
        case .list(let list): return .number(list.items.count)
        case .map(let map): return .number(map.entries.count)
        case .loop(let loop): return .number(try loop.count(self))
        default: throw TemplateError(.evaluation, "object of type '\(value.typeName)' has no len()")
        }
    }

    private func itemPairs(of value: Value) throws(TemplateError) -> Value {
        var pairs: [Value] = []
        switch value {
        case .undefined: break
        case .map(let map):
            try charge(size: map.entries.count * 16)
            for (key, value) in map.entries { pairs.append(try .list([key, value], .tuple)) }
        default:
            return .iterator(
                Value.Iterator("items", depth: 1) { _ throws(TemplateError) in
                    throw TemplateError(.evaluation, "Can only get item pairs from a mapping.")
                })
        }
        return try iterator("items", over: pairs)
    }

    private func iterator(_ name: String, over items: [Value]) throws(TemplateError) -> Value {
        var at = 0
        return .iterator(
            Value.Iterator(name, depth: try Value.depth(of: items)) { _ throws(TemplateError) in
                guard at < items.count else { return nil }
                at += 1
                return items[at - 1]
            })
    }

    private func end(_ name: String, of value: Value) throws(TemplateError) -> Value {
        if name == "first" {
            if case .iterator(let iterator) = value {
                return try next(iterator) ?? .undefined("No first item, sequence was empty.")
            }
            return try items(of: value).first ?? .undefined("No first item, sequence was empty.")
        }
        if case .string(let text) = value {
            try charge(size: text.count)
            if name == "reverse" { return .string(text[text.points.indices.reversed()]) }
            return text.isEmpty ? .undefined("No last item, sequence was empty.") : .string(text[text.count - 1..<text.count])
        }
        if case .iterator = value {
            guard name == "reverse" else { throw TemplateError(.evaluation, "'generator' object is not reversible") }
            return try .list(try items(of: value).reversed())
        }
        let items = try items(of: value)
        if name == "reverse" { return try iterator("reversed", over: items.reversed()) }
        return items.last ?? .undefined("No last item, sequence was empty.")
    }

    private func join(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        var parts = try items(of: value)
        for index in parts.indices {
            let part = try arguments[2].flatMap { $0.isNone ? nil : $0 }.map { path throws(TemplateError) in
                try self.path(path, of: parts[index])
            }
            parts[index] = .string(try text(of: part ?? parts[index]).plain)
        }
        return .string(try joined(parts, try text(of: arguments[1] ?? .text("")).plain))
    }

    private func sum(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        var total = arguments[2] ?? .number(0)
        if case .string = total { throw TemplateError(.evaluation, "sum() can't sum strings [use ''.join(seq) instead]") }
        for item in try items(of: value) {
            let path = arguments[1].flatMap { $0.isNone ? nil : $0 }
            total = try compute(total, .add, try path.map { path throws(TemplateError) in try self.path(path, of: item) } ?? item)
        }
        return total
    }

    // MARK: Attributes

    /// What a path names in an item (`function.name`, `0`).
    /// - Parameter fallback: takes the place of what is undefined on the way.
    func path(_ path: Value, of item: Value, fallback: Value? = nil) throws(TemplateError) -> Value {
        var keys = [path]
        switch path {
        case .none: return item
        case .string(let text):
            keys = []
            for part in Self.cut(text, at: 0x2E) {
                if !part.isEmpty, part.points.allSatisfy(CodePoint.isDigit) {
                    guard let index = try part.integer() else {
                        throw TemplateError(.evaluation, "invalid literal for int() with base 10: '\(part.string)'")
                    }
                    keys.append(.integer(index))
                } else {
                    keys.append(.string(part))
                }
            }
        default: break
        }
        var value = item
        for key in keys {
            try charge()
            value = try self.item(key, of: value)
            if value.isUndefined, let fallback { value = fallback }
        }
        return value
    }

    private static func cut(_ text: Text, at mark: UInt32) -> [Text] {
        var parts: [Text] = []
        var start = 0
        for at in text.offsets(of: Text(points: [mark])) {
            parts.append(text[start..<at])
            start = at + 1
        }
        parts.append(text[start..<text.count])
        return parts
    }

    private func select(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        var rest = arguments
        let hasPath = name.hasSuffix("attr")
        guard value.isTrue else { return try iterator(name, over: []) }
        let source = try makeLazySource(value)
        let depth = try Value.depth(of: [value] + arguments.positional + arguments.named.map(\.value))
        if hasPath, rest.positional.isEmpty {
            return .iterator(
                Value.Iterator(name, depth: depth) { _ throws(TemplateError) in
                    throw TemplateError(.evaluation, "Missing parameter for attribute name")
                })
        }
        let path = hasPath ? rest.positional.removeFirst() : nil
        let testName = rest.positional.isEmpty ? nil : rest.positional.removeFirst()
        let keeps = name.hasPrefix("select")
        return .iterator(
            Value.Iterator(name, depth: depth) { interpreter throws(TemplateError) in
                while let item = try source(interpreter) {
                    let subject = try path.map { path throws(TemplateError) in try interpreter.path(path, of: item) } ?? item
                    var holds = subject.isTrue
                    if let testName {
                        guard case .string(let test) = testName else {
                            throw TemplateError(.evaluation, "No test of this name.")
                        }
                        holds = try interpreter.test(test.string, subject, rest)
                    }
                    if holds == keeps { return item }
                }
                return nil
            })
    }

    private func map(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        guard value.isTrue else { return try iterator("map", over: []) }
        let source = try makeLazySource(value)
        let depth = try Value.depth(of: [value] + arguments.positional + arguments.named.map(\.value))
        let path = arguments.positional.isEmpty ? arguments.named("attribute") : nil
        let fallback = arguments.named("default").flatMap { $0.isNone ? nil : $0 }
        return .iterator(
            Value.Iterator("map", depth: depth) { interpreter throws(TemplateError) in
                if let path {
                    if let other = arguments.named.first(where: { $0.name != "attribute" && $0.name != "default" }) {
                        throw TemplateError(.evaluation, "Unexpected keyword argument '\(other.name)'")
                    }
                    return try source(interpreter).map { item throws(TemplateError) in
                        try interpreter.path(path, of: item, fallback: fallback)
                    }
                }
                guard let first = arguments.positional.first else {
                    throw TemplateError(.evaluation, "map requires a filter argument")
                }
                guard let item = try source(interpreter) else { return nil }
                guard case .string(let name) = first else { throw TemplateError(.evaluation, "No filter of this name.") }
                var rest = arguments
                rest.positional.removeFirst()
                return try interpreter.nested { () throws(TemplateError) in
                    try interpreter.filter(name.string, item, rest)
                }
            })
    }

    /// A source whose failure to be one is told when it is first asked, as Python's generators do.
    func makeLazySource(_ value: Value) throws(TemplateError) -> ((Interpreter) throws(TemplateError) -> Value?) {
        switch value {
        case .undefined, .string, .list, .map, .iterator: return try makeSource(value)
        default:
            let type = value.typeName
            return { _ throws(TemplateError) in throw TemplateError(.evaluation, "'\(type)' object is not iterable") }
        }
    }
}
