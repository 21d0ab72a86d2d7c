/// Regular expressions as tokenizer.json has them (Oniguruma, Ruby's syntax) in PCRE2's syntax.
///
/// What both read alike stays; what they read differently (`\s`, `\w`, `\d`, `\h`, `\b`, `\v`, `(?m)`, `{n,m}+`, `{,n}`,
/// scripts, POSIX brackets) is spelled out; what has no counterpart is refused by name.
struct OnigurumaPattern {
    private let source: [Unicode.Scalar]
    private let text: String
    private var at = 0
    private var output: [Unicode.Scalar] = []
    /// Where the groups that are open begin in `output`.
    private var groups: [Int] = []
    /// Where what a quantifier would repeat begins in `output`.
    private var atom: Int?

    static let space = #"\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"#
    /// Outside brackets Oniguruma takes Latin-1's superscripts and fractions for letters of a word, though no others.
    private static let word = rustWord + #"\xb2\xb3\xb9\xbc-\xbe"#
    /// Letters of a word in brackets; but for the joiners U+200C and U+200D also to the library's other engine.
    static let rustWord = #"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}"#
    private static let boundary = "(?:(?<=[\(word)])(?![\(word)])|(?<![\(word)])(?=[\(word)]))"
    private static let noBoundary = "(?:(?<=[\(word)])(?=[\(word)])|(?<![\(word)])(?![\(word)]))"

    /// - Throws: where the pattern has something without a counterpart, naming it.
    static func translated(_ pattern: String) throws(TokenizerError) -> String {
        var translation = OnigurumaPattern(pattern)
        while translation.at < translation.source.count { try translation.step() }
        guard translation.groups.isEmpty else { throw translation.refused("a group without an end") }
        return String(String.UnicodeScalarView(translation.output))
    }

    private init(_ pattern: String) {
        text = pattern
        source = Array(pattern.unicodeScalars)
    }

    private func refused(_ what: String) -> TokenizerError {
        TokenizerError(
            .pattern, field: "pattern", value: text, expected: "an expression without \(what) at character \(at)")
    }

    private var next: Unicode.Scalar? { at < source.count ? source[at] : nil }

    private mutating func emit(_ text: String) { output.append(contentsOf: text.unicodeScalars) }

