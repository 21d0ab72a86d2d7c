/// Python's methods of strings, dictionaries and lists. Those that would change a value are refused, as transformers'
/// sandbox refuses them.
extension Interpreter {
    private static let stringMethods: Set<String> = [
        "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "replace", "upper",
        "lower", "title", "capitalize", "join", "find", "rfind", "index", "count", "format", "isdigit", "isalpha",
        "isalnum", "isspace", "isupper", "islower", "removeprefix", "removesuffix", "zfill", "partition", "rpartition",
        "casefold", "swapcase",
    ]
    private static let mapMethods: Set<String> = ["get", "items", "keys", "values", "copy"]
    private static let listMethods: Set<String> = ["index", "count", "copy"]
    private static let changes: Set<String> = [
        "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update", "setdefault", "popitem",
    ]

    func hasMethod(_ value: Value, _ name: String) -> Bool {
        switch value {
        case .string: Self.stringMethods.contains(name)
        case .map: Self.mapMethods.contains(name) || ["pop", "update", "clear", "setdefault", "popitem"].contains(name)
        case .list: Self.listMethods.contains(name) || Self.changes.contains(name)
        case .loop: name == "cycle" || name == "changed"
        default: false
        }
    }

    func call(method name: String, of value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch value {
        case .string(let text): return try call(name, text, arguments)
        case .map(let map):
            switch name {
            case "get":
                let key = arguments.value(0, "key") ?? .none
                try charge(key: key)
                return map[key.keyName] ?? arguments.value(1, "default") ?? .none
            case "items":
                try charge(size: map.entries.count * 16)
                var pairs: [Value] = []
                for (key, value) in map.entries { pairs.append(try .list([key, value], isTuple: true)) }
                return try .list(pairs)
            case "keys": return try .list(map.entries.map(\.key))
            case "values": return try .list(map.entries.map(\.value))
            case "copy": return value
            default: break
            }
        case .list(let list):
            let wanted = arguments.value(0, "value") ?? .none
            try charge(value.weight)
            switch name {
            case "copy": return value
            case "count": return .integer(list.items.count { $0.equals(wanted) })
            case "index":
                guard let index = list.items.firstIndex(where: { $0.equals(wanted) }) else {
                    throw TemplateError(.evaluation, "the value is not in the list")
                }
                return .integer(index)
            default: break
            }
        case .loop(let loop):
            if name == "changed" {
                let now = arguments.positional
                try charge(now.reduce(0) { $0 + $1.weight })
                defer { loop.seen = now }
                guard let seen = loop.seen, seen.count == now.count else { return .bool(true) }
                return .bool(!zip(seen, now).allSatisfy { $0.equals($1) })
            }
            guard !arguments.positional.isEmpty else { throw TemplateError(.evaluation, "no items for cycling given") }
            return arguments.positional[loop.index % arguments.positional.count]
        default: break
        }
        throw TemplateError(.evaluation, "templates cannot change a \(value.typeName): \(name) is not allowed")
    }

