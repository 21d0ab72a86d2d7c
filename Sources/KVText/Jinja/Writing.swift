/// How `tojson` writes.
struct JSONStyle {
    var indentation: String?
    var escapesUnicode = false
    var sortsKeys = false
    var itemSeparator = ", "
    var keySeparator = ": "

    init(_ arguments: Arguments) throws(TemplateError) {
        switch arguments.value(1, "indent") {
        case .string(let text)?: indentation = text.string
        case let width?:
            if let width = width.integer { indentation = String(repeating: " ", count: max(0, min(width, 64))) }
        case nil: break
        }
        if indentation != nil { itemSeparator = "," }
        escapesUnicode = arguments.flag(0, "ensure_ascii") ?? false
        sortsKeys = arguments.flag(3, "sort_keys") ?? false
        if case .list(let separators)? = arguments.value(2, "separators"), separators.items.count == 2,
            case .string(let item) = separators.items[0], case .string(let key) = separators.items[1]
        {
            (itemSeparator, keySeparator) = (item.string, key.string)
        }
    }
}

extension Interpreter {
    /// Python's `str`: what `{{ }}` prints.
    func text(of value: Value) throws(TemplateError) -> Text {
        switch value {
        case .string(let text): return text
        case .undefined: return Text("")
        default: return try representation(of: value)
        }
    }

    /// Python's `repr`.
    func representation(of value: Value) throws(TemplateError) -> Text {
        try charge()
        var result = Text("")
        switch value {
        case .undefined: return Text("Undefined")
        case .none: return Text("None")
        case .bool(let bool): return Text(bool ? "True" : "False")
        case .integer(let integer): return Text(String(integer))
        case .float(let float): return Text(float.description)
        case .string(let text):
            try charge(size: text.count + 2)
            return Text(Self.quoted(text.string), isForeign: text.isForeign)
        case .list(let list):
            result.append(list.isTuple ? "(" : "[")
            for (index, item) in list.items.enumerated() {
                if index > 0 { result.append(", ") }
                result.append(try representation(of: item))
            }
            result.append(list.isTuple ? list.items.count == 1 ? ",)" : ")" : "]")
        case .map(let map):
            result.append("{")
            for (index, entry) in map.entries.enumerated() {
                if index > 0 { result.append(", ") }
                result.append(try representation(of: entry.key))
                result.append(": ")
                result.append(try representation(of: entry.value))
            }
            result.append("}")
        case .namespace(let namespace):
            result.append("<Namespace \(namespace.values.keys.sorted())>")
        case .function, .loop: result.append("<\(value.typeName)>")
        }
        try charge(size: result.count)
        return result
    }

    private static func quoted(_ text: String) -> String {
        let quote = text.contains("'") && !text.contains("\"") ? "\"" : "'"
        var result = quote
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\\": result += "\\\\"
            case "'" where quote == "'": result += "\\'"
            case _ where scalar.value < 0x20 || (0x7F...0xA0).contains(scalar.value) || scalar.value == 0xAD:
                result += "\\x" + hex(scalar.value, 2)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + quote
    }

    private static func hex(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    // MARK: JSON

    /// Python's `json.dumps`.
    func json(of value: Value, _ style: JSONStyle) throws(TemplateError) -> Text {
        var result = Text("")
        try write(value, style, depth: 0, to: &result)
        return result
    }

    private func write(
        _ value: Value, _ style: JSONStyle, depth: Int, to result: inout Text
    ) throws(TemplateError) {
        try charge()
        switch value {
        case .none: result.append("null")
        case .bool(let bool): result.append(bool ? "true" : "false")
        case .integer(let integer): result.append(String(integer))
        case .float(let float): result.append(Self.json(float))
        case .string(let text):
            try charge(size: text.count + 2)
            result.append(text.mapped { Self.json($0, style.escapesUnicode) })
        case .list(let list):
            try writeAll(list.items.count, "[", "]", style, depth, &result) { index, result throws(TemplateError) in
                try write(list.items[index], style, depth: depth + 1, to: &result)
            }
        case .map(let map):
            var entries = map.entries
            if style.sortsKeys { entries.sort { $0.key.keyName < $1.key.keyName } }
            try writeAll(entries.count, "{", "}", style, depth, &result) { index, result throws(TemplateError) in
                var key = Text("")
                if case .string = entries[index].key {
                    key = try json(of: entries[index].key, style)
                } else {
                    key = try json(of: entries[index].key, style).mapped { "\"\($0)\"" }
                }
                try charge(size: key.count)
                result.append(key)
                result.append(style.keySeparator)
                try write(entries[index].value, style, depth: depth + 1, to: &result)
            }
        default:
            throw TemplateError(.evaluation, "Object of type \(value.typeName) is not JSON serializable")
        }
    }

    private func writeAll(
        _ count: Int, _ open: String, _ close: String, _ style: JSONStyle, _ depth: Int, _ result: inout Text,
        _ body: (Int, inout Text) throws(TemplateError) -> Void
    ) throws(TemplateError) {
        result.append(open)
        for index in 0..<count {
            if index > 0 { result.append(style.itemSeparator) }
            if let indentation = style.indentation {
                try charge(size: indentation.utf8.count * (depth + 1))
                result.append("\n" + String(repeating: indentation, count: depth + 1))
            }
            try body(index, &result)
        }
        if count > 0, let indentation = style.indentation {
            result.append("\n" + String(repeating: indentation, count: depth))
        }
        result.append(close)
    }

    private static func json(_ float: Double) -> String {
        if float.isNaN { return "NaN" }
        if float.isInfinite { return float < 0 ? "-Infinity" : "Infinity" }
        return float.description
    }

    private static func json(_ text: String, _ escapesUnicode: Bool) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case "\u{8}": result += "\\b"
            case "\u{C}": result += "\\f"
            case _ where scalar.value < 0x20: result += "\\u" + hex(scalar.value, 4)
            case _ where escapesUnicode && scalar.value > 0x7E:
                for unit in String(Character(scalar)).utf16 { result += "\\u" + hex(UInt32(unit), 4) }
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
