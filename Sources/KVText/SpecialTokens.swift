/// The tokens that are found in text as they are written, before any rule applies: control, unknown and user-defined.
///
/// A trie over bytes whose edges lie in one dictionary; its root is a table, so that ordinary text costs one look-up
/// for a byte.
struct SpecialTokens: Sendable {
    struct Match {
        let id: Int32
        let length: Int
    }

    /// Node after a first byte, `-1` where no token begins with it.
    private var roots = [Int32](repeating: -1, count: 256)
    /// (node, byte) → node.
    private var edges: [Int: Int32] = [:]
    /// Token that ends at each node, `-1` where none does.
    private var tokens: [Int32] = []
    /// Whether that token is found only where the caller asks for control tokens.
    private var guarded: [Bool] = []

    init(_ vocabulary: Vocabulary) {
        for id in 0..<vocabulary.count {
            let type = vocabulary.types[id]
            guard type == .userDefined || type.isSpecial else { continue }
            insert(vocabulary.tokens[id], id: Int32(truncatingIfNeeded: id), guarded: type.isSpecial)
        }
    }

    private mutating func insert(_ text: ArraySlice<UInt8>, id: Int32, guarded isGuarded: Bool) {
        guard let first = text.first else { return }
        var node = roots[Int(first)]
        if node < 0 {
            node = addNode()
            roots[Int(first)] = node
        }
        for byte in text.dropFirst() {
            let edge = Int(node) << 8 | Int(byte)
            if let next = edges[edge] {
                node = next
            } else {
                node = addNode()
                edges[edge] = node
            }
        }
        tokens[Int(node)] = id
        guarded[Int(node)] = isGuarded
    }

    private mutating func addNode() -> Int32 {
        tokens.append(-1)
        guarded.append(false)
        return Int32(truncatingIfNeeded: tokens.count - 1)
    }

    /// Whether any token begins with this byte.
    @inline(__always)
    func begins(with byte: UInt8) -> Bool { roots[Int(byte)] >= 0 }

    /// The longest token that begins at `start` and ends in `text`.
    /// - Parameter control: whether control and unknown tokens count.
    func longest(_ text: UnsafeBufferPointer<UInt8>, at start: Int, control: Bool) -> Match? {
        var node = roots[Int(text[start])]
        var at = start + 1
        var found: Match?
        while node >= 0 {
            let token = tokens[Int(node)]
            if token >= 0, control || !guarded[Int(node)] { found = Match(id: token, length: at - start) }
            guard at < text.count else { break }
            node = edges[Int(node) << 8 | Int(text[at])] ?? -1
            at += 1
        }
        return found
    }
}
