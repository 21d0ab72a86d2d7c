/// SentencePiece's byte-pair encoding (`tokenizer.ggml.model` = llama): spaces are `▁`, a piece begins as characters,
/// and the pair whose token has the best score is merged first. Characters without a token become their bytes' tokens.
///
/// The scores are turned into merges once (every way to make a token of two), so that the same code merges here and in
/// byte-level encodings; vocabularies that list their merges (Gemma 4, tokenizer.json) use those.
struct SentencePieceBPE: Sendable {
    private let tokens: TokenTable
    private let pairs: BytePairs
    /// Whether text may become this token; false for control, unknown and byte tokens.
    private let isText: [Bool]
    /// Symbols of the ASCII characters.
    private let ascii: [Int32]
    /// Symbol of a space.
    private let space: Int32
    /// Tokens of the 256 bytes, `-1` where there is none.
    private let byteTokens: [Int32]
    private let unknown: Int32
    /// Whether no token has `▁` behind another character: then words can be merged one by one.
    private let cutsWords: Bool
    /// Whether line breaks are pieces of their own.
    private let cutsLines: Bool
    /// Whether a text, and what follows a special token, begins with a space more.
    let addsSpace: Bool

    static let escapedSpace: [UInt8] = [0xE2, 0x96, 0x81]

