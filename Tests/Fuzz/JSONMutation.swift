/// Changes one field of a document: an extreme value, another type, missing, doubled, renamed, nested deep, or one that other documents have.
struct JSONMutation {
    /// Fields seen in the corpus, to be put where they are missing.
    private var known: [JSONDocument.Member] = []

    init(learning documents: [JSONDocument] = []) {
        for document in documents { learn(document, depth: 0) }
    }

    private mutating func learn(_ document: JSONDocument, depth: Int) {
        guard depth < 4 else { return }
        switch document {
        case .object(let members):
            for member in members.prefix(200) where !known.contains(where: { $0.key == member.key }) {
                if known.count < 400 { known.append(member) }
            }
            for member in members.prefix(40) { learn(member.value, depth: depth + 1) }
        case .array(let items): for item in items.prefix(8) { learn(item, depth: depth + 1) }
        default: break
        }
    }

    /// A path drawn from the root: small objects near it are met more often than a vocabulary's members.
    func apply(to document: inout JSONDocument, _ random: inout RandomSource, depth: Int = 0) {
        switch document {
        case .object(var members):
            guard !members.isEmpty, !random.oneIn(depth == 0 ? 40 : 6) else { break }
            let index = random.below(members.count)
            switch random.below(16) {
            case 0: members.remove(at: index)
            case 1:
                var double = members[index]
                apply(to: &double.value, &random, depth: depth + 1)
                members.insert(double, at: random.below(members.count + 1))
            case 2: members[index].key = random.oneIn(2) || known.isEmpty ? ExtremeValues.text(&random) : random.pick(known).key
            case 3:
                if !known.isEmpty {
                    var member = random.pick(known)
                    if random.oneIn(2) { apply(to: &member.value, &random, depth: depth + 1) }
                    members.removeAll { $0.key == member.key }
                    members.append(member)
                }
            case 4:
                let other = random.below(members.count)
                let value = members[index].value
                members[index].value = members[other].value
                members[other].value = value
            default: apply(to: &members[index].value, &random, depth: depth + 1)
            }
            document = .object(members)
            return
        case .array(var items):
            guard !items.isEmpty, !random.oneIn(depth == 0 ? 40 : 6) else { break }
            let index = random.below(items.count)
            switch random.below(10) {
            case 0: items.remove(at: index)
            case 1: items.insert(items[index], at: random.below(items.count + 1))
            case 2: items.swapAt(index, random.below(items.count))
            case 3: items.removeAll()
            case 4: items.insert(replacement(for: items[index], &random), at: index)
            default: apply(to: &items[index], &random, depth: depth + 1)
            }
            document = .array(items)
            return
        default: break
        }
        document = replacement(for: document, &random)
    }

    private func replacement(for document: JSONDocument, _ random: inout RandomSource) -> JSONDocument {
        // Half of the time of the same type.
        if random.oneIn(2) {
            switch document {
            case .number: return .number(ExtremeValues.number(&random))
            case .string: return .string(ExtremeValues.text(&random))
            case .bool(let value): return .bool(!value)
            default: break
            }
        }
        switch random.below(14) {
        case 0: return .null
        case 1: return .bool(random.oneIn(2))
        case 2, 3, 4: return .number(ExtremeValues.number(&random))
        case 5, 6: return .string(ExtremeValues.text(&random))
        case 7: return .array([])
        case 8: return .object([])
        case 9: return .array([document, document])
        case 10: return .object([JSONDocument.Member(key: ExtremeValues.text(&random), value: document)])
        case 11: return Self.nested(random.oneIn(2), depth: 1 << (2 + random.below(15)))
        case 12: return .array(Array(repeating: .number(ExtremeValues.number(&random)), count: 1 << random.below(13)))
        default:
            return .object(
                (0..<(1 << random.below(12))).map { JSONDocument.Member(key: Array("k\($0)".utf8), value: .number("\($0)")) })
        }
    }

    private static func nested(_ arrays: Bool, depth: Int) -> JSONDocument {
        let (open, close) = arrays ? ("[", "]") : ("{\"a\":", "}")
        return .raw(Array((String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)).utf8))
    }
}
