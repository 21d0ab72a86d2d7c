/// Attributes, items, slices and what a loop goes through.
extension Interpreter {
    /// `value.name`: what the value has under this name, else its item.
    func attribute(_ name: Text, of value: Value) throws(TemplateError) -> Value {
        if let found = try ownAttribute(name, of: value) { return found }
        if case .map(let map) = value, let found = map[.string(name.points)] { return found }
        return .undefined(missing(name.string, of: value))
    }

    private func missing(_ name: String, of value: Value) -> String {
        "'\(value.typeName) object' has no attribute '\(name.prefix(200))'"
    }

    /// What Python's `getattr` finds: methods, and the parts of the interpreter's own objects.
    func ownAttribute(_ name: Text, of value: Value) throws(TemplateError) -> Value? {
        let string = name.string
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .namespace(let namespace): return namespace.values[name.points]
        case .loop(let loop): if let found = try attribute(string, of: loop) { return found }
        case .function(.macro(let macro)):
            switch string {
            case "name": return .string(macro.definition.name)
            case "arguments": return try .list(macro.definition.parameters.map { .string($0.name) }, .tuple)
            case "caller": return .bool(macro.definition.uses.contains("caller"))
            case "catch_kwargs": return .bool(macro.definition.uses.contains("kwargs"))
            case "catch_varargs": return .bool(macro.definition.uses.contains("varargs"))
            default: return nil
            }
        case .function(.cycler(let cycler)):
            switch string {
            case "current": return cycler.items[cycler.position]
            case "items": return try .list(cycler.items, .tuple)
            case "pos": return .number(cycler.position)
            default: break
            }
        case .function(.joiner(let joiner)):
            return string == "sep" ? joiner.separator : string == "used" ? .bool(joiner.isUsed) : nil
        case .list(let list):
            switch (list.kind, string) {
            case (.group, "grouper"): return list.items[0]
            case (.group, "list"): return list.items[1]
            case (.range(let start, _, _), "start"): return .number(start)
            case (.range(_, let end, _), "stop"): return .number(end)
            case (.range(_, _, let step), "step"): return .number(step)
            default: break
            }
        case .bool, .integer, .float:
            switch string {
            case "real": return value.integer.map { .integer($0) } ?? value
            case "imag": return value.integer == nil ? .float(0) : .number(0)
            case "numerator": if let integer = value.integer { return .integer(integer) }
            case "denominator": if value.integer != nil { return .number(1) }
            default: break
            }
        default: break
        }
        if isUnsafe(value, string) {
            return .undefined("access to attribute '\(string)' of '\(value.typeName)' object is unsafe.")
        }
        guard hasMethod(value, string) else { return nil }
        _ = try Value.depth(of: [value])
        return .function(.method(string, of: value))
    }

    private func attribute(_ name: String, of loop: Value.Loop) throws(TemplateError) -> Value? {
        switch name {
        case "index": return .number(loop.index + 1)
        case "index0": return .number(loop.index)
        case "revindex": return .number(try loop.count(self) - loop.index)
        case "revindex0": return .number(try loop.count(self) - loop.index - 1)
        case "first": return .bool(loop.index == 0)
        case "last": return .bool(try !loop.has(loop.index + 1, self))
        case "length": return .number(try loop.count(self))
        case "depth": return .number(loop.depth + 1)
        case "depth0": return .number(loop.depth)
        case "previtem":
            return loop.index > 0 ? loop.items[loop.index - 1] : .undefined("there is no previous item")
        case "nextitem":
            return try loop.has(loop.index + 1, self) ? loop.items[loop.index + 1] : .undefined("there is no next item")
        default: return nil
        }
    }

    /// `value[key]`: the item, else what the value has under this name.
    func item(_ key: Value, of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .map(let map):
            try charge(key: key)
            if let key = try? key.key(), let found = map[key] { return found }
        case .list(let list) where list.isSequence:
            if let at = position(key, list.items.count) { return list.items[at] }
        case .string(let text):
            if let at = position(key, text.count) { return .string(text[at..<at + 1]) }
        default: break
        }
        if case .string(let name) = key {
            if let found = try ownAttribute(name, of: value) { return found }
            return .undefined(missing(name.string, of: value))
        }
        return .undefined("'\(value.typeName) object' has no element \(try representation(of: key).string.prefix(200))")
    }

    private func position(_ key: Value, _ count: Int) -> Int? {
        guard let index = key.integer?.small else { return nil }
        if index >= 0 { return index < count ? index : nil }
        return index >= -count ? index + count : nil
    }

    /// Python's bounds of a slice of so many places.
    private static func bounds(_ count: Int, _ start: Int?, _ end: Int?, _ step: Int) -> (from: Int, to: Int) {
        func clamp(_ bound: Int?, _ fallback: Int) -> Int {
            guard let bound else { return fallback }
            let at = bound < 0 ? max(bound, -count - 1) + count : bound
            return step > 0 ? min(max(at, 0), count) : min(max(at, -1), count - 1)
        }
        return (clamp(start, step > 0 ? 0 : count - 1), clamp(end, step > 0 ? count : -1))
    }

    func slice(_ value: Value, _ start: Int?, _ end: Int?, _ step: Int?) throws(TemplateError) -> Value {
        let step = step ?? 1
        guard step != 0 else { throw TemplateError(.evaluation, "slice step cannot be zero") }
        func places(_ count: Int) -> (bounds: (from: Int, to: Int), places: [Int]) {
            let bounds = Self.bounds(count, start, end, step)
            let places = stride(from: bounds.from, to: bounds.to, by: max(-count - 1, min(step, count + 1)))
            return (bounds, Array(places))
        }
        switch value {
        case .undefined(let words): throw TemplateError(.evaluation, words)
        case .list(let list) where list.isSequence:
            try charge(size: list.items.count)
            let (bounds, places) = places(list.items.count)
            let items = places.map { list.items[$0] }
            guard case .range(let first, _, let by) = list.kind else {
                return try .list(items, list.kind == .group ? .tuple : list.kind)
            }
            func number(_ place: Int) throws(TemplateError) -> Int {
                guard let number = try (Integer(first) + Integer(place) * Integer(by)).small else { throw Self.rangeTooLarge }
                return number
            }
            guard step != .max, step != .min, let by = try (Integer(by) * Integer(step)).small else { throw Self.rangeTooLarge }
            return try .list(items, .range(start: try number(bounds.from), end: try number(bounds.to), step: by))
        case .string(let text):
            try charge(size: text.count)
            let places = places(text.count).places
            guard let first = places.first, let last = places.last else { return .string(text[0..<0]) }
            return .string(step == 1 ? text[first..<last + 1] : text[places])
        default: throw TemplateError(.evaluation, "'\(value.typeName)' object is not subscriptable")
        }
    }

    /// What a loop over a value goes through. Iterators are used up.
    func items(of value: Value) throws(TemplateError) -> [Value] {
        switch value {
        case .undefined: return []
        case .list(let list):
            try charge(list.items.count >> 2)
            return list.items
        case .map(let map):
            try charge(map.entries.count >> 2)
            return map.entries.map(\.key)
        case .string(let text):
            try charge(size: text.count * 16)
            return text.points.indices.map { .string(text[$0..<$0 + 1].plain) }
        case .iterator(let iterator):
            var items: [Value] = []
            while let item = try next(iterator) { items.append(item) }
            return items
        default: throw TemplateError(.evaluation, "'\(value.typeName)' object is not iterable")
        }
    }

    func next(_ iterator: Value.Iterator) throws(TemplateError) -> Value? {
        try charge()
        try charge(size: 8)
        return try nested { () throws(TemplateError) in try iterator.next(self) }
    }

    /// One value after another, as they are asked for.
    func makeSource(_ value: Value) throws(TemplateError) -> ((Interpreter) throws(TemplateError) -> Value?) {
        if case .iterator(let iterator) = value { return { interpreter throws(TemplateError) in try interpreter.next(iterator) } }
        let items = try items(of: value)
        var at = 0
        return { interpreter throws(TemplateError) in
            try interpreter.charge()
            guard at < items.count else { return nil }
            at += 1
            return items[at - 1]
        }
    }
}