    /// - Throws: where there are no scores and no merges, or a merge names no token.
    init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        let table = TokenTable(vocabulary.tokens)
        tokens = table
        let isText = vocabulary.types.map { $0 == .normal || $0 == .userDefined || $0 == .unused }
        self.isText = isText
        addsSpace = vocabulary.addsSpacePrefix ?? (vocabulary.model == "llama")
        cutsLines = vocabulary.preTokenizer == "gemma4"
        unknown = vocabulary.roles.unknown ?? -1
        byteTokens = (0...255).map { table.id(of: Self.byteToken(UInt8($0))) }
        ascii = (0..<128).map { Self.symbol(of: Unicode.Scalar(UInt8($0)), table, isText) }
        space = Self.symbol(of: "\u{2581}", table, isText)
        cutsWords = Self.keepsWordsApart(vocabulary.tokens, isText)
        let merges: MergeTable
        if vocabulary.merges.count > 0 {
            merges = try MergeTable(vocabulary, table)
        } else {
            guard !vocabulary.scores.isEmpty else {
                throw TokenizerError(
                    .missing, field: "tokenizer.ggml.scores", value: "", expected: "a score for each token, or merges")
            }
            merges = Self.merges(vocabulary, table, isText)
        }
        pairs = BytePairs(merges: merges, byteIDs: [])
    }

    /// `<0x0A>`.
    static func byteToken(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return Array("<0x".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)], UInt8(ascii: ">")]
    }

    /// A character's token; where it has none, a negative number that stands for the character.
    private static func symbol(of scalar: Unicode.Scalar, _ tokens: TokenTable, _ isText: [Bool]) -> Int32 {
        let id = tokens.id(of: Array(String(Character(scalar)).utf8))
        return id >= 0 && isText[Int(id)] ? id : -2 - Int32(bitPattern: scalar.value)
    }

    /// Whether no token has `▁` behind another character.
    static func keepsWordsApart(_ tokens: PackedBytes, _ isText: [Bool]) -> Bool {
        for id in 0..<tokens.count where isText[id] {
            let token = tokens[id]
            var text = false
            var at = token.startIndex
            while at < token.endIndex {
                if token[at...].starts(with: escapedSpace) {
                    if text { return false }
                    at += escapedSpace.count
                } else {
                    text = true
                    at += 1
                }
            }
        }
        return true
    }

    /// Every way to make a token of two symbols, ranked by score; equal scores share a rank, so that the leftmost wins.
    private static func merges(_ vocabulary: Vocabulary, _ table: TokenTable, _ isText: [Bool]) -> MergeTable {
        let scores = vocabulary.scores
        let order = isText.indices.filter { isText[$0] }.sorted { scores[$0] > scores[$1] }
        var found: [(left: Int32, right: Int32, rank: UInt32, merged: Int32)] = []
        found.reserveCapacity(order.count * 2)
        var rank: UInt32 = 0
        // Halves are looked up only where some token, or a character, is as long: one token of a megabyte among short
        // ones has no cut to try.
        var lengths = [Bool](repeating: false, count: (vocabulary.tokens.longest + 1))
        for id in order { lengths[vocabulary.tokens.range(id).count] = true }
        for length in 1...4 where length < lengths.count { lengths[length] = true }
        vocabulary.tokens.bytes.withUnsafeBufferPointer { bytes in
            /// The symbol that is this stretch of bytes: a token, a lone character, or none (`-1`).
            func symbol(_ range: Range<Int>) -> Int32 {
                let stretch = UnsafeBufferPointer(rebasing: bytes[range])
                let id = table.id(of: stretch)
                if id >= 0, isText[Int(id)] { return id }
                guard range.count <= 4 else { return -1 }
                let scalars = String(decoding: stretch, as: UTF8.self).unicodeScalars
                guard let first = scalars.first, scalars.dropFirst().isEmpty else { return -1 }
                return -2 - Int32(bitPattern: first.value)
            }
            for (place, id) in order.enumerated() {
                if place > 0, scores[id] != scores[order[place - 1]] { rank += 1 }
                let range = vocabulary.tokens.range(id)
                for cut in range.dropFirst() where bytes[cut] & 0xC0 != 0x80 {
                    guard lengths[cut - range.lowerBound], lengths[range.upperBound - cut] else { continue }
                    let left = symbol(range.lowerBound..<cut)
                    if left == -1 { continue }
                    let right = symbol(cut..<range.upperBound)
                    if right != -1 { found.append((left, right, rank, Int32(truncatingIfNeeded: id))) }
                }
            }
        }
        var merges = MergeTable(capacity: found.count)
        for merge in found { merges.insert(merge.left, merge.right, rank: merge.rank, merged: merge.merged) }
        return merges
    }

    // MARK: Encoding

    /// Appends the ids of `range` of `text` (valid UTF-8), special tokens not looked for.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) {
        guard !range.isEmpty else { return }
        var at = range.lowerBound
        if addsSpace {
            at = pieceEnd(text, at, range.upperBound)
            append(text, range.lowerBound..<at, prefixed: true, into: &output, &workspace)
        }
        while at < range.upperBound {
            let end = pieceEnd(text, at, range.upperBound)
            if let key = PieceCache.key(text, at..<end) {
                if !workspace.cache.append(key, to: &output) {
                    let before = output.count
                    append(text, at..<end, prefixed: false, into: &output, &workspace)
                    workspace.cache.store(key, output[before...])
                }
            } else {
                append(text, at..<end, prefixed: false, into: &output, &workspace)
            }
            at = end
        }
    }

    private func isSpace(_ text: UnsafeBufferPointer<UInt8>, _ at: Int) -> Bool {
        text[at] == 0x20
            || text[at] == 0xE2 && at + 2 < text.count && text[at + 1] == 0x96 && text[at + 2] == 0x81
    }

    /// Where the piece that starts at `start` ends: before the first space behind other characters, at the border of a
    /// run of line breaks, or at `limit`.
    private func pieceEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ limit: Int) -> Int {
        if cutsLines {
            let breaks = text[start] == 0x0A
            return text[start..<limit].firstIndex { ($0 == 0x0A) != breaks } ?? limit
        }
        guard cutsWords else { return limit }
        var at = start
        while at < limit, isSpace(text, at) { at += text[at] == 0x20 ? 1 : 3 }
        while at < limit, !isSpace(text, at) { at += 1 }
        return min(at, limit)
    }

    private func append(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, prefixed: Bool, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) {
        if cutsLines, !range.isEmpty, text[range.lowerBound] == 0x0A {
            let whole = tokens.id(of: UnsafeBufferPointer(rebasing: text[range]))
            if whole >= 0 { return output.append(whole) }
        }
        workspace.symbols.removeAll(keepingCapacity: true)
        if prefixed { workspace.symbols.append(space) }
        var at = range.lowerBound
        while at < range.upperBound {
            let byte = text[at]
            if byte == 0x20 {
                workspace.symbols.append(space)
                at += 1
            } else if byte < 0x80 {
                workspace.symbols.append(ascii[Int(byte)])
                at += 1
            } else {
                let length = min(UTF8Sequence(first: byte)?.length ?? 1, range.upperBound - at)
                workspace.symbols.append(symbol(UnsafeBufferPointer(rebasing: text[at..<at + length])))
                at += length
            }
        }
        let before = output.count
        pairs.encode(symbols: workspace.symbols, into: &output, &workspace.scratch)
        if output[before...].contains(where: { $0 < 0 }) { spellOut(&output, from: before) }
    }

    private func symbol(_ character: UnsafeBufferPointer<UInt8>) -> Int32 {
        let id = tokens.id(of: character)
        if id >= 0, isText[Int(id)] { return id }
        let scalar = String(decoding: character, as: UTF8.self).unicodeScalars.first ?? "\u{FFFD}"
        return -2 - Int32(bitPattern: scalar.value)
    }

    /// Replaces characters without a token by their bytes' tokens, or by the unknown token.
    private func spellOut(_ output: inout [Int32], from start: Int) {
        let ids = Array(output[start...])
        output.removeSubrange(start...)
        for id in ids {
            if id >= 0 {
                output.append(id)
                continue
            }
            let scalar = Unicode.Scalar(UInt32(bitPattern: -2 - id)) ?? "\u{FFFD}"
            for byte in String(Character(scalar)).utf8 {
                if byteTokens[Int(byte)] >= 0 {
                    output.append(byteTokens[Int(byte)])
                } else {
                    if unknown >= 0 { output.append(unknown) }
                    break
                }
            }
        }
    }

    /// The bytes each token stands for, by id: `▁` is a space, `<0x0A>` its byte.
    static func texts(of vocabulary: Vocabulary) -> PackedBytes {
        vocabulary.texts { written, type, bytes in
            switch type {
            case .byte: bytes.append(byteValue(written) ?? 0x3F)
            case .control, .unknown, .userDefined: bytes.append(contentsOf: written)
            default: appendUnescaped(written, to: &bytes)
            }
        }
    }

    private static func byteValue(_ written: ArraySlice<UInt8>) -> UInt8? {
        guard written.count == 6, written.starts(with: Array("<0x".utf8)) else { return nil }
        return UInt8(String(decoding: written.dropFirst(3).dropLast(), as: UTF8.self), radix: 16)
    }

    private static func appendUnescaped(_ written: ArraySlice<UInt8>, to bytes: inout [UInt8]) {
        var at = written.startIndex
        while at < written.endIndex {
            if written[at] == 0xE2, written[at...].starts(with: escapedSpace) {
                bytes.append(0x20)
                at += 3
            } else {
                bytes.append(written[at])
                at += 1
            }
        }
    }
}
