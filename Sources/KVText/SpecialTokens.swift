/// Tokens that are found in text as they are written, before any rule applies: of those that begin leftmost the longest.
///
/// Tokens that are no valid UTF-8 are never found: they would leave half a character on either side.
struct SpecialTokens: Sendable {
    struct Match: Sendable {
        let id: Int32
        let start: Int
        let length: Int
    }

    private let automaton: TokenAutomaton
    /// Tokens that are found only where the caller asks for control tokens.
    private let guarded: Set<Int32>

    /// Control, unknown and user-defined tokens of a vocabulary.
    init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        var entries: [(bytes: ArraySlice<UInt8>, id: Int32, isGuarded: Bool)] = []
        for id in 0..<vocabulary.count {
            let type = vocabulary.types[id]
            guard type == .userDefined || type.isSpecial else { continue }
            entries.append((vocabulary.tokens[id], Int32(truncatingIfNeeded: id), type.isSpecial))
        }
        try self.init(entries, field: "tokenizer.ggml.tokens")
    }

    init(_ entries: [(bytes: ArraySlice<UInt8>, id: Int32, isGuarded: Bool)], field: String) throws(TokenizerError) {
        let valid = entries.filter { entry in
            entry.bytes.withUnsafeBufferPointer { !$0.isEmpty && UTF8Repair.isValid($0) }
        }
        automaton = try TokenAutomaton(valid.map { ($0.bytes, $0.id) }, reversed: true, field: field)
        guarded = Set(valid.filter(\.isGuarded).map(\.id))
    }

    var isEmpty: Bool { automaton.isEmpty }

    /// Appends the longest token at every place of `range`, the last place first; tokens end within `range`.
    ///
    /// Read from behind, so that the longest token is known where it begins: linear, whatever the tokens.
    /// - Parameter control: whether control and unknown tokens count.
    func find(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, control: Bool, into matches: inout [Match]
    ) {
        guard !automaton.isEmpty else { return }
        var node = 0
        for at in range.reversed() {
            node = automaton.next(node, text[at])
            guard node != 0 else { continue }
            var found = automaton.longest(node)
            while let token = found, !control, guarded.contains(token.id) { found = automaton.after(token.node) }
            if let found { matches.append(Match(id: found.id, start: at, length: found.length)) }
        }
    }
}
