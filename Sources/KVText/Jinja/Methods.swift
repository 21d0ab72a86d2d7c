/// Python's methods of strings, dictionaries, lists and numbers. Those that would change a value are kept from templates, as
/// transformers' sandbox keeps them.
extension Interpreter {
    private static let textSignatures: [String: Signature] = [
        "strip": "chars= /", "lstrip": "chars= /", "rstrip": "chars= /", "split": "sep= maxsplit=",
        "rsplit": "sep= maxsplit=", "splitlines": "keepends=", "startswith": "prefix start= end= /",
        "endswith": "suffix start= end= /", "replace": "old new count= /", "upper": "", "lower": "", "title": "",
        "capitalize": "", "casefold": "", "swapcase": "", "join": "iterable /", "find": "sub start= end= /",
        "rfind": "sub start= end= /", "index": "sub start= end= /", "rindex": "sub start= end= /",
        "count": "sub start= end= /", "isdigit": "", "isalpha": "", "isalnum": "", "isspace": "", "isupper": "",
        "islower": "", "istitle": "", "isascii": "", "isdecimal": "", "isnumeric": "", "isidentifier": "",
        "isprintable": "", "removeprefix": "prefix /", "removesuffix": "suffix /", "zfill": "width /",
        "partition": "sep /", "rpartition": "sep /", "center": "width fillchar= /", "ljust": "width fillchar= /",
        "rjust": "width fillchar= /", "expandtabs": "tabsize=", "encode": "encoding= errors=", "translate": "table /",
        "maketrans": "x y= z= /",
    ]
    private static let mapSignatures: [String: Signature] = [
        "get": "key default= /", "items": "", "keys": "", "values": "", "copy": "", "fromkeys": "iterable value= /",
    ]
    private static let listSignatures: [String: Signature] = [
        "index": "value start= stop= /", "count": "value /", "copy": "",
    ]
    private static let numberSignatures: [String: Signature] = [
        "conjugate": "", "bit_length": "", "bit_count": "", "is_integer": "", "as_integer_ratio": "",
    ]
    private static let listChanges: Set<String> = [
        "append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove",
    ]
    private static let mapChanges: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]

    /// Whether Python has an attribute of this name that the sandbox does not give away.
    func isUnsafe(_ value: Value, _ name: String) -> Bool {
        switch value {
        case .list(let list): list.kind == .list && Self.listChanges.contains(name)
        case .map: Self.mapChanges.contains(name)
        default: false
        }
    }

    func hasMethod(_ value: Value, _ name: String) -> Bool {
        switch value {
        case .string(let text):
            Self.textSignatures[name] != nil || name == "format" || name == "format_map"
                || text.isSafe && ["striptags", "unescape", "escape"].contains(name)
        case .map: Self.mapSignatures[name] != nil
        case .list(let list): list.isSequence && Self.listSignatures[name] != nil && (name != "copy" || list.kind == .list)
        case .loop: name == "cycle" || name == "changed"
        case .function(.cycler): name == "next" || name == "reset"
        case .function(.global("dict")): name == "fromkeys"
        case .bool, .integer: Self.numberSignatures[name] != nil && name != "is_integer"
        case .float: ["conjugate", "is_integer", "as_integer_ratio"].contains(name)
        default: false
        }
    }

    func call(method name: String, of value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
        switch value {
        case .string(let text):
            switch name {
            case "format":
                guard arguments.caller == nil else { break }
                try charge(8 * arguments.named.count)
                var named: [Key: Value] = [:]
                for (name, value) in arguments.named { named[.string(Text(name).points)] = value }
                return .string(try formatted(text, positional: arguments.positional) { named[$0] })
            case "format_map":
                guard case .map(let map)? = try ("mapping /" as Signature).bind(arguments, of: name)[0] else { break }
                return .string(try formatted(text, positional: []) { map[$0] })
            case "striptags": return .string(try stripTags(text))
            case "unescape": return .string(try unescape(text))
            case "escape": return .string(try self.text(of: ("s /" as Signature).bind(arguments, of: name)[0] ?? .none).escaped)
            default: if let own = Self.textSignatures[name] { return try call(name, text, own.bind(arguments, of: name)) }
            }
        case .map(let map):
            if let own = Self.mapSignatures[name] { return try call(name, map, own.bind(arguments, of: name)) }
        case .function(.global):
            if let own = Self.mapSignatures["fromkeys"] { return try fromKeys(own.bind(arguments, of: name)) }
        case .list(let list):
            if let own = Self.listSignatures[name] { return try call(name, list, own.bind(arguments, of: name)) }
        case .bool, .integer, .float:
            if let own = Self.numberSignatures[name] {
                _ = try own.bind(arguments, of: name)
                return try call(name, ofNumber: value)
            }
        case .function(.cycler(let cycler)):
            _ = try ("" as Signature).bind(arguments, of: name)
            defer { cycler.position = name == "reset" ? 0 : (cycler.position + 1) % cycler.items.count }
            return name == "reset" ? .none : cycler.items[cycler.position]
        case .loop(let loop):
            guard arguments.named.isEmpty, arguments.caller == nil else { break }
            let now = arguments.positional
            if name == "changed" {
                for value in now { try charge(value.weight) }
                defer { loop.seen = now }
                guard let seen = loop.seen, seen.count == now.count else { return .bool(true) }
                return .bool(!zip(seen, now).allSatisfy { $0.equals($1) })
            }
            guard !now.isEmpty else { throw TemplateError(.evaluation, "no items for cycling given") }
            return now[loop.index % now.count]
        default: break
        }
        throw TemplateError(.evaluation, "'\(value.typeName)' object cannot call \(name) so")
    }

    // MARK: Dictionaries, lists, numbers

    private func call(_ name: String, _ map: Value.Map, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        switch name {
        case "get":
            let key = arguments[0] ?? .none
            try charge(key: key)
            return map[try key.key()] ?? arguments[1] ?? .none
        case "items":
            try charge(size: map.entries.count * 16)
            var pairs: [Value] = []
            for (key, value) in map.entries { pairs.append(try .list([key, value], .tuple)) }
            return try .list(pairs, .items)
        case "keys":
            try charge(size: map.entries.count)
            return try .list(map.entries.map(\.key), .keys)
        case "values":
            try charge(size: map.entries.count)
            return try .list(map.entries.map(\.value), .values)
        case "fromkeys": return try fromKeys(arguments)
        default: return .map(map)
        }
    }

    private func fromKeys(_ arguments: BoundArguments) throws(TemplateError) -> Value {
        var entries: [(key: Value, value: Value)] = []
        for key in try items(of: arguments[0] ?? .none) {
            try charge(8)
            try charge(key: key)
            entries.append((key, arguments[1] ?? .none))
        }
        return try .map(entries)
    }

    private func call(_ name: String, _ list: Value.List, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        guard name != "copy", let wanted = arguments[0] else { return .list(list) }
        try charge(list.items.count + list.weight)
        if name == "count" { return .number(list.items.count { $0.equals(wanted) }) }
        guard !list.isRange || arguments[1] == nil else { throw TemplateError(.evaluation, "index() takes one argument") }
        let range = try bounds(list.items.count, arguments)
        guard let index = range.first(where: { list.items[$0].equals(wanted) }) else {
            throw TemplateError(.evaluation, "the value is not in the list")
        }
        return .number(index)
    }

    /// The range that the arguments `start` and `end` choose of so many places; empty where they cross.
    private func bounds(_ count: Int, _ arguments: BoundArguments) throws(TemplateError) -> Range<Int> {
        func place(_ index: Int, _ fallback: Int) throws(TemplateError) -> Int {
            guard let bound = try arguments.integer(index, orNone: true)?.clamped else { return fallback }
            return bound < 0 ? max(0, max(bound, -count) + count) : min(bound, count)
        }
        let (start, end) = (try place(1, 0), try place(2, count))
        return start..<max(start, end)
    }

    private func call(_ name: String, ofNumber value: Value) throws(TemplateError) -> Value {
        if let integer = value.integer {
            switch name {
            case "bit_length": return .number(integer.bitCount)
            case "bit_count": return .number(integer.magnitude.text(radix: 2).utf8.count { $0 == 0x31 })
            case "as_integer_ratio": return try .list([.integer(integer), .number(1)], .tuple)
            default: return .integer(integer)
            }
        }
        guard case .float(let float) = value else { return value }
        switch name {
        case "is_integer": return .bool(float.isFinite && float == float.rounded())
        case "as_integer_ratio":
            guard float.isFinite else { throw TemplateError(.evaluation, "cannot convert \(float) to integer ratio") }
            var (top, bottom) = (float, Integer(1))
            while top != top.rounded() { (top, bottom) = (top * 2, try bottom + bottom) }
            return try .list([.integer(Integer(truncating: top) ?? Integer(0)), .integer(bottom)], .tuple)
        default: return value
        }
    }

    // MARK: Strings

    private func call(_ name: String, _ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        try charge(1 + text.count >> 4)
        try charge(size: text.count)
        switch name {
        case "strip": return .string(text.stripped(try arguments.text(0, orNone: true)))
        case "lstrip": return .string(text.stripped(try arguments.text(0, orNone: true), end: false))
        case "rstrip": return .string(text.stripped(try arguments.text(0, orNone: true), start: false))
        case "upper": return .string(text.uppercased)
        case "lower": return .string(text.lowercased)
        case "casefold": return .string(text.folded)
        case "title": return .string(text.titled)
        case "capitalize": return .string(text.capitalised)
        case "swapcase": return .string(text.caseSwapped)
        case "split", "rsplit": return try split(text, arguments, fromEnd: name == "rsplit")
        case "splitlines":
            if let keeps = arguments[0], keeps.integer == nil {
                throw TemplateError(.evaluation, "keepends must be int, not \(keeps.typeName)")
            }
            let lines = text.lines(keepingEnds: arguments.flag(0))
            try charge(size: lines.count * 16)
            return try .list(lines.map { .string($0) })
        case "partition", "rpartition": return try partition(text, arguments, fromEnd: name == "rpartition")
        case "startswith", "endswith": return .bool(try begins(text, arguments, atEnd: name == "endswith"))
        case "removeprefix", "removesuffix":
            guard let part = try arguments.text(0), !part.isEmpty else { return .string(text) }
            if name == "removeprefix" {
                return .string(text.points.starts(with: part.points) ? text[part.count..<text.count] : text)
            }
            let ends = text.points.reversed().starts(with: part.points.reversed())
            return .string(ends ? text[0..<text.count - part.count] : text)
        case "replace":
            guard let old = try arguments.text(0), let new = try arguments.text(1) else { break }
            return .string(try replaced(text, old, text.isSafe ? new.escaped : new, try arguments.size(2)))
        case "join":
            return .string(try joined(try items(of: arguments[0] ?? .none), text))
        case "find", "rfind", "index", "rindex", "count": return try find(name, text, arguments)
        case "zfill", "center", "ljust", "rjust": return .string(try justified(name, text, arguments))
        case "expandtabs":
            guard let size = Int32(exactly: try arguments.size(0) ?? 8) else {
                throw TemplateError(.evaluation, "Python int too large to convert to C int")
            }
            return .string(try expanded(text, Int(size)))
        case "encode", "translate", "maketrans":
            throw TemplateError(.evaluation, "the method '\(name)' of strings is not supported")
        default: return .bool(Self.holds(name, text))
        }
        throw TemplateError(.evaluation, "\(name) needs other arguments")
    }

    private func begins(_ text: Text, _ arguments: BoundArguments, atEnd: Bool) throws(TemplateError) -> Bool {
        var parts = [arguments[0] ?? .none]
        if case .list(let list) = parts[0], list.isTuple { parts = list.items }
        let range = try bounds(text.count, arguments)
        let start = try arguments.integer(1, orNone: true)?.clamped ?? 0
        for part in parts {
            guard case .string(let part) = part else {
                throw TemplateError(.evaluation, "startswith first arg must be str or a tuple of str, not \(part.typeName)")
            }
            try charge(part.count >> 6)
            guard start <= text.count, part.count <= range.count else { continue }
            let own = text.points[range]
            if atEnd ? own.suffix(part.count) == part.points[...] : own.starts(with: part.points) { return true }
        }
        return false
    }

    private func find(_ name: String, _ text: Text, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        guard let part = try arguments.text(0) else { return .number(-1) }
        try charge(part.count >> 4)
        let range = try bounds(text.count, arguments)
        let isOutside = try arguments.integer(1, orNone: true)?.clamped ?? 0 > text.count
        if name == "count" {
            if part.isEmpty { return .number(isOutside ? 0 : range.count + 1) }
            return .number(text.offsets(of: part, in: range).count)
        }
        let fromEnd = name.hasPrefix("r")
        var offset: Int?
        if part.isEmpty {
            offset = isOutside ? nil : fromEnd ? range.upperBound : range.lowerBound
        } else {
            offset =
                (fromEnd ? text.offsetsFromEnd(of: part, in: range, limit: 1) : text.offsets(of: part, in: range, limit: 1)).first
        }
        if let offset { return .number(offset) }
        if name.hasSuffix("index") { throw TemplateError(.evaluation, "substring not found") }
        return .number(-1)
    }

    private static func holds(_ name: String, _ text: Text) -> Bool {
        let points = text.points
        switch name {
        case "isascii": return points.allSatisfy { $0 < 0x80 }
        case "isprintable": return points.allSatisfy(CodePoint.isPrintable)
        case "isupper": return text.isUpper
        case "islower": return text.isLower
        case "istitle": return text.isTitle
        default: break
        }
        guard let first = points.first else { return false }
        switch name {
        case "isdigit": return points.allSatisfy(CodePoint.isDigit)
        case "isdecimal": return points.allSatisfy(CodePoint.isDecimal)
        case "isnumeric": return points.allSatisfy(CodePoint.isNumeric)
        case "isalpha": return points.allSatisfy(CodePoint.isAlphabetic)
        case "isalnum": return points.allSatisfy(CodePoint.isAlphanumeric)
        case "isspace": return points.allSatisfy(CodePoint.isSpace)
        default:
            return (first == 0x5F || CodePoint.properties(first)?.isXIDStart == true)
                && points.allSatisfy { CodePoint.properties($0)?.isXIDContinue == true }
        }
    }
}