    private mutating func step() throws(TokenizerError) {
        let character = source[at]
        at += 1
        switch character {
        case "\\":
            atom = output.count
            try escape()
        case "[":
            atom = output.count
            try bracket()
        case "(":
            try group()
        case ")":
            guard let start = groups.popLast() else { throw refused("a ) too many") }
            emit(")")
            atom = start
        case "*", "+", "?": try quantifier(String(character))
        case "{":
            guard let interval = interval() else {
                atom = output.count
                emit("\\{")
                return
            }
            try quantifier(interval)
        case "|", "^", "$":
            output.append(character)
            atom = nil
        default:
            atom = output.count
            output.append(character)
        }
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}` behind the brace; nil where it is a brace and no interval.
    private mutating func interval() -> String? {
        guard let close = source[at...].firstIndex(of: "}") else { return nil }
        let parts = source[at..<close].split(separator: ",", omittingEmptySubsequences: false).map {
            String(String.UnicodeScalarView($0))
        }
        guard parts.count <= 2, parts.allSatisfy({ $0.isEmpty || UInt16($0) != nil }), parts != [""], parts != ["", ""] else {
            return nil
        }
        at = close + 1
        if parts.count == 1 { return "{\(parts[0])}" }
        return "{\(parts[0].isEmpty ? "0" : parts[0]),\(parts[1])}"
    }

    private mutating func quantifier(_ text: String) throws(TokenizerError) {
        guard let start = atom else { throw refused("a quantifier of nothing") }
        let isInterval = text.hasPrefix("{")
        emit(text)
        if let mark = next, mark == "?" || mark == "+" {
            at += 1
            if isInterval && (mark == "+" || !text.contains(",")) {
                // Ruby repeats the interval as a whole.
                output.insert(contentsOf: "(?:".unicodeScalars, at: start)
                emit(")")
            }
            output.append(mark)
        }
        if let mark = next, mark == "*" || mark == "+" || mark == "?" { throw refused("stacked quantifiers") }
        atom = nil
        if next == "{", let again = interval() { throw refused("stacked quantifiers (\(again))") }
    }

    private mutating func group() throws(TokenizerError) {
        groups.append(output.count)
        atom = nil
        emit("(")
        guard next == "?" else { return }
        at += 1
        guard let kind = next else { throw refused("a group without an end") }
        at += 1
        switch kind {
        case ":", "=", "!", ">": emit("?\(kind)")
        case "#":
            guard let close = source[at...].firstIndex(of: ")") else { throw refused("a comment without an end") }
            at = close + 1
            output.removeLast()
            groups.removeLast()
        case "<":
            guard let close = source[at...].firstIndex(of: ">") else {
                guard let behind = next, behind == "=" || behind == "!" else { throw refused("(?<") }
                emit("?<")
                return
            }
            emit("?<")
            if let behind = next, behind == "=" || behind == "!" { return }
            output.append(contentsOf: source[at...close])
            at = close + 1
        default:
            at -= 1
            try flags()
        }
    }

    /// `(?im-x:` or `(?i)`: Ruby's m is PCRE's s.
    private mutating func flags() throws(TokenizerError) {
        emit("?")
        while let flag = next {
            at += 1
            switch flag {
            case "i", "-": output.append(flag)
            case "m": emit("s")
            case ":": return emit(":")
            case ")":
                emit(")")
                groups.removeLast()
                return
            default: throw refused("(?\(flag)")
            }
        }
        throw refused("a group without an end")
    }

    // MARK: Escapes

    private mutating func escape() throws(TokenizerError) {
        guard let character = next else { throw refused("a backslash at the end") }
        at += 1
        switch character {
        case "w": emit("[\(Self.word)]")
        case "W": emit("[^\(Self.word)]")
        case "s": emit("[\(Self.space)]")
        case "S": emit("[^\(Self.space)]")
        case "h": emit("[0-9A-Fa-f]")
        case "H": emit("[^0-9A-Fa-f]")
        case "b": emit(Self.boundary)
        case "B": emit(Self.noBoundary)
        case "A", "z", "Z": emit("\\\(character)")
        case "1"..."9":
            if let digit = next, ("0"..."9").contains(digit) { throw refused("a reference of two digits") }
            emit("\\g{\(character)}")
        default: try common(character)
        }
    }

    /// Escapes that mean the same in brackets and outside.
    private mutating func common(_ character: Unicode.Scalar) throws(TokenizerError) {
        switch character {
        case "d": emit(#"\p{Nd}"#)
        case "D": emit(#"\P{Nd}"#)
        case "p", "P": try property(negated: character == "P")
        case "t", "n", "r", "f", "a", "e": emit("\\\(character)")
        case "v": emit(#"\x0b"#)
        case "x", "u", "0": try code(character)
        case "a"..."z", "A"..."Z", "1"..."9": throw refused("\\\(character)")
        default:
            if character.isASCII { emit("\\") }
            output.append(character)
        }
    }

    /// `\x{1F600}`, `\x41`, `\u00e9`, `\012`.
    private mutating func code(_ kind: Unicode.Scalar) throws(TokenizerError) {
        var digits = ""
        var radix = 16
        if kind == "x", next == "{" {
            guard let close = source[at...].firstIndex(of: "}") else { throw refused("\\x{ without an end") }
            digits = String(String.UnicodeScalarView(source[at + 1..<close]))
            at = close + 1
        } else {
            radix = kind == "0" ? 8 : 16
            let most = kind == "u" ? 4 : 2
            while digits.count < most, let digit = next, Int(String(digit), radix: radix) != nil {
                digits.unicodeScalars.append(digit)
                at += 1
            }
            if kind == "0", digits.isEmpty { digits = "0" }
            guard kind != "u" || digits.count == 4 else { throw refused("\\u without four digits") }
        }
        guard let value = UInt32(digits, radix: radix), let scalar = Unicode.Scalar(value) else {
            throw refused("\\\(kind)\(digits)")
        }
        emit("\\x{" + String(scalar.value, radix: 16) + "}")
    }

    private static let generalCategories: Set<String> = [
        "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe", "Pi",
        "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Cn", "Cs", "Any",
    ]
    private static let longNames = [
        "letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z", "other": "C",
        "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm",
        "otherletter": "Lo", "nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me", "decimalnumber": "Nd",
        "letternumber": "Nl", "othernumber": "No", "alpha": "Alphabetic", "alphabetic": "Alphabetic", "digit": "Nd",
        "lower": "Lowercase", "lowercase": "Lowercase", "upper": "Uppercase", "uppercase": "Uppercase",
        "whitespace": "WSpace", "space": "WSpace", "emoji": "Emoji", "any": "Any",
    ]

    /// `\p{L}`, `\p{^L}`, `\p{Han}`; names of scripts are looked up as such.
    private mutating func property(negated: Bool) throws(TokenizerError) {
        guard next == "{", let close = source[at...].firstIndex(of: "}") else { throw refused("\\p without a name") }
        var name = String(String.UnicodeScalarView(source[at + 1..<close]))
        at = close + 1
        var negated = negated
        if name.hasPrefix("^") {
            negated.toggle()
            name.removeFirst()
        }
        let plain = name.lowercased().filter { $0 != "_" && $0 != " " && $0 != "-" }
        guard !plain.isEmpty, plain.allSatisfy({ $0.isASCII && $0.isLetter }) else { throw refused("\\p{\(name)}") }
        let known = Self.generalCategories.first { $0.lowercased() == plain } ?? Self.longNames[plain]
        emit("\\\(negated ? "P" : "p"){\(known ?? "sc:" + plain)}")
    }

    // MARK: Brackets

    private mutating func bracket() throws(TokenizerError) {
        emit("[")
        if next == "^" {
            at += 1
            emit("^")
        }
        var isFirst = true
        while let character = next {
            at += 1
            var isSet = false
            switch character {
            case "]" where !isFirst: return emit("]")
            case "[":
                guard next == ":" else { throw refused("brackets in brackets") }
                try posix()
                isSet = true
            case "&" where next == "&": throw refused("&& in brackets")
            case "\\": isSet = try bracketEscape()
            case "]": emit("\\]")
            default: output.append(character)
            }
            isFirst = false
            // A set begins no range.
            if isSet, next == "-" {
                at += 1
                emit("\\-")
            }
        }
        throw refused("a bracket without an end")
    }

    /// - Returns: whether the escape is a set of characters.
    private mutating func bracketEscape() throws(TokenizerError) -> Bool {
        guard let character = next else { throw refused("a backslash at the end") }
        at += 1
        switch character {
        case "w": emit(Self.rustWord)
        case "s": emit(Self.space)
        case "S": emit(#"\P{WSpace}"#)
        case "h": emit("0-9A-Fa-f")
        case "b": emit(#"\x08"#)
        case "W", "H": throw refused("\\\(character) in brackets")
        default:
            try common(character)
            return "dDpP".unicodeScalars.contains(character)
        }
        return character != "b"
    }

    private static let posix = [
        "alpha": #"\p{Alphabetic}"#, "digit": #"\p{Nd}"#, "alnum": #"\p{Alphabetic}\p{Nd}"#, "upper": #"\p{Uppercase}"#,
        "lower": #"\p{Lowercase}"#, "space": space, "punct": #"\p{P}\p{S}"#, "word": rustWord, "xdigit": "0-9A-Fa-f",
        "cntrl": #"\p{Cc}"#, "blank": #"\p{Zs}\t"#,
    ]

    private mutating func posix() throws(TokenizerError) {
        guard let close = source[at...].firstIndex(of: "]"), close - at >= 2, source[close - 1] == ":" else {
            throw refused("brackets in brackets")
        }
        let name = String(String.UnicodeScalarView(source[at + 1..<close - 1]))
        guard let characters = Self.posix[name] else { throw refused("[:\(name):]") }
        at = close + 1
        emit(characters)
    }
}
