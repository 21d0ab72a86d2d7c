/// The unigram language model of a tokenizer.json: of all ways to write a piece in tokens the one whose scores add up to
/// most. Characters without a token are unknown, a run of them one token, or the tokens of its bytes.
struct PieceUnigram: Sendable {
    private let automaton: TokenAutomaton
    private let tokens: TokenTable
    private let scores: [Double]
    private let unknown: Int32?
    private let unknownScore: Double
    private let byteTokens: [Int32]?

    /// - Parameters:
    ///   - model: the field "model".
    ///   - vocabulary: tokens by id.
    init(
        _ model: TokenizerFields, _ vocabulary: PackedBytes, _ table: TokenTable, scores: [Double]
    ) throws(TokenizerError) {
        tokens = table
        self.scores = scores
        if let id = try model.count("unk_id") {
            guard id < vocabulary.count else {
                throw model.malformed("unk_id", "\(id)", "one of the \(vocabulary.count) tokens")
            }
            unknown = Int32(truncatingIfNeeded: id)
        } else {
            unknown = nil
        }
        // A character without a token is a little worse than the worst token.
        unknownScore = (scores.min() ?? 0) - 10
        byteTokens =
            try model.bool("byte_fallback", default: false)
            ? (0...255).map { table.id(of: SentencePieceBPE.byteToken(UInt8($0))) } : nil
        do throws(TokenizerError) {
            automaton = try TokenAutomaton(
                (0..<vocabulary.count).map { (vocabulary[$0], Int32(truncatingIfNeeded: $0)) }, reversed: false,
                field: "model.vocab")
        } catch { throw model.malformed("vocab", error.value, error.expected) }
    }

    /// Appends the ids of a piece that is not empty.
    /// - Throws: where a character is unknown and the file names no token for it.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        let piece = UnsafeBufferPointer(rebasing: text[range])
        workspace.best.removeAll(keepingCapacity: true)
        workspace.best.append(
            contentsOf: repeatElement(Unigram.Step(score: 0, start: -1, token: -1), count: piece.count + 1))
        try workspace.best.withUnsafeMutableBufferPointer { best throws(TokenizerError) in try search(piece, best) }
        // From behind: runs of unknown characters count as one.
        let before = output.count
        var end = piece.count
        var unknownEnd: Int?
        while end > 0 {
            let step = workspace.best[end]
            if let unknown, step.token == unknown {
                unknownEnd = unknownEnd ?? end
            } else {
                if let last = unknownEnd { appendUnknown(piece, end..<last, to: &output) }
                unknownEnd = nil
                output.append(step.token)
            }
            end = step.start
        }
        if let last = unknownEnd { appendUnknown(piece, 0..<last, to: &output) }
        output[before...].reverse()
    }

    private func search(
        _ text: UnsafeBufferPointer<UInt8>, _ best: UnsafeMutableBufferPointer<Unigram.Step>
    ) throws(TokenizerError) {
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
                offer(scores[Int(token.id)], start, token.id, end, best)
                found = automaton.after(token.node)
            }
            if !hasCharacter {
                guard let unknown else {
                    throw TokenizerError(
                        .missing, field: "model.unk_id", value: "", expected: "the token of characters that have none")
                }
                offer(unknownScore, character, unknown, end, best)
            }
            character = end
        }
    }

    private func offer(
        _ own: Double, _ start: Int, _ token: Int32, _ end: Int, _ best: UnsafeMutableBufferPointer<Unigram.Step>
    ) {
        let score = own + best[start].score
        if best[end].start < 0 || score > best[end].score { best[end] = Unigram.Step(score: score, start: start, token: token) }
    }

    /// Appends a run of unknown characters, from behind.
    private func appendUnknown(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, to output: inout [Int32]) {
        let run = UnsafeBufferPointer(rebasing: text[range])
        let whole = tokens.id(of: run)
        if whole >= 0 { return output.append(whole) }
        if let byteTokens, run.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
            return output.append(contentsOf: run.reversed().map { byteTokens[Int($0)] })
        }
        output.append(unknown ?? -1)
    }
}
