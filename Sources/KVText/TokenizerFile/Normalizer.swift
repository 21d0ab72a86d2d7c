import Foundation

/// One step that changes a text before it is cut (`normalizer`), as the tokenizers library does it.
enum Normalizer: Sendable {
    case prepend([UInt8])
    case replace(Pattern, [UInt8])
    case strip(left: Bool, right: Bool)
    case stripAccents
    case normalForm(NormalForm)
    case lowercase
    /// SentencePiece's rules of 2018: control characters go, other white space becomes a space.
    case nmt
    case characterMap(CharacterMap)
    case bert(cleansText: Bool, spacesIdeographs: Bool, stripsAccents: Bool, lowercases: Bool)
    /// Every byte as its character of the byte-level alphabet.
    case byteLevel

    enum NormalForm: Sendable {
        case composed, decomposed, compatiblyComposed, compatiblyDecomposed

        func of(_ text: String) -> String {
            switch self {
            case .composed: text.precomposedStringWithCanonicalMapping
            case .decomposed: text.decomposedStringWithCanonicalMapping
            case .compatiblyComposed: text.precomposedStringWithCompatibilityMapping
            case .compatiblyDecomposed: text.decomposedStringWithCompatibilityMapping
            }
        }
    }

    /// - Throws: where the step, or one of its fields, is unknown.
    init(_ step: TokenizerFields) throws(TokenizerError) {
        switch try step.type() {
        case "Prepend": self = .prepend(try step.requiredBytes("prepend"))
        case "Replace":
            let pattern = try step.pattern("pattern")
            // The library loses track of its places where it puts something between two characters.
            guard !pattern.matchesNothing else { throw step.unsupported("pattern", "\(pattern.text), which matches nothing") }
            self = .replace(pattern, try step.requiredBytes("content"))
        case "Strip": self = .strip(left: try step.bool("strip_left"), right: try step.bool("strip_right"))
        case "StripAccents": self = .stripAccents
        case "NFC": self = .normalForm(.composed)
        case "NFD": self = .normalForm(.decomposed)
        case "NFKC": self = .normalForm(.compatiblyComposed)
        case "NFKD": self = .normalForm(.compatiblyDecomposed)
        case "Lowercase": self = .lowercase
        case "Nmt": self = .nmt
        case "ByteLevel": self = .byteLevel
        case "Precompiled":
            let data = Data(base64Encoded: Data(try step.requiredBytes("precompiled_charsmap")))
            guard let data, let map = CharacterMap([UInt8](data)) else {
                throw step.malformed(
                    "precompiled_charsmap", "\(data?.count ?? 0) bytes",
                    "a trie, and replacements of at most \(CharacterMap.longestReplacement) bytes, in base 64")
            }
            self = .characterMap(map)
        case "BertNormalizer":
            let lowercases = try step.bool("lowercase")
            self = .bert(
                cleansText: try step.bool("clean_text"), spacesIdeographs: try step.bool("handle_chinese_chars"),
                stripsAccents: try step.bool("strip_accents", default: lowercases), lowercases: lowercases)
        case let other: throw step.unsupported("type", other)
        }
    }

    /// Changes valid UTF-8 in place.
    /// - Returns: whether the text still begins with what it began with, changed or not, rather than with what came later.
    func apply(_ text: inout [UInt8], _ state: MatchState) throws(TokenizerError) -> Bool {
        guard !text.isEmpty else { return true }
        switch self {
        case .prepend(let prefix): text.insert(contentsOf: prefix, at: 0)
        case .replace(let pattern, let content): return try Self.replace(&text, pattern, content, state)
        case .strip(let left, let right): return Self.strip(&text, left, right)
        case .stripAccents: return Self.filter(&text) { !CharacterClass.isMark($0) }
        case .normalForm(let form): Self.bring(&text, into: form)
        case .lowercase: Self.lowercase(&text)
        case .nmt: return Self.nmt(&text)
        case .characterMap(let map): map.apply(&text)
        case .byteLevel: text = text.flatMap(ByteAlphabet.written)
        case .bert(let cleans, let spaces, let strips, let lowers):
            var keeps = true
            if cleans { keeps = Self.clean(&text) }
            if spaces { Self.spaceIdeographs(&text) }
            if strips {
                Self.bring(&text, into: .decomposed)
                keeps = Self.filter(&text) { $0.properties.generalCategory != .nonspacingMark } && keeps
            }
            if lowers { Self.lowercase(&text) }
            return keeps
        }
        return true
    }

