/// Byte-level byte-pair encoding (`tokenizer.ggml.model` = gpt2): a rule cuts text into pieces, merges make tokens of
/// their bytes.
struct ByteLevelBPE: Sendable {
    private let wholePieces: Bool
    private let preTokenizer: PreTokenizer
    private let pairs: BytePairs
    private let tokens: TokenTable
    /// Each byte in the vocabulary's alphabet.
    private let alphabet: [[UInt8]]

    /// - Throws: where the rule is unknown, or a merge names a token that the vocabulary does not have.
    init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        let rule = try PreTokenizerRule.named(vocabulary.preTokenizer)
        let tokens = TokenTable(vocabulary.tokens)
        self.init(
            tokens, try MergeTable(vocabulary, tokens), try PreTokenizer(rule), wholePieces: rule.wholePieces)
    }

    /// - Parameter wholePieces: whether a piece that is a token as a whole is that token, whatever the merges say.
    init(_ tokens: TokenTable, _ merges: MergeTable, _ preTokenizer: PreTokenizer, wholePieces: Bool) {
        let alphabet = (0...255).map { ByteAlphabet.written(UInt8($0)) }
        self.preTokenizer = preTokenizer
        self.wholePieces = wholePieces
        self.alphabet = alphabet
        self.tokens = tokens
        pairs = BytePairs(merges: merges, byteIDs: alphabet.map { tokens.id(of: $0) })
    }

    /// Appends the ids of `range` of `text` (valid UTF-8), special tokens not looked for.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        guard !range.isEmpty else { return }
        try preTokenizer.split(
            UnsafeBufferPointer(rebasing: text[range]), into: &workspace.ends, &workspace.spare, workspace.match)
        var start = range.lowerBound
        for index in workspace.ends.indices {
            let end = range.lowerBound + workspace.ends[index]
            append(text, start..<end, into: &output, &workspace)
            start = end
        }
    }

    /// Appends the ids of one piece.
    @inline(__always)
    private func append(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) {
        let key = PieceCache.key(text, range)
        if let key, workspace.cache.append(key, to: &output) { return }
        let before = output.count
        let piece = UnsafeBufferPointer(rebasing: text[range])
        let whole = wholePieces ? wholeToken(piece, &workspace) : -1
        if whole >= 0 {
            output.append(whole)
        } else {
            pairs.encode(piece, into: &output, &workspace.scratch)
        }
        if let key { workspace.cache.store(key, output[before...]) }
    }

    /// The token that is this piece, or `-1`.
    private func wholeToken(_ piece: UnsafeBufferPointer<UInt8>, _ workspace: inout EncodingWorkspace) -> Int32 {
        workspace.written.removeAll(keepingCapacity: true)
        for byte in piece { workspace.written.append(contentsOf: alphabet[Int(byte)]) }
        return tokens.id(of: workspace.written)
    }

    /// The bytes each token stands for, by id.
    static func texts(of vocabulary: Vocabulary) -> PackedBytes {
        vocabulary.texts { written, type, bytes in
            if type.isSpecial || type == .userDefined {
                bytes.append(contentsOf: written)
            } else {
                ByteAlphabet.appendBytes(of: written, to: &bytes)
            }
        }
    }
}
