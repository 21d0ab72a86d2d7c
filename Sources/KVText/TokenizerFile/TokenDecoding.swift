/// One step from tokens to text (`decoder`), as the tokenizers library does it: a list of strings in, a list out.
enum TokenDecoding: Sendable {
    case replace([UInt8], [UInt8])
    case byteFallback
    case fuse
    case strip([UInt8], start: Int, stop: Int)
    case byteLevel
    case metaspace([UInt8], stripsFirst: Bool)
    case wordPiece(prefix: [UInt8], cleans: Bool)
    /// The suffix of words becomes a space.
    case endOfWord([UInt8])

    /// - Throws: where the step, or one of its fields, is unknown.
    init(_ step: TokenizerFields) throws(TokenizerError) {
        switch try step.type() {
        case "Replace":
            guard let pattern = try step.fields("pattern") else { throw step.missing("pattern", "a String") }
            guard let literal = try pattern.bytes("String"), !literal.isEmpty else {
                throw step.unsupported("pattern", (try pattern.bytes("Regex")).map { String(decoding: $0, as: UTF8.self) } ?? "")
            }
            self = .replace(literal, try step.requiredBytes("content"))
        case "ByteFallback": self = .byteFallback
        case "Fuse": self = .fuse
        case "Strip":
            guard let start = try step.count("start"), let stop = try step.count("stop") else {
                throw step.missing("start", "how many characters are taken away, as stop")
            }
            self = .strip(try step.character("content"), start: start, stop: stop)
        case "ByteLevel": self = .byteLevel
        case "Metaspace":
            let scheme = step.json["prepend_scheme"] == nil ? "always" : try step.string("prepend_scheme")
            guard ["always", "first", "never"].contains(scheme) else { throw step.unsupported("prepend_scheme", scheme) }
            let adds = try step.bool("add_prefix_space", default: true)
            self = .metaspace(try step.character("replacement"), stripsFirst: adds && scheme != "never")
        case "WordPiece": self = .wordPiece(prefix: try step.requiredBytes("prefix"), cleans: try step.bool("cleanup"))
        case "BPEDecoder":
            let suffix = try step.requiredBytes("suffix")
            guard !suffix.isEmpty else { throw step.unsupported("suffix", "an empty string") }
            self = .endOfWord(suffix)
        case let other: throw step.unsupported("type", other)
        }
    }

    func apply(_ tokens: inout [[UInt8]]) {
        switch self {
        case .fuse: tokens = [tokens.flatMap { $0 }]
        case .byteLevel: tokens = [Self.valid(tokens.flatMap { Self.byteLevel($0) })]
        case .byteFallback: Self.joinBytes(&tokens)
        case .endOfWord(let suffix):
            for index in tokens.indices {
                tokens[index] = Self.replace(tokens[index], suffix, index == tokens.count - 1 ? [] : [0x20])
            }
        default: for index in tokens.indices { tokens[index] = one(tokens[index], isFirst: index == 0) }
        }
    }

    /// What becomes of one token, whatever stands behind it; nil where that matters.
    func one(_ token: [UInt8], isFirst: Bool) -> [UInt8] {
        switch self {
        case .replace(let pattern, let content): return Self.replace(token, pattern, content)
        case .byteFallback: return Self.byte(token).map { [$0] } ?? token
        case .fuse, .endOfWord: return token
        case .strip(let content, let start, let stop): return Self.strip(token, content, start, stop)
        case .byteLevel: return Self.byteLevel(token)
        case .metaspace(let replacement, let stripsFirst):
            return Self.replace(token, replacement, isFirst && stripsFirst ? [] : [0x20])
        case .wordPiece(let prefix, let cleans):
            var text = token
            if !isFirst { text = token.starts(with: prefix) ? Array(token.dropFirst(prefix.count)) : [0x20] + token }
            return cleans ? Self.clean(text) : text
        }
    }

    private static func byteLevel(_ token: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        ByteAlphabet.appendBytes(of: token[...], to: &bytes)
        return bytes
    }