    private func call(_ name: String, _ text: Text, _ arguments: Arguments) throws(TemplateError) -> Value {
        try charge(1 + text.count >> (name == "title" ? 1 : 3))
        try charge(size: text.count)
        switch name {
        case "strip": return .string(text.stripped(try arguments.text(0, "chars")?.string))
        case "lstrip": return .string(text.stripped(try arguments.text(0, "chars")?.string, end: false))
        case "rstrip": return .string(text.stripped(try arguments.text(0, "chars")?.string, start: false))
        case "upper": return .string(text.mapped { $0.uppercased() })
        case "lower", "casefold": return .string(text.mapped { $0.lowercased() })
        case "title": return .string(text.mapped(Self.titled))
        case "capitalize": return .string(text.mapped(Self.capitalised))
        case "swapcase":
            return .string(
                text.mapped { $0.map { $0.isUppercase ? $0.lowercased() : $0.uppercased() }.joined() })
        case "split", "rsplit": return try split(text, arguments, fromEnd: name == "rsplit")
        case "splitlines": return try .list(text.lines.map { .string($0) })
        case "partition", "rpartition": return try partition(text, arguments, fromEnd: name == "rpartition")
        case "startswith", "endswith":
            var parts: [Value] = arguments.positional
            if case .list(let list)? = parts.first { parts = list.items }
            for part in parts {
                guard case .string(let part) = part else {
                    throw TemplateError(.evaluation, "\(name) first arg must be str, not \(part.typeName)")
                }
                let same = name == "startswith" ? text.string.utf8.starts(with: part.string.utf8) : Self.ends(text, part)
                if same { return .bool(true) }
            }
            return .bool(false)
        case "removeprefix", "removesuffix":
            guard let part = try arguments.text(0, "prefix") else { return .string(text) }
            if name == "removeprefix" {
                let has = text.string.utf8.starts(with: part.string.utf8)
                return .string(has ? text[part.count..<text.count] : text)
            }
            return .string(Self.ends(text, part) ? text[0..<text.count - part.count] : text)
        case "replace":
            guard let old = try arguments.text(0, "old"), let new = try arguments.text(1, "new") else {
                throw TemplateError(.evaluation, "replace needs two strings")
            }
            return .string(try replaced(text, old, new, try arguments.integer(2, "count")))
        case "join":
            return .string(try joined(try items(of: arguments.value(0, "iterable") ?? .none), text, strict: true))
        case "find", "rfind", "index":
            guard let part = try arguments.text(0, "sub") else { throw TemplateError(.evaluation, "\(name) needs a string") }
            let offset = name == "rfind" ? text.offsets(of: part).last : text.firstOffset(of: part, from: 0)
            guard let offset else {
                if name == "index" { throw TemplateError(.evaluation, "substring not found") }
                return .integer(-1)
            }
            return .integer(text[0..<offset].string.unicodeScalars.count)
        case "count": return .integer(try arguments.text(0, "sub").map { text.offsets(of: $0).count } ?? 0)
        case "format": return .string(try formatted(text, arguments))
        case "zfill":
            let width = try arguments.integer(0, "width") ?? 0
            try charge(size: max(0, width))
            let missing = width - text.string.unicodeScalars.count
            return .string(missing > 0 ? text.mapped { String(repeating: "0", count: missing) + $0 } : text)
        default: return .bool(Self.holds(name, text.string))
        }
    }

    private static func ends(_ text: Text, _ part: Text) -> Bool {
        text.string.utf8.reversed().starts(with: part.string.utf8.reversed())
    }

    private static func holds(_ name: String, _ text: String) -> Bool {
        guard !text.isEmpty else { return false }
        let letters = text.filter(\.isLetter)
        switch name {
        case "isdigit":
            return text.unicodeScalars.allSatisfy { $0.properties.numericType == .decimal || $0.properties.numericType == .digit }
        case "isalpha": return letters.count == text.count
        case "isalnum": return text.allSatisfy { $0.isLetter || $0.isNumber }
        case "isspace": return text.unicodeScalars.allSatisfy(\.properties.isWhitespace)
        case "isupper": return !letters.isEmpty && text == text.uppercased() && text != text.lowercased()
        default: return !letters.isEmpty && text == text.lowercased() && text != text.uppercased()
        }
    }

    /// Every word's first letter in upper case, the others in lower; words are runs of letters.
    private static func titled(_ text: String) -> String {
        var inWord = false
        var result = ""
        for character in text {
            result += inWord ? character.lowercased() : character.uppercased()
            inWord = character.isLetter
        }
        return result
    }

    static func capitalised(_ text: String) -> String {
        text.prefix(1).uppercased() + text.dropFirst().lowercased()
    }

    func replaced(_ text: Text, _ old: Text, _ new: Text, _ count: Int?) throws(TemplateError) -> Text {
        let limit = count.map { $0 < 0 ? .max : $0 } ?? .max
        guard old.count > 0 else {
            var result = Text("")
            var done = 0
            try charge(size: (text.count + 1) * (new.count + 1))
            for scalar in text.string.unicodeScalars {
                if done < limit { result.append(new) }
                done += 1
                result.append(Text(String(Character(scalar)), isForeign: text.isForeign))
            }
            if done < limit { result.append(new) }
            return result
        }
        let offsets = text.offsets(of: old, limit: limit)
        guard !offsets.isEmpty else { return text }
        try charge(size: text.count + offsets.count * (new.count + 16))
        var result = Text("")
        var at = 0
        for offset in offsets {
            result.append(text[at..<offset])
            result.append(new)
            at = offset + old.count
        }
        result.append(text[at..<text.count])
        return result
    }

