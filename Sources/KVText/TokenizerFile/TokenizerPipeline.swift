/// A tokenizer.json: added tokens, normalizer, pre-tokenizer, model, post-processor and decoder, each step as the
/// tokenizers library does it.
struct TokenizerPipeline: Sendable {
    let added: AddedTokens
    let normalizers: [Normalizer]
    let steps: [PreTokenization]
    let model: Model
    let post: PostProcessing
    let decoder: TokenDecoder

    enum Model: Sendable {
        /// Byte-level encoding from the bytes of text that only patterns cut: no step changes it.
        case byteLevel(ByteLevelBPE)
        case pairs(PieceBPE)
        case unigram(PieceUnigram)
    }

    /// What is worked on between the steps, kept between calls.
    struct Workspace: Sendable {
        var text: [UInt8] = []
        var pieces: [PreTokenization.Piece] = []
        var found: [SpecialTokens.Match] = []

        var byteCount: Int { text.capacity + pieces.capacity * 24 + found.capacity * 24 }
    }

    /// Appends the ids of a text, post-processing apart.
    /// - Parameters:
    ///   - text: valid UTF-8, with `PieceCache.window` bytes behind it.
    ///   - parts: where each stretch of the text ends and whether control tokens are found in it; no token runs over a
    ///     border.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ parts: [(end: Int, parsesSpecial: Bool)], into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        guard let end = parts.last?.end else { return }
        find(added.raw, text, 0..<end, parts, into: &workspace.pipeline.found)
        for section in added.sections(text, 0..<end, &workspace.pipeline.found) {
            if let token = section.token {
                output.append(token)
            } else if normalizers.isEmpty {
                try encodePlain(text, section.range, parts, into: &output, &workspace)
            } else {
                try normalise(text, section.range, parts, into: &output, &workspace)
            }
        }
    }

    /// Finds tokens in every part of `range`, the last place first.
    private func find(
        _ tokens: SpecialTokens, _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>,
        _ parts: [(end: Int, parsesSpecial: Bool)], into found: inout [SpecialTokens.Match]
    ) {
        found.removeAll(keepingCapacity: true)
        guard !tokens.isEmpty else { return }
        for index in parts.indices.reversed() {
            let start = index > 0 ? parts[index - 1].end : 0
            let part = max(start, range.lowerBound)..<max(max(start, range.lowerBound), min(parts[index].end, range.upperBound))
            tokens.find(text, part, control: parts[index].parsesSpecial, into: &found)
        }
    }

    /// Text that no normalizer changes.
    private func encodePlain(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ parts: [(end: Int, parsesSpecial: Bool)],
        into output: inout [Int32], _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        find(added.normalized, text, range, parts, into: &workspace.pipeline.found)
        for section in added.sections(text, range, &workspace.pipeline.found) {
            if let token = section.token {
                output.append(token)
            } else if case .byteLevel(let model) = model {
                try model.encode(text, section.range, into: &output, &workspace)
            } else {
                try cut(text, section.range, isFirst: section.range.lowerBound == 0, into: &output, &workspace)
            }
        }
    }

    /// Normalises a stretch and goes on with it. Where control tokens may be found in it, stretches that differ in whether
    /// they are looked for are normalised each for itself.
    private func normalise(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, _ parts: [(end: Int, parsesSpecial: Bool)],
        into output: inout [Int32], _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        var start = range.lowerBound
        while start < range.upperBound {
            var index = parts.firstIndex { $0.end > start } ?? parts.count - 1
            let parses = parts[index].parsesSpecial
            while index + 1 < parts.count, parts[index].end < range.upperBound,
                !added.guardsNormalized || parts[index + 1].parsesSpecial == parses
            {
                index += 1
            }
            let end = min(parts[index].end, range.upperBound)
            var normal = Array(text[start..<end])
            var isFirst = start == 0
            for step in normalizers { if try !step.apply(&normal, workspace.match) { isFirst = false } }
            let count = normal.count
            guard count < Int(Int32.max) - PieceCache.window else {
                throw TokenizerError(.textTooLong, field: "text", value: "\(count) bytes", expected: "less than 2 GiB")
            }
            normal.append(contentsOf: repeatElement(0, count: PieceCache.window))
            try normal.withUnsafeBufferPointer { normal throws(TokenizerError) in
                try encodeNormal(normal, count, isFirst, parses, into: &output, &workspace)
            }
            start = end
        }
    }

    private func encodeNormal(
        _ text: UnsafeBufferPointer<UInt8>, _ count: Int, _ isFirst: Bool, _ parses: Bool, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        let parts = [(end: count, parsesSpecial: parses || !added.guardsNormalized)]
        find(added.normalized, text, 0..<count, parts, into: &workspace.pipeline.found)
        for section in added.sections(text, 0..<count, &workspace.pipeline.found) {
            if let token = section.token {
                output.append(token)
            } else if case .byteLevel(let model) = model {
                try model.encode(text, section.range, into: &output, &workspace)
            } else {
                try cut(text, section.range, isFirst: isFirst && section.range.lowerBound == 0, into: &output, &workspace)
            }
        }
    }

    /// Cuts a stretch without added tokens into pieces, and encodes them.
    private func cut(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, isFirst: Bool, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        guard !range.isEmpty else { return }
        var body: [UInt8] = []
        var pieces: [PreTokenization.Piece] = []
        swap(&body, &workspace.pipeline.text)
        swap(&pieces, &workspace.pipeline.pieces)
        body.removeAll(keepingCapacity: true)
        pieces.removeAll(keepingCapacity: true)
        body.append(contentsOf: UnsafeBufferPointer(rebasing: text[range]))
        pieces.append(PreTokenization.Piece(start: 0, end: body.count, isFirst: isFirst))
        for step in steps { try step.apply(&body, &pieces, workspace.match) }
        body.append(contentsOf: repeatElement(0, count: PieceCache.window))
        try body.withUnsafeBufferPointer { body throws(TokenizerError) in
            for piece in pieces {
                switch model {
                case .byteLevel: continue
                case .pairs(let model): try model.encode(body, piece.start..<piece.end, into: &output, &workspace)
                case .unigram(let model): try model.encode(body, piece.start..<piece.end, into: &output, &workspace)
                }
            }
        }
        swap(&body, &workspace.pipeline.text)
        swap(&pieces, &workspace.pipeline.pieces)
    }
}
