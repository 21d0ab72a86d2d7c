/// How `tojson` writes.
struct JSONStyle {
    /// What a level is indented by; nil for all in one line.
    private(set) var indentation: Text?
    private(set) var escapesUnicode = false
    private(set) var sortsKeys = false
    private(set) var itemSeparator = Text(", ")
    private(set) var keySeparator = Text(": ")

    /// From the filter's arguments `ensure_ascii`, `indent`, `separators` and `sort_keys`.
    init(_ arguments: BoundArguments) throws(TemplateError) {
        if case .string(let text)? = arguments[1] {
            indentation = text
        } else if let width = try arguments.integer(1, orNone: true) {
            guard width.clamped <= FormatSpecification.maximumWidth else {
                throw TemplateError(.size, "tojson is asked to indent by \(width.clamped) characters")
            }
            indentation = Text(String(repeating: " ", count: max(0, width.clamped)))
        }
        if indentation != nil { itemSeparator = Text(",") }
        escapesUnicode = arguments.flag(0)
        sortsKeys = arguments.flag(3)
        guard let separators = arguments[2], !separators.isNone else { return }
        guard case .list(let list) = separators, list.items.count == 2, case .string(let item) = list.items[0],
            case .string(let key) = list.items[1]
        else { throw TemplateError(.evaluation, "tojson: separators must be two strings") }
        (itemSeparator, keySeparator) = (item, key)
    }
}

/// Python's `json.dumps`.
extension Interpreter {
    func json(of value: Value, _ style: JSONStyle) throws(TemplateError) -> Text {
        var result = Text("")
        try write(value, style, depth: 0, to: &result)
        return result
    }

    private func write(_ value: Value, _ style: JSONStyle, depth: Int, to result: inout Text) throws(TemplateError) {
        try charge()
        switch value {
        case .string(let text):
            try charge(size: text.count + 2)
            result.append("\"")
            result.append(Self.json(text, style.escapesUnicode))
            result.append("\"")
        case .list(let list) where list.isTuple || list.kind == .list:
            try writeAll(list.items.count, "[", "]", style, depth, &result) { index, result throws(TemplateError) in
                try write(list.items[index], style, depth: depth + 1, to: &result)
            }
        case .map(let map):
            let entries = style.sortsKeys ? try sorted(map.entries.map { ($0.key, $0) }, isReversed: false).map(\.1) : map.entries
            try writeAll(entries.count, "{", "}", style, depth, &result) { index, result throws(TemplateError) in
                let key = entries[index].key
                if case .string = key {
                    try write(key, style, depth: depth, to: &result)
                } else {
                    result.append("\"\(try scalar(key) { "keys must be str, int, float, bool or None, not \($0)" })\"")
                }
                try charge(size: style.keySeparator.count)
                result.append(style.keySeparator)
                try write(entries[index].value, style, depth: depth + 1, to: &result)
            }
        default:
            let text = try scalar(value) { "Object of type \($0) is not JSON serializable" }
            try charge(size: text.utf8.count)
            result.append(text)
        }
    }

    private func scalar(_ value: Value, _ failure: (String) -> String) throws(TemplateError) -> String {
        switch value {
        case .none: return "null"
        case .bool(let bool): return bool ? "true" : "false"
        case .integer(let integer): return try integer.decimal()
        case .float(let float):
            if float.isNaN { return "NaN" }
            return float.isInfinite ? float < 0 ? "-Infinity" : "Infinity" : FloatText.shortest(float)
        default: throw TemplateError(.evaluation, failure(value.typeName))
        }
    }

    private func writeAll(
        _ count: Int, _ open: String, _ close: String, _ style: JSONStyle, _ depth: Int, _ result: inout Text,
        _ body: (Int, inout Text) throws(TemplateError) -> Void
    ) throws(TemplateError) {
        func indent(_ depth: Int) throws(TemplateError) {
            guard let indentation = style.indentation else { return }
            try charge(size: indentation.count * depth + 1)
            result.append("\n")
            result.append(indentation.plain.repeated(depth))
        }
        result.append(open)
        for index in 0..<count {
            if index > 0 {
                try charge(size: style.itemSeparator.count)
                result.append(style.itemSeparator)
            }
            try indent(depth + 1)
            try body(index, &result)
        }
        if count > 0 { try indent(depth) }
        result.append(close)
    }

    private static func json(_ text: Text, _ escapesUnicode: Bool) -> Text {
        text.plain.replacing { index, result in
            let point = text.points[index]
            switch point {
            case 0x22, 0x5C: result += [0x5C, point]
            case 0x0A: result += [0x5C, 0x6E]
            case 0x0D: result += [0x5C, 0x72]
            case 0x09: result += [0x5C, 0x74]
            case 0x08: result += [0x5C, 0x62]
            case 0x0C: result += [0x5C, 0x66]
            case 0x20...0x7E: result.append(point)
            case 0x7F... where !escapesUnicode: result.append(point)
            default:
                let units = point > 0xFFFF ? [0xD800 + (point - 0x10000) >> 10, 0xDC00 + (point - 0x10000) & 0x3FF] : [point]
                for unit in units { result += ("\\u" + hex(unit, 4)).unicodeScalars.map(\.value) }
            }
        }
    }
}
