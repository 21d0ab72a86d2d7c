/// SentencePiece's unigram language model (`tokenizer.ggml.model` = t5): of all ways to write a text in tokens, the one
/// whose scores add up to most, found by dynamic programming over character borders.
struct Unigram: Sendable {
    private let tokens: TokenTable
    private let scores: [Float]
    private let isText: [Bool]
    private let isUserDefined: [Bool]
    private let characterMap: CharacterMap?
    private let addsSpace: Bool
    private let mergesSpaces: Bool
    private let unknown: Int32
    private let unknownScore: Double
    private let longestToken: Int
    private let keepsWordsApart: Bool

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
                value: "\(vocabulary.characterMap.count) bytes", expected: "a trie and its replacements")
        }
        tokens = TokenTable(vocabulary.tokens)
        scores = vocabulary.scores
        isText = vocabulary.types.map { $0 == .normal || $0 == .userDefined || $0 == .unused }
        isUserDefined = vocabulary.types.map { $0 == .userDefined }
        addsSpace = vocabulary.addsSpacePrefix ?? false
        mergesSpaces = vocabulary.removesExtraSpaces
        let normal = vocabulary.types.indices.lazy.filter { vocabulary.types[$0] == .normal }
        // As SentencePiece has it: a character without a token is a little worse than the worst token.
        unknownScore = Double((normal.map { vocabulary.scores[$0] }.min() ?? 0) - 10)
        longestToken = (0..<vocabulary.count).map { vocabulary.tokens.range($0).count }.max() ?? 0
        keepsWordsApart = SentencePieceBPE.keepsWordsApart(vocabulary.tokens, isText)
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
        let space = SentencePieceBPE.escapedSpace
        func isSpace(_ at: Int) -> Bool {
            text[at] == space[0] && at + 2 < text.count && text[at + 1] == space[1] && text[at + 2] == space[2]
        }
        func length(_ at: Int) -> Int { min(UTF8Sequence(first: text[at])?.length ?? 1, text.count - at) }
        func offer(_ step: Step, _ end: Int) {
            if step.score > best[end].score { best[end] = step }
        }
        var start = 0
        while start < text.count {
            let score = best[start].score
            let character = length(start)
            var end = start
            var hasCharacter = false
            var inText = false
            while end < text.count, end - start <= longestToken {
                if isSpace(end) {
                    if inText, keepsWordsApart { break }
                } else {
                    inText = true
                }
                end += length(end)
                let id = tokens.id(of: UnsafeBufferPointer(rebasing: text[start..<end]))
                guard id >= 0, isText[Int(id)] else { continue }
                if end - start == character { hasCharacter = true }
                let own = isUserDefined[Int(id)] ? 0 : Double(scores[Int(id)])
                offer(Step(score: score + own, start: start, token: id), end)
            }
            if !hasCharacter {
                offer(Step(score: score + unknownScore, start: start, token: unknown), start + character)
            }
            start += character
        }
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
