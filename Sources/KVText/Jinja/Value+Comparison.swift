/// What identifies an entry of a dictionary: 1, 1.0 and true are one key, "1" is another, and texts are told apart by code
/// points.
indirect enum Key: Hashable {
    case undefined, none
    case integer(Integer)
    /// The bits of a number that is not whole.
    case float(UInt64)
    case string([UInt32])
    case tuple([Key])
    case range([Key])
    case object(ObjectIdentifier)
    case name(String)
}

extension Value {
    /// - Throws: of reason evaluation where the value is none that Python can hash.
    func key() throws(TemplateError) -> Key {
        switch self {
        case .undefined: return .undefined
        case .none: return .none
        case .bool(let bool): return .integer(Integer(bool ? 1 : 0))
        case .integer(let integer): return .integer(integer)
        case .float(let float):
            if let whole = Integer(truncating: float), whole.compared(to: float) == 0 { return .integer(whole) }
            return .float(float.bitPattern)
        case .string(let text): return .string(text.points)
        case .list(let list) where list.isTuple || list.isRange:
            var keys: [Key] = []
            for item in list.items { keys.append(try item.key()) }
            return list.isTuple ? .tuple(keys) : .range(keys)
        case .list(let list) where list.kind == .values: throw TemplateError(.evaluation, "dict_values as a key are not supported")
        case .list, .map: throw TemplateError(.evaluation, "unhashable type: '\(typeName)'")
        case .namespace(let namespace): return .object(ObjectIdentifier(namespace))
        case .loop(let loop): return .object(ObjectIdentifier(loop))
        case .iterator(let iterator): return .object(ObjectIdentifier(iterator))
        case .function(let function):
            switch function {
            case .macro(let macro): return .object(ObjectIdentifier(macro.scope))
            case .global(let name): return .name(name)
            case .cycler(let cycler): return .object(ObjectIdentifier(cycler))
            case .joiner(let joiner): return .object(ObjectIdentifier(joiner))
            case .method, .unsafe: throw TemplateError(.evaluation, "a method cannot be a key here")
            }
        }
    }

    /// Python's `==`. Bounded by the depth of containers.
    func equals(_ other: Value) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.string(let left), .string(let right)): return left.points == right.points
        case (.list(let left), .list(let right)):
            guard left.isTuple == right.isTuple, left.isRange == right.isRange else { return false }
            switch (left.kind, right.kind) {
            case (.keys, .keys), (.items, .items), (.keys, .items), (.items, .keys):
                return left.items.count == right.items.count
                    && left.items.allSatisfy { item in right.items.contains { item.equals($0) } }
            case (.values, _), (_, .values), (.keys, _), (_, .keys), (.items, _), (_, .items): return false
            default: break
            }
            return left.items.count == right.items.count
                && zip(left.items, right.items).allSatisfy { $0.equals($1) }
        case (.map(let left), .map(let right)):
            guard left.entries.count == right.entries.count else { return false }
            return left.entries.allSatisfy { entry in
                (try? entry.key.key()).flatMap { right[$0] }.map { entry.value.equals($0) } ?? false
            }
        case (.namespace, _), (.loop, _), (.iterator, _), (.function, _):
            guard let left = try? key(), let right = try? other.key() else { return false }
            return left == right
        default: return compared(to: other) == 0
        }
    }

    /// Below 0, 0 or above 0 for two numbers; nil where they have no order or are none.
    private func compared(to other: Value) -> Int? {
        if let left = integer {
            if let right = other.integer { return left == right ? 0 : left < right ? -1 : 1 }
            if case .float(let right) = other { return left.compared(to: right) }
            return nil
        }
        guard case .float(let left) = self else { return nil }
        if let right = other.integer { return right.compared(to: left).map { -$0 } }
        guard case .float(let right) = other else { return nil }
        return left == right ? 0 : left < right ? -1 : left > right ? 1 : nil
    }

    private var isNumber: Bool {
        switch self {
        case .bool, .integer, .float: true
        default: false
        }
    }

    /// Python's `<`, or `<=`.
    func isLess(than other: Value, orEqual: Bool = false) throws(TemplateError) -> Bool {
        if isNumber, other.isNumber { return compared(to: other).map { $0 < 0 || orEqual && $0 == 0 } ?? false }
        switch (self, other) {
        case (.undefined(let words), _), (_, .undefined(let words)): throw TemplateError(.evaluation, words)
        case (.string(let left), .string(let right)):
            if orEqual, left.points == right.points { return true }
            return left.points.lexicographicallyPrecedes(right.points)
        case (.list(let left), .list(let right))
        where left.isTuple && right.isTuple || left.kind == .list && right.kind == .list:
            for (one, two) in zip(left.items, right.items) where !one.equals(two) {
                return try one.isLess(than: two, orEqual: orEqual)
            }
            return left.items.count < right.items.count || orEqual && left.items.count == right.items.count
        case (.list(let left), .list(let right))
        where [.keys, .items].contains(left.kind) && [.keys, .items].contains(right.kind):
            guard left.items.count < right.items.count || orEqual && left.items.count == right.items.count else { return false }
            return left.items.allSatisfy { item in right.items.contains { item.equals($0) } }
        default:
            throw TemplateError(
                .evaluation,
                "'<\(orEqual ? "=" : "")' not supported between instances of '\(typeName)' and '\(other.typeName)'")
        }
    }
}
