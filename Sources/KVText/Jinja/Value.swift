/// A name, told apart from others by code points: Swift's own strings are equal where they only look the same.
typealias Name = [UInt32]

/// What a template computes with: Python's values, none of which a template can change but namespaces and iterators.
enum Value {
    /// A name or attribute that is not there, with the words for it.
    case undefined(String)
    case none
    case bool(Bool)
    case integer(Integer)
    case float(Double)
    case string(Text)
    case list(List)
    case map(Map)
    case namespace(Namespace)
    case function(Function)
    /// A loop's `loop`.
    case loop(Loop)
    case iterator(Iterator)

    static func text(_ string: String) -> Value { .string(Text(string)) }
    static func number(_ integer: Int) -> Value { .integer(Integer(integer)) }

    /// A list, a tuple, or another sequence that Python tells apart.
    struct List {
        enum Kind: Equatable {
            case list, tuple
            /// Of `groupby`: a tuple whose parts are also `grouper` and `list`.
            case group
            case keys, values, items
            case range(start: Int, end: Int, step: Int)
        }

        let items: [Value]
        let kind: Kind
        /// Containers within one another, 1 for a list of plain values.
        let depth: Int
        /// See `Value.weight`.
        let weight: Int

        var isTuple: Bool { kind == .tuple || kind == .group }
        /// Whether it has items by number.
        var isSequence: Bool {
            switch kind {
            case .keys, .values, .items: false
            default: true
            }
        }
        var isRange: Bool { if case .range = kind { true } else { false } }
    }

    /// A dictionary in the order of its making.
    final class Map {
        let entries: [(key: Value, value: Value)]
        private let index: [Key: Int]
        let depth: Int
        let weight: Int

        subscript(name: String) -> Value? { self[Key.string(name.unicodeScalars.map(\.value))] }
        subscript(key: Key) -> Value? { index[key].map { entries[$0].value } }

        fileprivate init(_ entries: [(key: Value, value: Value)], depth: Int, weight: Int) throws(TemplateError) {
            var kept: [(key: Value, value: Value)] = []
            var index: [Key: Int] = [:]
            kept.reserveCapacity(entries.count)
            for entry in entries {
                let key = try entry.key.key()
                if let at = index[key] {
                    kept[at].value = entry.value
                } else {
                    index[key] = kept.count
                    kept.append(entry)
                }
            }
            self.entries = kept
            self.index = index
            self.depth = depth
            self.weight = weight
        }
    }

    /// The one thing that a template can assign to from an inner scope.
    final class Namespace {
        private(set) var names: [Name] = []
        private(set) var values: [Name: Value] = [:]

        func set(_ name: Name, _ value: Value) {
            if values.updateValue(value, forKey: name) == nil { names.append(name) }
        }

        func removeAll() {
            names = []
            values = [:]
        }
    }

    enum Function {
        case macro(Macro)
        /// One of the interpreter's own.
        case global(String)
        /// A method that is named but not called.
        indirect case method(String, of: Value)
        case cycler(Cycler)
        case joiner(Joiner)
        /// What Python's sandbox keeps from templates.
        case unsafe(String)
    }

    final class Cycler {
        let items: [Value]
        var position = 0
        init(_ items: [Value]) { self.items = items }
    }

    final class Joiner {
        let separator: Value
        var isUsed = false
        init(_ separator: Value) { self.separator = separator }
    }

    /// A macro and the names it sees.
    struct Macro {
        let definition: Statement.Macro
        let scope: Interpreter.Scope
    }

    /// What `map`, `select` and others give: values made one after another, once.
    final class Iterator {
        let name: String
        let depth: Int
        private var body: ((Interpreter) throws(TemplateError) -> Value?)?

        init(_ name: String, depth: Int, _ body: @escaping (Interpreter) throws(TemplateError) -> Value?) {
            self.name = name
            self.depth = depth
            self.body = body
        }

        func next(_ interpreter: Interpreter) throws(TemplateError) -> Value? {
            guard let body else { return nil }
            do throws(TemplateError) {
                if let value = try body(interpreter) { return value }
                self.body = nil
                return nil
            } catch {
                self.body = nil
                throw error
            }
        }
    }

    /// Where a loop is. Its items are taken one after another, as its body may change what the next one is.
    final class Loop {
        typealias Source = (Interpreter) throws(TemplateError) -> Value?