    private static func valid(_ bytes: [UInt8]) -> [UInt8] { Array(String(decoding: bytes, as: UTF8.self).utf8) }

    private static func replace(_ text: [UInt8], _ pattern: [UInt8], _ content: [UInt8]) -> [UInt8] {
        guard text.count >= pattern.count else { return text }
        var output: [UInt8] = []
        var at = 0
        while at < text.count {
            if text[at] == pattern[0], text[at...].starts(with: pattern) {
                output.append(contentsOf: content)
                at += pattern.count
            } else {
                output.append(text[at])
                at += 1
            }
        }
        return output
    }

    private static func strip(_ text: [UInt8], _ content: [UInt8], _ start: Int, _ stop: Int) -> [UInt8] {
        var slice = text[...]
        var left = start
        while left > 0, slice.starts(with: content) {
            slice = slice.dropFirst(content.count)
            left -= 1
        }
        left = stop
        while left > 0, slice.count >= content.count, slice.suffix(content.count).elementsEqual(content) {
            slice = slice.dropLast(content.count)
            left -= 1
        }
        return Array(slice)
    }

    /// The byte that `<0x0A>` stands for.
    static func byte(_ token: [UInt8]) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
        return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
    }

    /// Runs of byte tokens become their text; where that is none, U+FFFD for each byte.
    private static func joinBytes(_ tokens: inout [[UInt8]]) {
        var output: [[UInt8]] = []
        var run: [UInt8] = []
        func flush() {
            guard !run.isEmpty else { return }
            if run.withUnsafeBufferPointer(UTF8Repair.isValid) {
                output.append(run)
            } else {
                output += Array(repeating: [0xEF, 0xBF, 0xBD], count: run.count)
            }
            run = []
        }
        for token in tokens {
            if let byte = byte(token) {
                run.append(byte)
            } else {
                flush()
                output.append(token)
            }
        }
        flush()
        tokens = output
    }

    private static func clean(_ text: [UInt8]) -> [UInt8] {
        let rules = [
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
            (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        ]
        return rules.reduce(text) { replace($0, Array($1.0.utf8), Array($1.1.utf8)) }
    }
}

/// The way from ids to text of a tokenizer.json.
struct TokenDecoder: Sendable {
    private let steps: [TokenDecoding]
    /// Whether the file has no decoder at all: then tokens are set apart by spaces.
    private let isAbsent: Bool

    init(_ steps: [TokenizerFields], isAbsent: Bool) throws(TokenizerError) {
        self.isAbsent = isAbsent
        var decoders: [TokenDecoding] = []
        for step in steps { decoders.append(try TokenDecoding(step)) }
        self.steps = decoders
    }

    /// The text of a whole list of tokens.
    func text(_ tokens: [[UInt8]]) -> String {
        guard !tokens.isEmpty else { return "" }
        if isAbsent { return String(decoding: Array(tokens.joined(separator: [0x20])), as: UTF8.self) }
        var tokens = tokens
        for step in steps { step.apply(&tokens) }
        return String(decoding: tokens.flatMap { $0 }, as: UTF8.self)
    }

    /// Whether every token stands for bytes of its own wherever it stands behind the first.
    var isTokenwise: Bool {
        if isAbsent { return true }
        var joined = false
        var bytes = false
        for step in steps {
            switch step {
            case .fuse: joined = true
            case .byteFallback where !joined && !bytes, .byteLevel where !joined && !bytes: bytes = true
            case .strip(_, _, let stop) where joined && stop == 0: continue
            case .replace where !joined && !bytes, .metaspace where !joined && !bytes, .wordPiece where !joined && !bytes,
                .strip where !joined && !bytes:
                continue
            default: return false
            }
        }
        return true
    }

    /// The bytes of one token behind others. Strips behind a fuse take from the text's beginning only.
    func bytes(_ token: [UInt8]) -> [UInt8] {
        if isAbsent { return [0x20] + token }
        var token = token
        for step in steps {
            if case .fuse = step { break }
            token = step.one(token, isFirst: false)
        }
        return token
    }
}
