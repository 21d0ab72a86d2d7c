import Foundation

extension Interpreter {
    /// Jinja's filters, and transformers' `tojson`.
    func filter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        try charge(1 + value.weight)
        switch name {
        case "default", "d":
            let isAbsent = value.isUndefined || (arguments.flag(1, "boolean") ?? false) && !value.isTrue
            return isAbsent ? arguments.value(0, "default_value") ?? .text("") : value
        case "safe":
            var text = try text(of: value)
            text.isSafe = true
            return .string(text)
        case "string": return .string(try text(of: value))
        case "tojson": return .string(try json(of: value, JSONStyle(arguments)))
        case "length", "count":
            if case .string(let text) = value { return .integer(text.string.unicodeScalars.count) }
            if case .undefined = value { return .integer(0) }
            return .integer(try items(of: value).count)
        case "items": return try pairs(of: value)
        case "list": return try .list(try items(of: value))
        case "first": return try items(of: value).first ?? .undefined("No first item, sequence was empty.")
        case "last": return try items(of: value).last ?? .undefined("No last item, sequence was empty.")
        case "join": return try join(value, arguments)
        case "int", "float", "abs", "round": return try number(name, value, arguments)
        case "reverse":
            if case .string(let text) = value {
                return .string(text.mapped { String(String.UnicodeScalarView($0.unicodeScalars.reversed())) })
            }
            return try .list(try items(of: value).reversed())
        case "sort", "unique", "dictsort", "min", "max": return try ordered(name, value, arguments)
        case "sum":
            var total = arguments.value(1, "start") ?? .integer(0)
            for item in try items(of: value) { total = try compute(total, .add, try attribute(arguments, 0, of: item)) }
            return total
        case "select", "reject", "selectattr", "rejectattr": return try select(name, value, arguments)
        case "map": return try map(value, arguments)
        case "groupby": return try grouped(value, arguments)
        case "attr":
            return try attribute(try arguments.text(0, "name")?.string ?? "", of: value)
        default: return try textFilter(name, value, arguments)
        }
    }

    private func textFilter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        let text = try text(of: value)
        try charge(size: text.count)
        // Some go by characters, which takes longer.
        try charge(text.count >> (name == "title" || name == "wordcount" ? 1 : 3))
        switch name {
        case "trim": return .string(text.stripped(try arguments.text(0, "chars")?.string))
        case "upper": return .string(text.mapped { $0.uppercased() })
        case "lower": return .string(text.mapped { $0.lowercased() })
        case "capitalize": return .string(text.mapped(Self.capitalised))
        case "title":
            return .string(
                text.mapped { text in
                    var starts = true
                    return text.reduce(into: "") { result, character in
                        result += starts ? character.uppercased() : character.lowercased()
                        starts = character.isWhitespace || "-({[<".contains(character)
                    }
                })
        case "escape", "e", "forceescape": return .string(text.escaped)
        case "replace":
            guard let old = arguments.value(0, "old"), let new = arguments.value(1, "new") else {
                throw TemplateError(.evaluation, "replace needs two strings")
            }
            return .string(
                try replaced(text, try self.text(of: old), try self.text(of: new), try arguments.integer(2, "count")))
        case "indent": return .string(try indented(text, arguments))
        case "wordcount": return .integer(text.words(limit: .max).count)
        case "format": return .string(try formatted(text, try .list(arguments.positional, isTuple: true)))
        default: throw TemplateError(.evaluation, "no filter named '\(name)'")
        }
    }

    private func indented(_ text: Text, _ arguments: Arguments) throws(TemplateError) -> Text {
        let indentation: Text
        switch arguments.value(0, "width") {
        case .string(let own)?: indentation = own
        case let width?:
            let count = max(0, width.integer ?? 4)
            try charge(size: count)
            indentation = Text(String(repeating: " ", count: count))
        case nil: indentation = Text("    ")
        }
        let blank = arguments.flag(2, "blank") ?? false
        var lines = text.lines
        if text.string.isEmpty || text.string.hasSuffix("\n") { lines.append(Text("")) }
        try charge(size: lines.count * (indentation.count + 16))
        var result = Text("")
        for (index, line) in lines.enumerated() {
            if index > 0 { result.append("\n") }
            if index == 0 ? arguments.flag(1, "first") ?? false : blank || line.count > 0 { result.append(indentation) }
            result.append(line)
        }
        return result
    }

    private func number(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        if case .string(let text) = value { try charge(text.count) }
        switch name {
        case "int":
            let fallback = arguments.value(0, "default") ?? .integer(0)
            if let integer = value.integer { return .integer(integer) }
            if let number = value.number {
                guard let integer = Int(exactly: number.rounded(.towardZero)) else {
                    throw TemplateError(.evaluation, "the number \(number) is too large")
                }
                return .integer(integer)
            }
            guard case .string(let text) = value else { return fallback }
            let digits = text.stripped().string.replacingOccurrences(of: "_", with: "")
            if let integer = Int(digits, radix: try arguments.integer(1, "base").map { max(2, min(36, $0)) } ?? 10) {
                return .integer(integer)
            }
            return Double(digits).flatMap { Int(exactly: $0.rounded(.towardZero)) }.map { .integer($0) } ?? fallback
        case "float":
            if let number = value.number { return .float(number) }
            guard case .string(let text) = value, let number = Double(text.stripped().string) else {
                return arguments.value(0, "default") ?? .float(0)
            }
            return .float(number)
        case "abs":
            if let integer = value.integer, integer != .min { return .integer(abs(integer)) }
            guard let number = value.number else { break }
            return .float(abs(number))
        default:
            guard let number = value.number else { break }
            let scale = pow(10, Double(try arguments.integer(0, "precision") ?? 0))
            switch try arguments.text(1, "method")?.string ?? "common" {
            case "ceil": return .float((number * scale).rounded(.up) / scale)
            case "floor": return .float((number * scale).rounded(.down) / scale)
            default: return .float((number * scale).rounded(.toNearestOrEven) / scale)
            }
        }
        throw TemplateError(.evaluation, "bad operand type for \(name): '\(value.typeName)'")
    }

    private func pairs(of value: Value) throws(TemplateError) -> Value {
        switch value {
        case .undefined: return try .list([])
        case .map: return try call(method: "items", of: value, Arguments())
        default: throw TemplateError(.evaluation, "Can only get item pairs from a mapping.")
        }
    }

    private func join(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        var parts = try items(of: value)
        if arguments.value(1, "attribute") != nil {
            for index in parts.indices { parts[index] = try attribute(arguments, 1, of: parts[index]) }
        }
        return .string(try joined(parts, try text(of: arguments.value(0, "d") ?? .text(""))))
    }

    // MARK: Attributes

    /// What the argument `attribute` names in an item (`function.name`, `0`), else the item itself.
    private func attribute(_ arguments: Arguments, _ index: Int, of item: Value) throws(TemplateError) -> Value {
        guard let path = arguments.value(index, "attribute"), path.isTrue || path.integer != nil else { return item }
        return try self.path(path, of: item)
    }

    private func path(_ path: Value, of item: Value) throws(TemplateError) -> Value {
        guard case .string(let text) = path else { return try self.item(path, of: item) }
        var value = item
        for part in text.string.split(separator: ".", omittingEmptySubsequences: false) {
            let key: Value = Int(part).map { .integer($0) } ?? .text(String(part))
            if case .undefined = value { return value }
            value = try self.item(key, of: value)
        }
        return value
    }

    private func select(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        var rest = arguments
        var path: Value?
        if name.hasSuffix("attr") {
            guard !rest.positional.isEmpty else { throw TemplateError(.evaluation, "\(name) needs an attribute's name") }
            path = rest.positional.removeFirst()
        }
        var testName: String?
        if case .string(let text)? = rest.positional.first {
            testName = text.string
            rest.positional.removeFirst()
        }
        var kept: [Value] = []
        for item in value.isTrue ? try items(of: value) : [] {
            try charge()
            let subject = try path.map { path throws(TemplateError) in try self.path(path, of: item) } ?? item
            let holds = try testName.map { name throws(TemplateError) in try test(name, subject, rest) } ?? subject.isTrue
            if holds == name.hasPrefix("select") { kept.append(item) }
        }
        return try .list(kept)
    }

    private func map(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        var results: [Value] = []
        for item in value.isTrue ? try items(of: value) : [] {
            try charge()
            if let path = arguments.value(-1, "attribute") {
                let found = try self.path(path, of: item)
                results.append(found.isUndefined ? arguments.value(-1, "default") ?? found : found)
            } else {
                var rest = arguments
                guard case .string(let name)? = rest.positional.first else {
                    throw TemplateError(.evaluation, "map requires a filter argument")
                }
                rest.positional.removeFirst()
                results.append(try filter(name.string, item, rest))
            }
        }
        return try .list(results)
    }

    private func grouped(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        var sorting = Arguments()
        if let path = arguments.value(0, "attribute") { sorting.named = [("attribute", path)] }
        var groups: [(key: Value, items: [Value])] = []
        for item in try items(of: try ordered("sort", value, sorting)) {
            let key = try attribute(arguments, 0, of: item)
            if let last = groups.last, last.key.equals(key) {
                groups[groups.count - 1].items.append(item)
            } else {
                groups.append((key, [item]))
            }
        }
        var pairs: [Value] = []
        for group in groups { pairs.append(try .list([group.key, try .list(group.items)], isTuple: true)) }
        return try .list(pairs)
    }

    // MARK: Order

    private func ordered(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        // Where each keeps its arguments.
        let isCased: Bool
        let pathIndex: Int
        switch name {
        case "sort": (isCased, pathIndex) = (arguments.flag(1, "case_sensitive") ?? false, 2)
        case "dictsort": (isCased, pathIndex) = (arguments.flag(0, "case_sensitive") ?? false, -1)
        default: (isCased, pathIndex) = (arguments.flag(0, "case_sensitive") ?? false, 1)
        }
        let source = name == "dictsort" ? try pairs(of: value) : value
        let byValue = name == "dictsort" ? try arguments.text(1, "by")?.string == "value" : false
        var keyed: [(key: Value, item: Value)] = []
        for item in try items(of: source) {
            try charge(4)
            var key =
                name == "dictsort"
                ? try self.item(.integer(byValue ? 1 : 0), of: item) : try attribute(arguments, pathIndex, of: item)
            if !isCased, case .string(let text) = key { key = .string(text.mapped { $0.lowercased() }) }
            try charge(key.weight * 16)
            keyed.append((key, item))
        }
        switch name {
        case "unique":
            var seen = Set<String>()
            var kept: [Value] = []
            for (key, item) in keyed where seen.insert(key.keyName + "\u{0}" + (try representation(of: key).string)).inserted {
                kept.append(item)
            }
            return try .list(kept)
        case "min", "max":
            guard var best = keyed.first else { return .undefined("No aggregated item, sequence was empty.") }
            for one in keyed.dropFirst() {
                if try name == "min" ? one.key.isLess(than: best.key) : best.key.isLess(than: one.key) { best = one }
            }
            return best.item
        default:
            let isReversed = arguments.flag(name == "sort" ? 0 : 2, "reverse") ?? false
            return try .list(try sorted(keyed, isReversed: isReversed).map(\.item))
        }
    }

    /// A stable merge sort.
    private func sorted(
        _ items: [(key: Value, item: Value)], isReversed: Bool
    ) throws(TemplateError) -> [(key: Value, item: Value)] {
        guard items.count > 1 else { return items }
        try charge(items.count)
        let middle = items.count / 2
        let left = try sorted(Array(items[..<middle]), isReversed: isReversed)
        let right = try sorted(Array(items[middle...]), isReversed: isReversed)
        var merged: [(key: Value, item: Value)] = []
        merged.reserveCapacity(items.count)
        var (i, j) = (0, 0)
        while i < left.count, j < right.count {
            let takesRight =
                try isReversed ? left[i].key.isLess(than: right[j].key) : right[j].key.isLess(than: left[i].key)
            merged.append(takesRight ? right[j] : left[i])
            if takesRight { j += 1 } else { i += 1 }
        }
        return merged + left[i...] + right[j...]
    }
}
