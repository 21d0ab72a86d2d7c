/// Filters that sort, group and cut sequences.
extension Interpreter {
    func ordered(_ name: String, _ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        switch name {
        case "sort":
            let paths = Self.paths(arguments[3])
            var keyed: [(key: Value, item: Value)] = []
            for item in try items(of: value) {
                var keys: [Value] = []
                for path in paths { keys.append(try orderKey(path, nil, item, isCased: arguments.flag(2))) }
                keyed.append((try .list(keys), item))
            }
            return try .list(try sorted(keyed, isReversed: arguments.flag(1)).map(\.item))
        case "dictsort": return try sortedPairs(value, arguments)
        case "unique":
            let source = try makeSource(value)
            var seen = Set<Key>()
            let depth = try Value.depth(of: [value])
            let (isCased, path) = (arguments.flag(1), arguments[2])
            return .iterator(
                Value.Iterator("unique", depth: depth) { interpreter throws(TemplateError) in
                    while let item = try source(interpreter) {
                        let key = try interpreter.orderKey(path, nil, item, isCased: isCased)
                        if seen.insert(try key.key()).inserted { return item }
                    }
                    return nil
                })
        case "groupby": return try grouped(value, arguments)
        default:
            var best: (key: Value, item: Value)?
            for item in try items(of: value) {
                let key = try orderKey(arguments[2], nil, item, isCased: arguments.flag(1))
                if let one = best {
                    try charge(comparing: key, one.key)
                    guard try name == "min" ? key.isLess(than: one.key) : one.key.isLess(than: key) else { continue }
                }
                best = (key, item)
            }
            return best?.item ?? .undefined("No aggregated item, sequence was empty.")
        }
    }

    /// What an item is sorted by: what a path names in it, texts in lower case unless `isCased`.
    private func orderKey(
        _ path: Value?, _ fallback: Value?, _ item: Value, isCased: Bool
    ) throws(TemplateError) -> Value {
        try charge(4)
        var key = item
        if let path { key = try self.path(path, of: item, fallback: fallback) }
        if !isCased, case .string(let text) = key {
            try charge(text.count >> 3)
            key = .string(text.lowercased)
        }
        try charge(key.weight)
        return key
    }

    private static func paths(_ value: Value?) -> [Value?] {
        guard case .string(let text)? = value else { return [value] }
        var paths: [Value?] = []
        var start = 0
        for at in text.offsets(of: Text(",")) + [text.count] {
            paths.append(.string(text[start..<at]))
            start = at + 1
        }
        return paths
    }

    private func sortedPairs(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        var byValue = false
        switch arguments[2] {
        case nil: break
        case .string(let text)? where text.equals("key"): break
        case .string(let text)? where text.equals("value"): byValue = true
        default: throw TemplateError(.evaluation, "You can only sort by either \"key\" or \"value\"")
        }
        guard case .map(let map) = value else {
            if case .undefined(let words) = value { throw TemplateError(.evaluation, words) }
            throw TemplateError(.evaluation, "'\(value.typeName)' object has no attribute 'items'")
        }
        var keyed: [(key: Value, item: Value)] = []
        for entry in map.entries {
            let key = try orderKey(nil, nil, byValue ? entry.value : entry.key, isCased: arguments.flag(1))
            keyed.append((key, try .list([entry.key, entry.value], .tuple)))
        }
        return try .list(try sorted(keyed, isReversed: arguments.flag(3)).map(\.item))
    }

    private func grouped(_ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        let (path, isCased) = (arguments[1], arguments.flag(3))
        let fallback = arguments[2].flatMap { $0.isNone ? nil : $0 }
        var keyed: [(key: Value, item: Value)] = []
        for item in try items(of: value) { keyed.append((try orderKey(path, fallback, item, isCased: isCased), item)) }
        var groups: [(key: Value, items: [Value])] = []
        for (key, item) in try sorted(keyed, isReversed: false) {
            if let last = groups.last {
                try charge(comparing: last.key, key)
                if last.key.equals(key) {
                    groups[groups.count - 1].items.append(item)
                    continue
                }
            }
            groups.append((key, [item]))
        }
        var pairs: [Value] = []
        for group in groups {
            // The first item's own key, not the one in lower case.
            let key =
                isCased
                ? group.key
                : try path.map { path throws(TemplateError) in
                    try self.path(path, of: group.items[0], fallback: fallback)
                } ?? group.key
            pairs.append(try .list([key, try .list(group.items)], .group))
        }
        return try .list(pairs)
    }

