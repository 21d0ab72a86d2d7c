/// Byte-pair encoding of pieces as a tokenizer.json has it: a piece begins as characters (with a prefix behind the first,
/// a suffix at the last), those without a token as the tokens of their bytes, or as the unknown token.
struct PieceBPE: Sendable {
    let tokens: TokenTable
    let merges: MergeTable
    let wholePieces: Bool
    let prefix: [UInt8]
    let suffix: [UInt8]
    let fusesUnknown: Bool
    /// The unknown token's text and id, where there is one; its id is `-1` where the vocabulary lacks it.
    let unknown: (text: [UInt8], id: Int32)?
    /// Tokens of the 256 bytes, `-1` where there is none; nil where characters are not spelled out.
    let byteTokens: [Int32]?
    private let pairs: BytePairs
    /// Tokens of the ASCII characters, where neither prefix nor suffix is.
    private let ascii: [Int32]

    /// - Parameter model: the field "model".
    /// - Throws: where a merge names no token, or merges are drawn by lot (`dropout`).
    init(_ model: TokenizerFields, _ vocabulary: PackedBytes, _ table: TokenTable) throws(TokenizerError) {
        tokens = table
        if let dropout = model.json["dropout"] {
            switch dropout {
            case .integer(0), .number(0): break
            default: throw model.unsupported("dropout", dropout.shown)
            }
        }
        wholePieces = try model.bool("ignore_merges", default: false)
        prefix = try model.bytes("continuing_subword_prefix") ?? []
        suffix = try model.bytes("end_of_word_suffix") ?? []
        fusesUnknown = try model.bool("fuse_unk", default: false)
        unknown = try model.bytes("unk_token").map { ($0, table.id(of: $0)) }
        byteTokens =
            try model.bool("byte_fallback", default: false)
            ? (0...255).map { table.id(of: SentencePieceBPE.byteToken(UInt8($0))) } : nil
        merges = try Self.merges(model, table, prefix)
        pairs = BytePairs(merges: merges, byteIDs: [])
        ascii = (0..<128).map { table.id(of: [UInt8($0)]) }
    }

    private static func merges(
        _ model: TokenizerFields, _ tokens: TokenTable, _ prefix: [UInt8]
    ) throws(TokenizerError) -> MergeTable {
        guard let value = model.json["merges"] else { throw model.missing("merges", "an array") }
        guard case .array(let items) = value else { throw model.malformed("merges", value.shown, "an array") }
        var table = MergeTable(capacity: items.count)
        var rank: UInt32 = 0
        for (index, item) in items.enumerated() {
            let expected = "two tokens of the vocabulary whose union is a third"
            let (left, right): (ArraySlice<UInt8>, ArraySlice<UInt8>)
            switch item {
            case .string(let text):
                if index == 0, text.starts(with: "#version".utf8) { continue }
                let parts = text.split(separator: 0x20, omittingEmptySubsequences: false)
                guard parts.count == 2 else { throw model.malformed("merges[\(index)]", item.shown, expected) }
                (left, right) = (parts[0], parts[1])
            case .array(let parts):
                guard parts.count == 2, case .string(let first) = parts[0], case .string(let second) = parts[1] else {
                    throw model.malformed("merges[\(index)]", item.shown, expected)
                }
                (left, right) = (first[...], second[...])
            default: throw model.malformed("merges[\(index)]", item.shown, expected)
            }
            let ids = (tokens.id(of: Array(left)), tokens.id(of: Array(right)))
            let merged = right.count < prefix.count ? -1 : tokens.id(of: Array(left + right.dropFirst(prefix.count)))
            guard ids.0 >= 0, ids.1 >= 0, merged >= 0 else {
                throw model.malformed(
                    "merges[\(index)]", String(decoding: left + [0x20] + right, as: UTF8.self), expected)
            }
            table.insert(ids.0, ids.1, rank: rank, merged: merged, replaces: true)
            rank += 1
        }
        return table
    }

    /// Whether pieces in the byte-level alphabet need nothing but merges: then they can be encoded from their bytes.
    var isByteLevel: Bool {
        guard prefix.isEmpty, suffix.isEmpty else { return false }
        if unknown == nil, byteTokens == nil { return true }
        return (0...255).allSatisfy { tokens.id(of: ByteAlphabet.written(UInt8($0))) >= 0 }
    }

    /// Appends the ids of a piece that is not empty.
    /// - Throws: where a character needs the unknown token and the vocabulary lacks it.
    func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        let key = PieceCache.key(text, range)
        if let key, workspace.cache.append(key, to: &output) { return }
        let before = output.count
        let whole = wholePieces ? tokens.id(of: UnsafeBufferPointer(rebasing: text[range])) : -1
        if whole >= 0 {
            output.append(whole)
        } else {
            try spell(text, range, into: &workspace.symbols)
            pairs.encode(symbols: workspace.symbols, into: &output, &workspace.scratch)
        }
        if let key { workspace.cache.store(key, output[before...]) }
    }

    /// What a piece begins as.
    private func spell(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into symbols: inout [Int32]
    ) throws(TokenizerError) {
        symbols.removeAll(keepingCapacity: true)
        let isPlain = prefix.isEmpty && suffix.isEmpty
        var pending: Int32?
        var at = range.lowerBound
        var written: [UInt8] = []
        while at < range.upperBound {
            let end = min(at + (UTF8Sequence(first: text[at])?.length ?? 1), range.upperBound)
            let id: Int32
            if isPlain {
                id = text[at] < 0x80 ? ascii[Int(text[at])] : tokens.id(of: UnsafeBufferPointer(rebasing: text[at..<end]))
            } else {
                written.removeAll(keepingCapacity: true)
                if at > range.lowerBound { written.append(contentsOf: prefix) }
                written.append(contentsOf: text[at..<end])
                if end == range.upperBound { written.append(contentsOf: suffix) }
                id = tokens.id(of: written)
            }
            if id >= 0 {
                if let unknown = pending { symbols.append(unknown) }
                pending = nil
                symbols.append(id)
            } else if let bytes = spelledOut(isPlain ? Array(text[at..<end]) : written) {
                symbols.append(contentsOf: bytes)
            } else if let unknown {
                guard unknown.id >= 0 else {
                    throw TokenizerError(
                        .missing, field: "model.unk_token", value: String(decoding: unknown.text, as: UTF8.self),
                        expected: "a token of the vocabulary")
                }
                if let before = pending, !fusesUnknown { symbols.append(before) }
                pending = unknown.id
            }
            at = end
        }
        if let unknown = pending { symbols.append(unknown) }
    }

    /// The tokens of a character's bytes; nil where one has none.
    private func spelledOut(_ character: [UInt8]) -> [Int32]? {
        guard let byteTokens else { return nil }
        let ids = character.map { byteTokens[Int($0)] }
        return ids.contains(-1) ? nil : ids
    }
}