    func joined(_ parts: [Value], _ separator: Text, strict: Bool = false) throws(TemplateError) -> Text {
        var result = Text("")
        for (index, part) in parts.enumerated() {
            if strict {
                guard case .string = part else {
                    throw TemplateError(
                        .evaluation, "sequence item \(index): expected str instance, \(part.typeName) found")
                }
            }
            let text = try text(of: part)
            try charge(size: text.count + separator.count)
            if index > 0 { result.append(separator) }
            result.append(text)
        }
        return result
    }

    private func split(_ text: Text, _ arguments: Arguments, fromEnd: Bool) throws(TemplateError) -> Value {
        let asked = try arguments.integer(1, "maxsplit") ?? -1
        let limit = asked < 0 ? Int.max : asked
        guard let separator = try arguments.text(0, "sep") else {
            if fromEnd, limit != .max { throw TemplateError(.evaluation, "rsplit needs a separator") }
            let words = text.words(limit: limit)
            try charge(size: words.count * 16)
            return try .list(words.map { .string($0) })
        }
        guard separator.count > 0 else { throw TemplateError(.evaluation, "empty separator") }
        var offsets = text.offsets(of: separator, limit: fromEnd ? .max : limit)
        if fromEnd, offsets.count > limit { offsets.removeFirst(offsets.count - limit) }
        try charge(size: offsets.count * 16)
        var parts: [Value] = []
        var at = 0
        for offset in offsets {
            parts.append(.string(text[at..<offset]))
            at = offset + separator.count
        }
        parts.append(.string(text[at..<text.count]))
        return try .list(parts)
    }

    private func partition(_ text: Text, _ arguments: Arguments, fromEnd: Bool) throws(TemplateError) -> Value {
        guard let separator = try arguments.text(0, "sep"), separator.count > 0 else {
            throw TemplateError(.evaluation, "empty separator")
        }
        let offset = fromEnd ? text.offsets(of: separator).last : text.firstOffset(of: separator, from: 0)
        let parts: [Text]
        if let offset {
            parts = [text[0..<offset], separator, text[offset + separator.count..<text.count]]
        } else {
            parts = fromEnd ? [Text(""), Text(""), text] : [text, Text(""), Text("")]
        }
        return try .list(parts.map { .string($0) }, isTuple: true)
    }

    /// Python's `str.format`: `{}`, `{0}`, `{name}`; specifications as `{:.2f}` go to the `%` operator.
    private func formatted(_ format: Text, _ arguments: Arguments) throws(TemplateError) -> Text {
        try charge(format.count)
        var result = Text("")
        var rest = format.string[...]
        var next = 0
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            result.append(Text(String(rest[..<brace]), isForeign: format.isForeign))
            let mark = rest[brace]
            rest = rest[rest.index(after: brace)...]
            if rest.first == mark {
                result.append(String(mark))
                rest.removeFirst()
                continue
            }
            guard mark == "{", let end = rest.firstIndex(of: "}") else {
                throw TemplateError(.evaluation, "a brace of the format has no partner")
            }
            let field = rest[..<end].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            rest = rest[rest.index(after: end)...]
            let name = String(field.first ?? "")
            let value =
                name.isEmpty
                ? arguments.value(next, "") : Int(name).flatMap { arguments.value($0, "") } ?? arguments.value(.max, name)
            if name.isEmpty { next += 1 }
            guard let value else { throw TemplateError(.evaluation, "no argument for the format's '\(name)'") }
            let own: Text
            if field.count > 1, !field[1].isEmpty {
                let kind = field[1].last.map { $0.isLetter ? "" : "s" } ?? ""
                own = try formatted(Text("%" + field[1] + kind), try .list([value], isTuple: true))
            } else {
                own = try text(of: value)
            }
            try charge(size: own.count)
            result.append(own)
        }
        result.append(Text(String(rest), isForeign: format.isForeign))
        return result
    }
}
