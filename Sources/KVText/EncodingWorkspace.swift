/// Memory that encoding works in, kept between calls. One call at a time owns it.
struct EncodingWorkspace: Sendable {
    /// The text, repaired and normalised, with `PieceCache.window` bytes behind it.
    var text: [UInt8] = []
    var cache = PieceCache()
    var scratch = BytePairs.Scratch()
    /// Ends of the pieces that a pre-tokenizer's last pattern, and the one before, left.
    var ends: [Int] = []
    var spare: [Int] = []
    /// A piece in the vocabulary's alphabet.
    var written: [UInt8] = []
    /// A piece as characters' symbols.
    var symbols: [Int32] = []
    /// A text as a unigram model knows it, and the best way to write it up to each place.
    var normal: [UInt8] = []
    var best: [Unigram.Step] = []
    /// Special tokens found in a part of the text, the last first.
    var found: [SpecialTokens.Match] = []
    /// What the steps of a tokenizer.json work on.
    var pipeline = TokenizerPipeline.Workspace()
    let match: MatchState

    init() throws(TokenizerError) { match = try MatchState() }

    /// Bytes held that grow with the text, so that the owner can let go of what an enormous one left behind.
    var byteCount: Int {
        text.capacity + pipeline.byteCount + found.capacity * 24 + (ends.capacity + spare.capacity) * 8 + scratch.byteCount
            + symbols.capacity * 4
            + normal.capacity
            + best.capacity * MemoryLayout<Unigram.Step>.stride
    }
}
