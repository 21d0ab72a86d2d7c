/// The tokens that a tokenizer.json finds in text before its model sees it (`added_tokens`), as the tokenizers library
/// does it: first those that are no part of the normalised text in the text as it is, then the others in the normalised.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: Int32
        let content: [UInt8]
        let isSpecial: Bool
        let isNormalized: Bool
        let isSingleWord: Bool
        let stripsLeft: Bool
        let stripsRight: Bool
    }

    /// A stretch of a text: a token, or what lies between two.
    struct Section: Sendable {
        let range: Range<Int>
        let token: Int32?
    }

    let tokens: [Int32: Token]
    let raw: SpecialTokens
    let normalized: SpecialTokens
    /// Tokens that are left out of text: the library looks whether a special token is written as this one is in
    /// normalised text, so that one which normalisation changes is shown.
    let hidden: Set<Int32>
    /// Whether a token is found in normalised text only where control tokens are asked for.
    let guardsNormalized: Bool

    /// - Parameter written: how each token that is normalised is written there.
    init(_ list: [Token], written: [Int32: [UInt8]]) throws(TokenizerError) {
        var tokens: [Int32: Token] = [:]
        for token in list { tokens[token.id] = token }
        self.tokens = tokens
        // The library's sets have one entry for a token, the last one's.
        let all = tokens.values.sorted { $0.id < $1.id }
        raw = try SpecialTokens(
            all.filter { !$0.isNormalized }.map { ($0.content[...], $0.id, $0.isSpecial) }, field: "added_tokens")
        normalized = try SpecialTokens(
            all.filter(\.isNormalized).map { (written[$0.id, default: $0.content][...], $0.id, $0.isSpecial) },
            field: "added_tokens")
        let special = Set(list.filter(\.isSpecial).map(\.content))
        hidden = Set(all.filter { special.contains(written[$0.id, default: $0.content]) }.map(\.id))
        guardsNormalized = all.contains { $0.isNormalized && $0.isSpecial }
    }

    /// Cuts `range` of a text at the tokens that were found in it.
    /// - Parameter found: what `SpecialTokens.find` found, the last place first.
    func sections(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ found: inout [SpecialTokens.Match]
    ) -> [Section] {
        guard !found.isEmpty else { return [Section(range: range, token: nil)] }
        var sections: [Section] = []
        var plain = range.lowerBound
        var at = range.lowerBound
        while let match = found.popLast() {
            guard match.start >= at, let token = tokens[match.id] else { continue }
            var (start, end) = (match.start, match.start + match.length)
            at = end
            if token.isSingleWord {
                if start > range.lowerBound, CharacterClass.isWord(Self.before(text, start)) { continue }
                if end < range.upperBound, CharacterClass.isWord(Self.at(text, end)) { continue }
            }
            if token.stripsLeft {
                while start > range.lowerBound {
                    let space = Self.before(text, start)
                    guard CharacterClass.isSpace(space) else { break }
                    start -= UTF8.width(space)
                }
                start = max(start, plain)
            }
            if token.stripsRight {
                while end < range.upperBound {
                    let space = Self.at(text, end)
                    guard CharacterClass.isSpace(space) else { break }
                    end += UTF8.width(space)
                }
            }
            if plain < start { sections.append(Section(range: plain..<start, token: nil)) }
            // White space that is a token and taken by the token before is none.
            if start < end { sections.append(Section(range: start..<end, token: token.id)) }
            plain = end
        }
        if plain < range.upperBound { sections.append(Section(range: plain..<range.upperBound, token: nil)) }
        return sections
    }

    private static func at(_ text: UnsafeBufferPointer<UInt8>, _ place: Int) -> Unicode.Scalar {
        let length = min(UTF8Sequence(first: text[place])?.length ?? 1, text.count - place)
        let character = UnsafeBufferPointer(rebasing: text[place..<place + length])
        return String(decoding: character, as: UTF8.self).unicodeScalars.first ?? "\u{FFFD}"
    }

    private static func before(_ text: UnsafeBufferPointer<UInt8>, _ place: Int) -> Unicode.Scalar {
        var start = place - 1
        while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
        return at(text, start)
    }
}