    private static func bring(_ text: inout [UInt8], into form: NormalForm) {
        guard text.contains(where: { $0 >= 0x80 }) else { return }
        text = Array(form.of(String(decoding: text, as: UTF8.self)).utf8)
    }

    private static func replace(
        _ text: inout [UInt8], _ pattern: Pattern, _ content: [UInt8], _ state: MatchState
    ) throws(TokenizerError) -> Bool {
        var matches: [Range<Int>] = []
        try text.withUnsafeBufferPointer { text throws(TokenizerError) in try pattern.find(text, into: &matches, state) }
        guard let first = matches.first else { return true }
        let added = content.count.multipliedReportingOverflow(by: matches.count)
        guard !added.overflow, text.count + added.partialValue < Int(Int32.max) else {
            throw TokenizerError(.textTooLong, field: "text", value: "\(matches.count) replacements", expected: "less than 2 GiB")
        }
        var output: [UInt8] = []
        output.reserveCapacity(text.count + added.partialValue)
        var at = 0
        for match in matches {
            output.append(contentsOf: text[at..<match.lowerBound])
            output.append(contentsOf: content)
            at = match.upperBound
        }
        output.append(contentsOf: text[at...])
        // What stands for several characters counts as the last of them.
        let head = text[first]
        let characters = head.count { $0 & 0xC0 != 0x80 }
        text = output
        return first.lowerBound > 0 || head.isEmpty || !content.isEmpty && characters == 1
    }

    private static func strip(_ text: inout [UInt8], _ left: Bool, _ right: Bool) -> Bool {
        let scalars = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
        var start = 0
        var end = scalars.count
        if left { while start < end, CharacterClass.isSpace(scalars[start]) { start += 1 } }
        if right { while end > start, CharacterClass.isSpace(scalars[end - 1]) { end -= 1 } }
        if start > 0 || end < scalars.count { text = bytes(scalars[start..<end]) }
        return start == 0
    }

    private static func bytes(_ scalars: some Sequence<Unicode.Scalar>) -> [UInt8] {
        var bytes: [UInt8] = []
        for scalar in scalars { bytes.append(contentsOf: UTF8.encode(scalar).map { Array($0) } ?? []) }
        return bytes
    }

    private static func filter(_ text: inout [UInt8], _ keeps: (Unicode.Scalar) -> Bool) -> Bool {
        let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
        let first = scalars.first.map(keeps) ?? true
        text = bytes(scalars.lazy.filter(keeps))
        return first
    }

    private static func lowercase(_ text: inout [UInt8]) {
        text = Array(
            String(decoding: text, as: UTF8.self).unicodeScalars.lazy.flatMap { $0.properties.lowercaseMapping.utf8 })
    }

    private static func map(_ text: inout [UInt8], _ change: (Unicode.Scalar) -> Unicode.Scalar) {
        text = bytes(String(decoding: text, as: UTF8.self).unicodeScalars.lazy.map(change))
    }

    private static func nmt(_ text: inout [UInt8]) -> Bool {
        let keeps = filter(&text) {
            switch $0.value {
            case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: false
            default: true
            }
        }
        map(&text) {
            switch $0.value {
            case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: " "
            default: $0
            }
        }
        return keeps
    }

    private static func clean(_ text: inout [UInt8]) -> Bool {
        let keeps = filter(&text) {
            if $0 == "\t" || $0 == "\n" || $0 == "\r" { return true }
            return $0.value != 0 && $0.value != 0xFFFD && !CharacterClass.isOther($0)
        }
        map(&text) { CharacterClass.isSpace($0) ? " " : $0 }
        return keeps
    }

    private static func spaceIdeographs(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            let isIdeograph = CharacterClass.isIdeograph(scalar)
            if isIdeograph { output.append(0x20) }
            output.append(contentsOf: bytes(CollectionOfOne(scalar)))
            if isIdeograph { output.append(0x20) }
        }
        text = output
    }
}

extension CharacterMap {
    /// Rewrites a text as the tokenizers library does: a cluster of less than six bytes as a whole, else its characters;
    /// of the rules that fit its beginning the shortest counts, and stands for all of it.
    func apply(_ text: inout [UInt8]) {
        var output: [UInt8] = []
        output.reserveCapacity(text.count)
        for cluster in String(decoding: text, as: UTF8.self) {
            let bytes = Array(cluster.utf8)
            if bytes.count < 6, let replacement = shortest(bytes) {
                output.append(contentsOf: replacement)
                continue
            }
            for scalar in cluster.unicodeScalars {
                let bytes = Array(String(scalar).utf8)
                output.append(contentsOf: shortest(bytes) ?? bytes[...])
            }
        }
        text = output
    }
}
