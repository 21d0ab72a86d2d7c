/// One step that cuts a text into pieces (`pre_tokenizer`), as the tokenizers library does it.
enum PreTokenization: Sendable {
    case split(Pattern, SplitBehavior, invert: Bool)
    case metaspace(replacement: [UInt8], PrependScheme, splits: Bool)
    /// Bytes as their characters of the byte-level alphabet, cut by GPT-2's rule where there is one.
    case byteLevel(addsSpace: Bool, Pattern?)
    case fixedLength(Int)

    enum SplitBehavior: String, Sendable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    enum PrependScheme: String, Sendable { case first, never, always }

    /// A piece of a text.
    struct Piece: Sendable {
        var start: Int
        var end: Int
        /// Whether it begins where the whole text began.
        var isFirst: Bool
    }

    /// The steps of a field; one field is sometimes several of them.
    /// - Throws: where the step, or one of its fields, is unknown.
    static func steps(_ step: TokenizerFields) throws(TokenizerError) -> [PreTokenization] {
        func pattern(_ text: String, _ behavior: SplitBehavior, invert: Bool = false) throws(TokenizerError) -> PreTokenization {
            .split(try Pattern(text), behavior, invert: invert)
        }
        switch try step.type() {
        case "Split":
            let (pattern, behavior) = (try step.pattern("pattern"), try behavior(step))
            return [.split(pattern, behavior, invert: try step.bool("invert", default: false))]
        case "ByteLevel":
            let adds = try step.bool("add_prefix_space")
            return [.byteLevel(addsSpace: adds, try step.bool("use_regex", default: true) ? Pattern(PreTokenizerRule.gpt2) : nil)]
        case "Metaspace": return [try metaspace(step)]
        case "WhitespaceSplit": return [try pattern(#"\s"#, .removed)]
        case "Whitespace":
            let word = OnigurumaPattern.rustWord + #"\x{200C}\x{200D}"#
            return [try pattern("[\(word)]+|[^\(word)\(OnigurumaPattern.space)]+", .removed, invert: true)]
        case "Digits":
            return [try pattern(#"\p{N}"#, try step.bool("individual_digits") ? .isolated : .contiguous)]
        case "Punctuation":
            return [try pattern(punctuation, step.json["behavior"] == nil ? .isolated : try behavior(step))]
        case "BertPreTokenizer": return [try pattern(#"\s"#, .removed), try pattern(punctuation, .isolated)]
        case "CharDelimiterSplit":
            return [.split(try Pattern(literal: try step.character("delimiter")), .removed, invert: false)]
        case "FixedLength":
            guard let length = try step.count("length"), length > 0 else {
                throw step.malformed("length", step.json["length"]?.shown ?? "", "at least one character")
            }
            return [.fixedLength(length)]
        case let other: throw step.unsupported("type", other)
        }
    }

    /// ASCII's punctuation and symbols, and Unicode's punctuation.
    private static let punctuation = #"[!-/:-@\[-`{-~\p{P}]"#

    private static func behavior(_ step: TokenizerFields) throws(TokenizerError) -> SplitBehavior {
        let name = try step.string("behavior")
        guard let behavior = SplitBehavior(rawValue: name) else { throw step.unsupported("behavior", name) }
        return behavior
    }

    private static func metaspace(_ step: TokenizerFields) throws(TokenizerError) -> PreTokenization {
        let name = step.json["prepend_scheme"] == nil ? "always" : try step.string("prepend_scheme")
        guard var scheme = PrependScheme(rawValue: name) else { throw step.unsupported("prepend_scheme", name) }
        if try !step.bool("add_prefix_space", default: true) {
            guard scheme == .never || step.json["prepend_scheme"] == nil else {
                throw step.malformed("add_prefix_space", "false", "what prepend_scheme says, \(name)")
            }
            scheme = .never
        }
        return .metaspace(
            replacement: try step.character("replacement"), scheme, splits: try step.bool("split", default: true))
    }

    /// Whether the step cuts at matches and at nothing else, and changes no byte.
    var isolating: Pattern? {
        if case .split(let pattern, .isolated, _) = self { pattern } else { nil }
    }

    /// Whether the step changes the text that it cuts.
    var changesText: Bool {
        switch self {
        case .split, .fixedLength: false
        case .metaspace, .byteLevel: true
        }
    }

    // MARK: Cutting

    /// Cuts the pieces of a text further, and changes the text where the step does; no piece is empty.
    func apply(_ text: inout [UInt8], _ pieces: inout [Piece], _ state: MatchState) throws(TokenizerError) {
        var output: [Piece] = []
        output.reserveCapacity(pieces.count)
        switch self {
        case .split(let pattern, let behavior, let invert):
            try text.withUnsafeBufferPointer { text throws(TokenizerError) in
                for piece in pieces {
                    try Self.split(text, piece, pattern, behavior, invert: invert, into: &output, state)
                }
            }
        case .fixedLength(let length): Self.cut(text, pieces, length, into: &output)
        case .metaspace(let replacement, let scheme, let splits):
            var changed: [UInt8] = []
            changed.reserveCapacity(text.count + text.count / 4)
            for piece in pieces {
                Self.metaspace(text, piece, replacement, scheme, splits, into: &changed, &output)
            }
            text = changed
        case .byteLevel(let addsSpace, let pattern):
            try Self.byteLevel(&text, pieces, addsSpace, pattern, into: &output, state)
        }
        pieces = output
    }

    private static func split(
        _ text: UnsafeBufferPointer<UInt8>, _ piece: Piece, _ pattern: Pattern, _ behavior: SplitBehavior, invert: Bool,
        into output: inout [Piece], _ state: MatchState
    ) throws(TokenizerError) {
        var found: [Range<Int>] = []
        try pattern.find(UnsafeBufferPointer(rebasing: text[piece.start..<piece.end]), into: &found, state)
        var parts: [(start: Int, end: Int, isMatch: Bool)] = []
        parts.reserveCapacity(found.count * 2 + 1)
        var at = piece.start
        for match in found {
            let (start, end) = (piece.start + match.lowerBound, piece.start + match.upperBound)
            if start > at { parts.append((at, start, invert)) }
            parts.append((start, end, !invert))
            at = end
        }
        if at < piece.end { parts.append((at, piece.end, invert)) }
        func append(_ start: Int, _ end: Int) {
            if end > start { output.append(Piece(start: start, end: end, isFirst: piece.isFirst && start == piece.start)) }
        }
        switch behavior {
        case .isolated: for part in parts { append(part.start, part.end) }
        case .removed: for part in parts where !part.isMatch { append(part.start, part.end) }
        case .contiguous, .mergedWithPrevious:
            var merged: [(start: Int, end: Int)] = []
            var previous = false
            for part in parts {
                let joins = behavior == .contiguous ? part.isMatch == previous : part.isMatch && !previous
                if joins, !merged.isEmpty { merged[merged.count - 1].end = part.end } else { merged.append((part.start, part.end)) }
                previous = part.isMatch
            }
            for part in merged { append(part.start, part.end) }
        case .mergedWithNext:
            var merged: [(start: Int, end: Int)] = []
            var previous = false
            for part in parts.reversed() {
                if part.isMatch, !previous, !merged.isEmpty {
                    merged[merged.count - 1].start = part.start
                } else {
                    merged.append((part.start, part.end))
                }
                previous = part.isMatch
            }
            for part in merged.reversed() { append(part.start, part.end) }
        }
    }

    private static func cut(_ text: [UInt8], _ pieces: [Piece], _ length: Int, into output: inout [Piece]) {
        for piece in pieces {
            var start = piece.start
            var characters = 0
            for at in piece.start..<piece.end where text[at] & 0xC0 != 0x80 {
                if characters == length {
                    output.append(Piece(start: start, end: at, isFirst: piece.isFirst && start == piece.start))
                    (start, characters) = (at, 0)
                }
                characters += 1
            }
            if start < piece.end {
                output.append(Piece(start: start, end: piece.end, isFirst: piece.isFirst && start == piece.start))
            }
        }
    }

    private static func metaspace(
        _ text: [UInt8], _ piece: Piece, _ replacement: [UInt8], _ scheme: PrependScheme, _ splits: Bool,
        into changed: inout [UInt8], _ output: inout [Piece]
    ) {
        let body = text[piece.start..<piece.end]
        let begins = body.first == 0x20 || body.starts(with: replacement)
        let start = changed.count
        if !begins, scheme == .always || scheme == .first && piece.isFirst { changed.append(contentsOf: replacement) }
        var cuts = [start]
        var at = piece.start
        while at < piece.end {
            let isSpace = text[at] == 0x20
            if isSpace || text[at] == replacement[0] && text[at..<piece.end].starts(with: replacement) {
                if splits, changed.count > start { cuts.append(changed.count) }
                changed.append(contentsOf: replacement)
                at += isSpace ? 1 : replacement.count
            } else {
                changed.append(text[at])
                at += 1
            }
        }
        cuts.append(changed.count)
        for (start, end) in zip(cuts, cuts.dropFirst()) where end > start {
            output.append(Piece(start: start, end: end, isFirst: piece.isFirst && start == cuts[0]))
        }
    }

    private static func byteLevel(
        _ text: inout [UInt8], _ pieces: [Piece], _ addsSpace: Bool, _ pattern: Pattern?, into output: inout [Piece],
        _ state: MatchState
    ) throws(TokenizerError) {
        var changed: [UInt8] = []
        changed.reserveCapacity(text.count * 2)
        var body: [UInt8] = []
        var ends: [Int] = []
        for piece in pieces {
            body.removeAll(keepingCapacity: true)
            if addsSpace, text[piece.start] != 0x20 { body.append(0x20) }
            body.append(contentsOf: text[piece.start..<piece.end])
            ends.removeAll(keepingCapacity: true)
            if let pattern {
                try body.withUnsafeBufferPointer { body throws(TokenizerError) in
                    try pattern.split(body, base: 0, into: &ends, state)
                }
            } else {
                ends.append(body.count)
            }
            var start = 0
            for end in ends {
                let first = changed.count
                for byte in body[start..<end] { ByteAlphabet.append(byte, to: &changed) }
                output.append(Piece(start: first, end: changed.count, isFirst: piece.isFirst && start == 0))
                start = end
            }
        }
        text = changed
    }
}