        /// The items taken until now.
        private(set) var items: [Value] = []
        let depth: Int
        let definition: Statement.Loop
        var index = -1
        /// What `loop.changed` was last asked about.
        var seen: [Value]?
        private var source: Source?

        init(depth: Int, definition: Statement.Loop, _ source: @escaping Source) {
            self.depth = depth
            self.definition = definition
            self.source = source
        }

        /// Whether there is an item at a place, once all before it are taken.
        func has(_ place: Int, _ interpreter: Interpreter) throws(TemplateError) -> Bool {
            while items.count <= place {
                guard let item = try source?(interpreter) else {
                    source = nil
                    return false
                }
                try interpreter.charge(size: 8)
                items.append(item)
            }
            return true
        }

        func count(_ interpreter: Interpreter) throws(TemplateError) -> Int {
            _ = try has(.max, interpreter)
            return items.count
        }
    }

    static let maximumDepth = 64

    static func list(_ items: [Value], _ kind: List.Kind = .list) throws(TemplateError) -> Value {
        .list(List(items: items, kind: kind, depth: try depth(of: items), weight: weight(of: items)))
    }

    static func map(_ entries: [(key: Value, value: Value)]) throws(TemplateError) -> Value {
        let values = entries.map(\.value)
        let depth = max(try depth(of: values), try depth(of: entries.map(\.key)))
        return .map(try Map(entries, depth: depth, weight: weight(of: values)))
    }

    /// Containers nest only so deep that whoever walks them, or frees them, has the stack for it.
    static func depth(of items: [Value]) throws(TemplateError) -> Int {
        var depth = 1
        for item in items { depth = max(depth, 1 + item.containerDepth) }
        guard depth <= maximumDepth else {
            throw TemplateError(.depth, "lists and dictionaries nest more than \(maximumDepth) deep")
        }
        return depth
    }

    /// Namespaces, which change, count as plain: who walks into them counts on its own, and they are freed one by one.
    var containerDepth: Int {
        switch self {
        case .list(let list): list.depth
        case .map(let map): map.depth
        case .iterator(let iterator): iterator.depth
        case .function(.method(_, let value)): 1 + value.containerDepth
        case .function(.joiner(let joiner)): 1 + joiner.separator.containerDepth
        case .function(.cycler(let cycler)): cycler.items.reduce(1) { max($0, 1 + $1.containerDepth) }
        // What a loop has yet to take is not known.
        case .loop: Self.maximumDepth - 1
        default: 0
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var isNone: Bool { if case .none = self { true } else { false } }

    /// Python's name of the type, as its messages have it.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .integer: "int"
        case .float: "float"
        case .string(let text): text.isSafe ? "Markup" : "str"
        case .list(let list):
            switch list.kind {
            case .list: "list"
            case .tuple: "tuple"
            case .group: "_GroupTuple"
            case .keys: "dict_keys"
            case .values: "dict_values"
            case .items: "dict_items"
            case .range: "range"
            }
        case .map: "dict"
        case .namespace: "TemplateNamespace"
        case .function(.macro): "Macro"
        case .function(.cycler): "Cycler"
        case .function(.joiner): "Joiner"
        case .function: "function"
        case .loop: "LoopContext"
        case .iterator: "generator"
        }
    }

    var number: Double? {
        switch self {
        case .bool(let bool): bool ? 1 : 0
        case .integer(let integer): integer.double
        case .float(let float): float
        default: nil
        }
    }

    var integer: Integer? {
        switch self {
        case .bool(let bool): Integer(bool ? 1 : 0)
        case .integer(let integer): integer
        default: nil
        }
    }

    /// Python's truth of a value.
    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let bool): bool
        case .integer(let integer): !integer.isZero
        case .float(let float): float != 0
        case .string(let text): !text.isEmpty
        case .list(let list): !list.items.isEmpty
        case .map(let map): !map.entries.isEmpty
        case .namespace, .loop, .function, .iterator: true
        }
    }

    /// What an operation that walks the whole value costs, in steps. Containers know theirs from their making: a value that
    /// holds another twice, which holds another twice, and so on, is small in memory and endless to walk.
    var weight: Int {
        switch self {
        case .string(let text): text.count >> 6
        case .integer(let integer): integer.weight
        case .list(let list): list.weight
        case .map(let map): map.weight
        default: 0
        }
    }

    private static func weight(of items: [Value]) -> Int {
        items.reduce(0) { min($0 + 1 + $1.weight, 1 << 40) }
    }
}
