/// Finds every token of a set in a text in one pass (Aho-Corasick): linear in the text and in the number of matches,
/// however long the tokens are and however much they overlap.
///
/// Nodes are prefixes of tokens; node 0 is the empty one. Edges lie in one open-addressed table, those of the root in a
/// table of their own, so that text in which no token begins costs one look-up for a byte.
struct TokenAutomaton: Sendable {
    /// What the tokens' bytes may add up to; some 40 bytes of memory are needed for each.
    static let byteLimit = 8 << 20

    /// Token that ends at each node, `-1` where none does.
    private var tokens: [Int32] = [-1]
    private var lengths: [Int32] = [0]
    /// The longest proper suffix of each node that is a node.
    private var suffixes: [Int32] = [0]
    /// The longest proper suffix of each node at which a token ends, `0` where there is none.
    private var shorter: [Int32] = [0]
    /// Node after each byte from the root, `0` where there is none.
    private var roots = [Int32](repeating: 0, count: 256)
    /// (node, byte) + 1 and the node behind it; 0 where the slot is empty.
    private var edges: [(key: UInt64, node: Int32)] = []
    private var mask = 0

    /// - Parameters:
    ///   - entries: tokens, none of them empty; of two with the same bytes the later counts.
    ///   - reversed: whether tokens and texts are read from behind.
    /// - Throws: where the tokens are more than `byteLimit` bytes.
    init(_ entries: [(bytes: ArraySlice<UInt8>, id: Int32)], reversed: Bool, field: String) throws(TokenizerError) {
        let total = entries.reduce(0) { $0 + $1.bytes.count }
        guard total <= Self.byteLimit else {
            throw TokenizerError(
                .malformed, field: field, value: "\(total) bytes in \(entries.count) tokens",
                expected: "at most \(Self.byteLimit) bytes in all")
        }
        var capacity = 16
        while capacity < total * 2 { capacity *= 2 }
        edges = Array(repeating: (0, 0), count: capacity)
        mask = capacity - 1
        var parents: [Int32] = [0]
        var bytes: [UInt8] = [0]
        for (text, id) in entries where !text.isEmpty {
            var node = 0
            func follow(_ byte: UInt8) {
                let next = child(node, byte)
                if next > 0 {
                    node = Int(next)
                    return
                }
                let new = Int32(truncatingIfNeeded: tokens.count)
                tokens.append(-1)
                lengths.append(lengths[node] + 1)
                parents.append(Int32(truncatingIfNeeded: node))
                bytes.append(byte)
                insert(node, byte, new)
                node = Int(new)
            }
            if reversed { text.reversed().forEach(follow) } else { text.forEach(follow) }
            tokens[node] = id
        }
        link(parents, bytes)
    }

    var isEmpty: Bool { tokens.count == 1 }

    private func slot(_ key: UInt64) -> Int {
        var slot = Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 20) & mask
        while edges[slot].key != 0, edges[slot].key != key { slot = (slot + 1) & mask }
        return slot
    }

    private func child(_ node: Int, _ byte: UInt8) -> Int32 {
        if node == 0 { return roots[Int(byte)] }
        return edges[slot(UInt64(node) << 8 | UInt64(byte) + 1)].node
    }

    private mutating func insert(_ node: Int, _ byte: UInt8, _ next: Int32) {
        if node == 0 {
            roots[Int(byte)] = next
        } else {
            let key = UInt64(node) << 8 | UInt64(byte) + 1
            edges[slot(key)] = (key, next)
        }
    }

    /// Fills `suffixes` and `shorter`, shorter nodes first.
    private mutating func link(_ parents: [Int32], _ bytes: [UInt8]) {
        suffixes = Array(repeating: 0, count: tokens.count)
        shorter = suffixes
        for node in tokens.indices.dropFirst().sorted(by: { lengths[$0] < lengths[$1] }) {
            let parent = Int(parents[node])
            let suffix = parent == 0 ? 0 : next(Int(suffixes[parent]), bytes[node])
            suffixes[node] = Int32(truncatingIfNeeded: suffix)
            shorter[node] = tokens[suffix] >= 0 ? Int32(truncatingIfNeeded: suffix) : shorter[suffix]
        }
    }

    /// The node after one more byte of text.
    @inline(__always)
    func next(_ node: Int, _ byte: UInt8) -> Int {
        var node = node
        while node != 0 {
            let next = child(node, byte)
            if next != 0 { return Int(next) }
            node = Int(suffixes[node])
        }
        return Int(roots[Int(byte)])
    }

    /// The longest token that ends at a node: the node itself or a suffix of it; nil where there is none.
    func longest(_ node: Int) -> (id: Int32, length: Int, node: Int)? {
        if tokens[node] >= 0 { return (tokens[node], Int(lengths[node]), node) }
        return after(node)
    }

    /// The next shorter token that ends at a node.
    func after(_ node: Int) -> (id: Int32, length: Int, node: Int)? {
        let shorter = Int(shorter[node])
        return shorter == 0 ? nil : (tokens[shorter], Int(lengths[shorter]), shorter)
    }
}