    /// A stable merge sort.
    func sorted<Item>(
        _ items: [(key: Value, item: Item)], isReversed: Bool
    ) throws(TemplateError) -> [(key: Value, item: Item)] {
        guard items.count > 1 else { return items }
        try charge(items.count)
        let middle = items.count / 2
        let left = try sorted(Array(items[..<middle]), isReversed: isReversed)
        let right = try sorted(Array(items[middle...]), isReversed: isReversed)
        var merged: [(key: Value, item: Item)] = []
        merged.reserveCapacity(items.count)
        var (i, j) = (0, 0)
        while i < left.count, j < right.count {
            try charge(comparing: left[i].key, right[j].key)
            let takesRight =
                try isReversed ? left[i].key.isLess(than: right[j].key) : right[j].key.isLess(than: left[i].key)
            merged.append(takesRight ? right[j] : left[i])
            if takesRight { j += 1 } else { i += 1 }
        }
        return merged + left[i...] + right[j...]
    }

    // MARK: Parts

    func cut(_ name: String, _ value: Value, _ arguments: BoundArguments) throws(TemplateError) -> Value {
        let asked = arguments[1] ?? .none
        let fill = arguments[2].flatMap { $0.isNone ? nil : $0 }
        let depth = try Value.depth(of: [value, try .list([asked, fill ?? .none])])
        let source = try makeLazySource(value)
        if name == "slice" {
            var parts: [Value]?
            return .iterator(
                Value.Iterator("slice", depth: depth) { interpreter throws(TemplateError) in
                    if parts == nil {
                        var items: [Value] = []
                        while let item = try source(interpreter) { items.append(item) }
                        parts = try interpreter.slices(items, asked, fill)
                    }
                    guard let rest = parts, let last = rest.last else { return nil }
                    parts?.removeLast()
                    return last
                })
        }
        var pending: [Value] = []
        var isDone = false
        return .iterator(
            Value.Iterator("batch", depth: depth) { interpreter throws(TemplateError) in
                while !isDone {
                    guard let item = try source(interpreter) else { break }
                    let batch = pending
                    let isFull = Value.number(batch.count).equals(asked)
                    pending = (isFull ? [] : pending) + [item]
                    try interpreter.charge(size: batch.count)
                    if isFull { return try .list(batch) }
                }
                guard !isDone, !pending.isEmpty else { return nil }
                isDone = true
                if let fill, try Value.number(pending.count).isLess(than: asked) {
                    guard
                        let missing = try asked.integer.map({ count throws(TemplateError) in
                            try count - Integer(pending.count)
                        })
                    else {
                        throw TemplateError(.evaluation, "can't multiply sequence by non-int of type 'float'")
                    }
                    try interpreter.charge(size: missing.clamped)
                    try interpreter.charge(size: missing.clamped)
                    pending += [Value](repeating: fill, count: missing.clamped)
                }
                return try .list(pending)
            })
    }

    /// So many lists of about the same length, the last one first.
    private func slices(_ items: [Value], _ asked: Value, _ fill: Value?) throws(TemplateError) -> [Value] {
        guard let count = asked.integer, !count.isZero else {
            throw TemplateError(.evaluation, "slice needs a number of slices that is an integer and not 0")
        }
        guard !count.isNegative else { return [] }
        try charge(size: count.clamped)
        try charge(count.clamped)
        let slices = count.clamped
        let (length, longer) = items.count.quotientAndRemainder(dividingBy: slices)
        var parts: [Value] = []
        var at = 0
        for slice in 0..<slices {
            let end = at + length + (slice < longer ? 1 : 0)
            var part = Array(items[at..<end])
            if slice >= longer, let fill { part.append(fill) }
            parts.append(try .list(part))
            at = end
        }
        return parts.reversed()
    }
}
