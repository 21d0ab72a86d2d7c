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
    /// - Parameter sortsKeys: whether dictionaries are in the order of their keys, as `pprint` has them.
    func representation(of value: Value, sortsKeys: Bool = false) throws(TemplateError) -> Text {
        try charge()
        var result = Text("")
        switch value {
        case .undefined: return Text("Undefined")
        case .none: return Text("None")
        case .bool(let bool): return Text(bool ? "True" : "False")
        case .integer(let integer):
            try charge(integer.weight * integer.weight >> 4)
            return Text(try integer.decimal())
        case .float(let float): return Text(FloatText.shortest(float))
        case .string(let text):
            try charge(size: text.count + 2)
            result = Self.quoted(text)
            if text.isSafe {
                var marked = Text("Markup(")
                marked.append(result)
                marked.append(")")
                result = marked
            }
        case .list(let list):
            if case .range(let start, let end, let step) = list.kind {
                return Text("range(\(start), \(end)" + (step == 1 ? ")" : ", \(step))"))
            }
            let isView = !list.isSequence
            result.append(isView ? "\(value.typeName)([" : list.isTuple ? "(" : "[")
            for (index, item) in list.items.enumerated() {
                if index > 0 { result.append(", ") }
                result.append(try representation(of: item, sortsKeys: sortsKeys))
            }
            result.append(isView ? "])" : list.isTuple ? list.items.count == 1 ? ",)" : ")" : "]")
        case .map(let map):
            let entries = sortsKeys ? try sorted(map.entries.map { ($0.key, $0) }, isReversed: false).map(\.1) : map.entries
            result.append("{")
            for (index, entry) in entries.enumerated() {
                if index > 0 { result.append(", ") }
                result.append(try representation(of: entry.key, sortsKeys: sortsKeys))
                result.append(": ")
                result.append(try representation(of: entry.value, sortsKeys: sortsKeys))
            }
            result.append("}")
        case .namespace(let namespace): result = try representation(of: namespace)
        case .function(.macro(let macro)):
            let name = macro.definition.name
            result.append("<Macro ")
            result.append(name.isEmpty ? Text("anonymous") : Self.quoted(name))
            result.append(">")
        case .loop(let loop): result.append("<LoopContext \(loop.index + 1)/\(try loop.count(self))>")
        case .function, .iterator: result.append("<\(value.typeName)>")
        }
        try charge(size: result.count)
        return result
    }

    /// A namespace may hold itself: what is being written already is an ellipsis.
    private func representation(of namespace: Value.Namespace) throws(TemplateError) -> Text {
        let id = ObjectIdentifier(namespace)
        guard written.insert(id).inserted else { return Text("<Namespace {...}>") }
        defer { written.remove(id) }
        var result = Text("<Namespace {")
        try nested { () throws(TemplateError) in
            for (index, name) in namespace.names.enumerated() {
                if index > 0 { result.append(", ") }
                // Names may have come from a message's keys.
                result.append(Self.quoted(Text(points: name, isForeign: true)))
                result.append(": ")
                result.append(try representation(of: namespace.values[name] ?? .none))
            }
        }
        result.append("}>")
        return result
    }

    private static func quoted(_ text: Text) -> Text {
        let quote: UInt32 = text.points.contains(0x27) && !text.points.contains(0x22) ? 0x22 : 0x27
        var result = Text(points: [quote])
        result.append(
            text.plain.replacing { index, result in
                let point = text.points[index]
                switch point {
                case 0x0A: result += [0x5C, 0x6E]
                case 0x0D: result += [0x5C, 0x72]
                case 0x09: result += [0x5C, 0x74]
                case 0x5C, quote: result += [0x5C, point]
                case 0x20...0x7E: result.append(point)
                default: if CodePoint.isPrintable(point) { result.append(point) } else { escape(point, into: &result) }
                }
            })
        result.append(Text(points: [quote]))
        return result
    }

    private static func escape(_ point: UInt32, into result: inout [UInt32]) {
        let (mark, width) = point < 0x100 ? ("x", 2) : point < 0x10000 ? ("u", 4) : ("U", 8)
        result += ("\\" + mark + hex(point, width)).unicodeScalars.map(\.value)
    }

    /// Python's `ascii` of a representation.
    static func ascii(_ text: Text) -> Text {
        text.replacing { index, result in
            let point = text.points[index]
            if point < 0x80 { result.append(point) } else { escape(point, into: &result) }
        }
    }

    static func hex(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
