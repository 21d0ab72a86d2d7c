/// Text from ids that come one at a time, never half a character.
///
/// What `append` and `finish` return, joined, is what `Tokenizer.decode` makes of all ids as the continuation of a text. Where
/// a tokenizer.json has a decoder that looks at several tokens at once, it is what the tokenizers library's `DecodeStream`
/// gives: ids since the last text are decoded together with those of that text.
package struct StreamDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let special: Bool
    /// The beginning of a character that is not whole yet, at most three bytes.
    private var held: [UInt8] = []
    /// Of decoders that look at several tokens: ids whose text counts, and how many of them have been given out.
    private var window: [Int32] = []
    private var given = 0

    /// - Parameter special: whether control tokens are written out, rather than left out.
    package init(_ tokenizer: Tokenizer, special: Bool = false) {
        self.tokenizer = tokenizer
        self.special = special
    }

    /// The characters that this token made whole; often none, often several.
    package mutating func append(_ id: Int32) -> String {
        guard special || !tokenizer.isSpecial(id) else { return "" }
        guard tokenizer.isTokenwise else {
            window.append(id)
            return advance(isLast: false)
        }
        held.append(contentsOf: tokenizer.bytes(of: id))
        let whole = held.count - Self.unfinished(held)
        let text = String(decoding: held[..<whole], as: UTF8.self)
        held.removeFirst(whole)
        return text
    }

    /// U+FFFD for a character that was never finished, else nothing.
    package mutating func finish() -> String {
        guard tokenizer.isTokenwise else { return advance(isLast: true) }
        defer { held.removeAll() }
        return String(decoding: held, as: UTF8.self)
    }

    /// The text of the window behind what was given out; none while it may end in half a character.
    private mutating func advance(isLast: Bool) -> String {
        let before = tokenizer.decode(window[..<given], special: special).unicodeScalars
        let text = tokenizer.decode(window, special: special).unicodeScalars
        guard isLast || text.last != "\u{FFFD}" else { return "" }
        let common = zip(before, text).prefix { $0 == $1 }.count
        let new = String(String.UnicodeScalarView(text.dropFirst(common)))
        guard !new.isEmpty else { return "" }
        window.removeFirst(given)
        given = window.count
        return new
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
