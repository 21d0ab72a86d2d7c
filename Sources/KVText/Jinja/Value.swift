/// What a template computes with: Python's values, none of which a template can change but namespaces.
enum Value {
    /// A name or attribute that is not there, with the words for it.
    case undefined(String)
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case string(Text)
    case list(List)
    case map(Map)
    case namespace(Namespace)
    case function(Function)
    /// A loop's `loop`.
    case loop(Loop)

    static func text(_ string: String) -> Value { .string(Text(string)) }

    /// A list or tuple.
    struct List {
        let items: [Value]
        var isTuple = false
        /// Containers within one another, 1 for a list of plain values.
        let depth: Int
        /// See `Value.weight`.
        let weight: Int
    }

    /// A dictionary in the order of its making.
    final class Map {
        let entries: [(key: Value, value: Value)]
        private let index: [String: Int]
        let depth: Int
        let weight: Int

        subscript(key: String) -> Value? { index[key].map { entries[$0].value } }

        fileprivate init(_ entries: [(key: Value, value: Value)], depth: Int, weight: Int) {
            var kept: [(key: Value, value: Value)] = []
            var index: [String: Int] = [:]
            kept.reserveCapacity(entries.count)
            for entry in entries {
                let name = entry.key.keyName
                if let at = index[name] {
                    kept[at].value = entry.value
                } else {
                    index[name] = kept.count
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
        var values: [String: Value] = [:]
    }

    enum Function {
        case macro(Macro)
        /// One of the interpreter's own.
        case global(String)
        /// A method that is named but not called.
        case method(String)
    }

    /// A macro and the names it sees.
    struct Macro {
        let definition: Statement.Macro
        let scope: Interpreter.Scope
    }

    /// Where a loop is.
    final class Loop {
        let items: [Value]
        let depth: Int
        let definition: Statement.Loop
        var index = 0
        /// What `loop.changed` was last asked about.
        var seen: [Value]?

        init(items: [Value], depth: Int, definition: Statement.Loop) {
            self.items = items
            self.depth = depth
            self.definition = definition
        }
    }

    static let maximumDepth = 64

    static func list(_ items: [Value], isTuple: Bool = false) throws(TemplateError) -> Value {
        .list(List(items: items, isTuple: isTuple, depth: try depth(of: items), weight: weight(of: items)))
    }

    static func map(_ entries: [(key: Value, value: Value)]) throws(TemplateError) -> Value {
        for entry in entries {
            switch entry.key {
            case .string, .integer, .float, .bool, .none: continue
            default: throw TemplateError(.evaluation, "unhashable type: '\(entry.key.typeName)'")
            }
        }
        let values = entries.map(\.value)
        return .map(Map(entries, depth: try depth(of: values), weight: weight(of: values)))
    }

    /// Containers nest only so deep that whoever walks them, or frees them, has the stack for it.
    private static func depth(of items: [Value]) throws(TemplateError) -> Int {
        var depth = 1
        for item in items { depth = max(depth, 1 + item.containerDepth) }
        guard depth <= maximumDepth else {
            throw TemplateError(.depth, "lists and dictionaries nest more than \(maximumDepth) deep")
        }
        return depth
    }

    private var containerDepth: Int {
        switch self {
        case .list(let list): list.depth
        case .map(let map): map.depth
        // Namespaces change, so that what they hold could not be bounded: nothing may hold them.
        case .namespace, .loop, .function: Self.maximumDepth
        default: 0
        }
    }

    /// Whether this is no plain value, so that no namespace may hold it.
    var isReference: Bool {
        switch self {
        case .namespace, .loop, .function: true
        default: false
        }
    }
    var isUndefined: Bool { if case .undefined = self { true } else { false } }

    /// Python's name of the type, as its messages have it.
    var typeName: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "NoneType"
        case .bool: "bool"
        case .integer: "int"
        case .float: "float"
        case .string: "str"
        case .list(let list): list.isTuple ? "tuple" : "list"
        case .map: "dict"
        case .namespace: "Namespace"
        case .function: "function"
        case .loop: "LoopContext"
        }
    }

    /// The key as it identifies an entry: 1, 1.0 and true are one key, "1" is another.
    var keyName: String {
        switch self {
        case .string(let text): text.string
        case .none: "\u{0}n"
        default:
            if let number { "\u{0}\(number)" } else { "\u{0}?" }
        }
    }

    var number: Double? {
        switch self {
        case .bool(let bool): bool ? 1 : 0
        case .integer(let integer): Double(integer)
        case .float(let float): float
        default: nil
        }
    }

    var integer: Int? {
        switch self {
        case .bool(let bool): bool ? 1 : 0
        case .integer(let integer): integer
        default: nil
        }
    }

    /// Python's truth of a value.
    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let bool): bool
        case .integer(let integer): integer != 0
        case .float(let float): float != 0
        case .string(let text): !text.string.isEmpty
        case .list(let list): !list.items.isEmpty
        case .map(let map): !map.entries.isEmpty
        case .namespace, .function, .loop: true
        }
    }
}

// MARK: Comparison

extension Value {
    /// Python's `==`. Bounded by the depth of containers.
    func equals(_ other: Value) -> Bool {
        if let left = integer, let right = other.integer { return left == right }
        if let left = number, let right = other.number { return left == right }
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.string(let left), .string(let right)):
            // By scalars: Swift's own == also takes different ways to write a character for the same.
            return left.string.utf8.elementsEqual(right.string.utf8)
        case (.list(let left), .list(let right)):
            return left.isTuple == right.isTuple && left.items.count == right.items.count
                && zip(left.items, right.items).allSatisfy { $0.equals($1) }
        case (.map(let left), .map(let right)):
            return left.entries.count == right.entries.count
                && left.entries.allSatisfy { entry in right[entry.key.keyName].map { entry.value.equals($0) } ?? false }
        case (.namespace(let left), .namespace(let right)): return left === right
        default: return false
        }
    }

    /// Python's `<`.
    func isLess(than other: Value) throws(TemplateError) -> Bool {
        if let left = integer, let right = other.integer { return left < right }
        if let left = number, let right = other.number { return left < right }
        switch (self, other) {
        case (.string(let left), .string(let right)):
            return left.string.unicodeScalars.lexicographicallyPrecedes(right.string.unicodeScalars)
        case (.list(let left), .list(let right)):
            for (one, two) in zip(left.items, right.items) where !one.equals(two) { return try one.isLess(than: two) }
            return left.items.count < right.items.count
        default:
            throw TemplateError(
                .evaluation, "'<' not supported between instances of '\(typeName)' and '\(other.typeName)'")
        }
    }

    /// Python's `<=`.
    func isAtMost(_ other: Value) throws(TemplateError) -> Bool {
        if try isLess(than: other) { return true }
        return equals(other)
    }

    /// What an operation that walks the whole value costs, in steps. Containers know theirs from their making: a value that
    /// holds another twice, which holds another twice, and so on, is small in memory and endless to walk.
    var weight: Int {
        switch self {
        case .string(let text): text.count >> 6
        case .list(let list): list.weight
        case .map(let map): map.weight
        default: 0
        }
    }

    private static func weight(of items: [Value]) -> Int {
        items.reduce(0) { min($0 + 1 + $1.weight, 1 << 40) }
    }
}
