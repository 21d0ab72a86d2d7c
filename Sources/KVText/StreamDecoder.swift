/// Text from ids that come one at a time, never half a character.
///
/// What `append` and `finish` return, joined, is what `Tokenizer.decode` makes of all ids as the continuation of a text.
package struct StreamDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let special: Bool
    /// The beginning of a character that is not whole yet, at most three bytes.
    private var held: [UInt8] = []

    /// - Parameter special: whether control tokens are written out, rather than left out.
    package init(_ tokenizer: Tokenizer, special: Bool = false) {
        self.tokenizer = tokenizer
        self.special = special
    }

    /// The characters that this token made whole; often none, often several.
    package mutating func append(_ id: Int32) -> String {
        guard special || !tokenizer.isSpecial(id) else { return "" }
        held.append(contentsOf: tokenizer.bytes(of: id))
        let whole = held.count - Self.unfinished(held)
        let text = String(decoding: held[..<whole], as: UTF8.self)
        held.removeFirst(whole)
        return text
    }

    /// U+FFFD for a character that was never finished, else nothing.
    package mutating func finish() -> String {
        defer { held.removeAll() }
        return String(decoding: held, as: UTF8.self)
    }

    /// How many bytes at the end begin a character that more bytes could finish.
    private static func unfinished(_ bytes: [UInt8]) -> Int {
        for length in 1...3 where length <= bytes.count {
            let start = bytes.count - length
            guard let sequence = UTF8Sequence(first: bytes[start]) else {
                // Behind a continuation byte its lead may follow; behind anything else nothing is open.
                if bytes[start] & 0xC0 == 0x80 { continue }
                return 0
            }
            let open = sequence.length > length && (length < 2 || sequence.second.contains(bytes[start + 1]))
            return open ? length : 0
        }
        return 0
    }
}
