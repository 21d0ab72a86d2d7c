extension MergeTable {
    /// The merges that a vocabulary lists ("left right"), as ids.
    /// - Throws: where a merge names a token that the vocabulary does not have.
    init(_ vocabulary: Vocabulary, _ tokens: TokenTable) throws(TokenizerError) {
        let merges = vocabulary.merges
        var table = MergeTable(capacity: merges.count)
        var refused: Int?
        var joined: [UInt8] = []
        merges.bytes.withUnsafeBufferPointer { bytes in
            for rank in 0..<merges.count {
                let range = merges.range(rank)
                let merge = UnsafeBufferPointer(rebasing: bytes[range])
                // The alphabet has no space of its own; a token that is written with one can only begin with it.
                guard let space = merge.dropFirst().firstIndex(of: 0x20) else {
                    refused = rank
                    return
                }
                joined.removeAll(keepingCapacity: true)
                joined.append(contentsOf: merge[..<space])
                joined.append(contentsOf: merge[(space + 1)...])
                let left = tokens.id(of: UnsafeBufferPointer(rebasing: merge[..<space]))
                let right = tokens.id(of: UnsafeBufferPointer(rebasing: merge[(space + 1)...]))
                let whole = tokens.id(of: joined)
                guard left >= 0, right >= 0, whole >= 0 else {
                    refused = rank
                    return
                }
                table.insert(left, right, rank: UInt32(truncatingIfNeeded: rank), merged: whole)
            }
        }
        if let refused {
            throw TokenizerError(
                .malformed, file: vocabulary.source, field: "tokenizer.ggml.merges[\(refused)]",
                value: merges.string(refused), expected: "two tokens of the vocabulary whose union is a third")
        }
        self = table
    }
}
