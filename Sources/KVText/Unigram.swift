/// SentencePiece's unigram language model (`tokenizer.ggml.model` = t5): of all ways to write a text in tokens, the one
/// whose scores add up to most, found by dynamic programming over character borders.
struct Unigram: Sendable {
    private let automaton: TokenAutomaton
    private let scores: [Float]
    private let isUserDefined: [Bool]
    private let characterMap: CharacterMap?
    private let addsSpace: Bool
    private let mergesSpaces: Bool
    private let unknown: Int32
    private let unknownScore: Double

    /// The best way to write the text up to some place.
    struct Step: Sendable {
        var score: Double
        var start: Int
        var token: Int32
    }

    /// - Throws: where there are no scores, no unknown token, or the character map is malformed.
    init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        guard !vocabulary.scores.isEmpty else {
            throw TokenizerError(
                .missing, field: "tokenizer.ggml.scores", value: "", expected: "a score for each token")
        }
        guard let unknown = vocabulary.roles.unknown else {
            throw TokenizerError(
                .missing, field: "tokenizer.ggml.unknown_token_id", value: "",
                expected: "the token of characters that have none")
        }
        self.unknown = unknown
        characterMap = CharacterMap(vocabulary.characterMap)
        if !vocabulary.characterMap.isEmpty, characterMap == nil {
            throw TokenizerError(
                .malformed, field: "tokenizer.ggml.precompiled_charsmap",
                value: "\(vocabulary.characterMap.count) bytes",
                expected: "a trie, and replacements of at most \(CharacterMap.longestReplacement) bytes")
        }
        scores = vocabulary.scores
        automaton = try TokenAutomaton(
            vocabulary.types.indices.filter {
                let type = vocabulary.types[$0]
                guard type == .normal || type == .userDefined || type == .unused else { return false }
                return vocabulary.tokens[$0].withUnsafeBufferPointer(UTF8Repair.isValid)
            }.map { (vocabulary.tokens[$0], Int32(truncatingIfNeeded: $0)) }, reversed: false,
            field: "tokenizer.ggml.tokens")
        isUserDefined = vocabulary.types.map { $0 == .userDefined }
        addsSpace = vocabulary.addsSpacePrefix ?? false
        mergesSpaces = vocabulary.removesExtraSpaces
        let normal = vocabulary.types.indices.lazy.filter { vocabulary.types[$0] == .normal }
        // As SentencePiece has it: a character without a token is a little worse than the worst token.
        unknownScore = Double((normal.map { vocabulary.scores[$0] }.min() ?? 0) - 10)
    }

    /// Appends the ids of `range` of `text` (valid UTF-8), special tokens not looked for.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) {
        normalise(text, range, into: &workspace.normal)
        let count = workspace.normal.count
        guard count > 0 else { return }
        workspace.best.removeAll(keepingCapacity: true)
        workspace.best.append(Step(score: 0, start: 0, token: unknown))
        workspace.best.append(
            contentsOf: repeatElement(Step(score: -.infinity, start: 0, token: unknown), count: count))
        workspace.normal.withUnsafeBufferPointer { normal in
            workspace.best.withUnsafeMutableBufferPointer { search(normal, $0) }
        }
        let before = output.count
        var at = count
        var wasUnknown = false
        while at > 0 {
            let step = workspace.best[at]
            let isUnknown = step.token == unknown
            // A run of unknown characters is one unknown token.
            if !(isUnknown && wasUnknown) { output.append(step.token) }
            wasUnknown = isUnknown
            at = step.start
        }
        output[before...].reverse()
    }

    private func search(_ text: UnsafeBufferPointer<UInt8>, _ best: UnsafeMutableBufferPointer<Step>) {
        var node = 0
        var character = 0
        for end in 1...text.count {
            node = automaton.next(node, text[end - 1])
            guard end == text.count || text[end] & 0xC0 != 0x80 else { continue }
            // Every token that ends here, the longest first; of equal scores the first stands.
            var found = automaton.longest(node)
            var hasCharacter = false
            while let token = found {
                let start = end - token.length
                if start == character { hasCharacter = true }
                let own = isUserDefined[Int(token.id)] ? 0 : Double(scores[Int(token.id)])
                offer(Step(score: best[start].score + own, start: start, token: token.id), &best[end])
                found = automaton.after(token.node)
            }
            if !hasCharacter {
                let score = best[character].score + unknownScore
                offer(Step(score: score, start: character, token: unknown), &best[end])
            }
            character = end
        }
    }

    private func offer(_ step: Step, _ best: inout Step) {
        if step.score > best.score { best = step }
    }

    /// The text as the model knows it: characters mapped, spaces as `▁`, where asked one before every word and no other.
    private func normalise(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into normal: inout [UInt8]) {
        normal.removeAll(keepingCapacity: true)
        var inWord = false
        var hasSpace = false
        func append(_ byte: UInt8) {
            if byte == 0x20 {
                inWord = false
                if !mergesSpaces { normal.append(contentsOf: SentencePieceBPE.escapedSpace) }
                return
            }
            if !inWord {
                inWord = true
                if addsSpace && !hasSpace || mergesSpaces {
                    normal.append(contentsOf: SentencePieceBPE.escapedSpace)
                    hasSpace = true
                }
            }
            normal.append(byte)
        }
        var at = range.lowerBound
        while at < range.upperBound {
            if let (length, replacement) = characterMap?.longest(text, at: at, to: range.upperBound) {
                for byte in replacement { append(byte) }
                at += length
            } else {
                let end = min(at + (UTF8Sequence(first: text[at])?.length ?? 1), range.upperBound)
                while at < end {
                    append(text[at])
                    at += 1
                }
            }
        }
    }
}
