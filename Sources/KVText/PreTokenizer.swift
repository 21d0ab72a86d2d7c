/// How text is cut into pieces before byte-pair encoding: one row for each rule that `tokenizer.ggml.pre` may name.
struct PreTokenizerRule: Sendable {
    /// The names under which files ask for this rule.
    let names: [String]
    /// Regular expressions, applied one after another, each to the pieces that the one before it left.
    let patterns: [String]
    /// Whether a piece that is a token as a whole is that token, whatever the merges say.
    var wholePieces = false
    /// Whether BOS is added where the file does not say.
    var addsBOS = false
}

extension PreTokenizerRule {
    /// Unicode's White_Space, spelled out: the library's `\s` also takes U+180E, the reference implementations do not.
    private static let space =
        #"\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"#

    /// English contractions, words, numbers, other signs, each with at most one space before it; then space.
    private static let gpt2 =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^"# + space + #"\p{L}\p{N}]+|["# + space + "]+(?![^" + space
        + "])|[" + space + "]+"

    /// The cl100k family; its members differ in how many digits make a number.
    private static func cl100k(digits: String) -> String {
        #"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits + "| ?[^" + space
            + #"\p{L}\p{N}]+[\r\n]*|["# + space + #"]*[\r\n]+|["# + space + "]+(?![^" + space + "])|[" + space + "]+"
    }

    /// Every rule known. A name that is not here is an error: a near match would give ids that look right and are not.
    static let all = [
        PreTokenizerRule(names: ["gpt-2"], patterns: [gpt2]),
        PreTokenizerRule(names: ["smollm"], patterns: [#"\p{N}"#, gpt2]),
        PreTokenizerRule(names: ["falcon"], patterns: [#"[\p{P}$+<=>^~|`]+"#, gpt2, "[0-9][0-9][0-9]"]),
        PreTokenizerRule(names: ["qwen2"], patterns: [cl100k(digits: #"\p{N}"#)]),
        PreTokenizerRule(
            names: ["llama-bpe"], patterns: [cl100k(digits: #"\p{N}{1,3}"#)], wholePieces: true, addsBOS: true),
    ]

    /// The rule under a name.
    static func named(_ name: String) throws(TokenizerError) -> PreTokenizerRule {
        guard let rule = all.first(where: { $0.names.contains(name) }) else {
            throw TokenizerError(
                .unknownPreTokenizer, field: "tokenizer.ggml.pre", value: name,
                expected: "one of \(all.flatMap(\.names).joined(separator: ", "))")
        }
        return rule
    }
}

/// A rule with its patterns compiled.
struct PreTokenizer: Sendable {
    private let patterns: [Pattern]

    init(_ rule: PreTokenizerRule) throws(TokenizerError) {
        var patterns: [Pattern] = []
        for pattern in rule.patterns { patterns.append(try Pattern(pattern)) }
        self.patterns = patterns
    }

    /// The end of every piece of `text` (valid UTF-8), in order, into `ends`.
    /// - Parameter spare: room for the pieces of the pattern before.
    func split(
        _ text: UnsafeBufferPointer<UInt8>, into ends: inout [Int], _ spare: inout [Int], _ state: MatchState
    ) throws(TokenizerError) {
        ends.removeAll(keepingCapacity: true)
        ends.append(text.count)
        for pattern in patterns {
            swap(&ends, &spare)
            ends.removeAll(keepingCapacity: true)
            var start = 0
            for end in spare {
                try pattern.split(UnsafeBufferPointer(rebasing: text[start..<end]), base: start, into: &ends, state)
                start = end
            }
        }
    }
}
