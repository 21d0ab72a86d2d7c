/// A rule with its patterns compiled.
struct PreTokenizer: Sendable {
    private let patterns: [Pattern]

    init(_ rule: PreTokenizerRule) throws(TokenizerError) {
        var patterns: [Pattern] = []
        for pattern in rule.patterns { patterns.append(try Pattern(pattern)) }
        self.patterns = patterns
    }

    init(_ patterns: [Pattern]) { self.patterns = patterns }

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
