/// Cuts a template into text and the tokens of its tags, white space taken away as transformers sets Jinja up:
/// trim_blocks (the line break behind a block goes) and lstrip_blocks (blank space before a block at a line's start goes).
struct Lexer {
    enum Token {
        case text(Text)
        case outputBegin, outputEnd
        case blockBegin, blockEnd
        case name(String)
        case string(Text)
        case integer(Integer)
        case float(Double)
        case symbol(String)
        case end

        func isSymbol(_ text: String) -> Bool { if case .symbol(text) = self { true } else { false } }
        func isName(_ text: String) -> Bool { if case .name(text) = self { true } else { false } }
        var isEnd: Bool { if case .end = self { true } else { false } }
        var isBlockEnd: Bool { if case .blockEnd = self { true } else { false } }
        var isOutputEnd: Bool { if case .outputEnd = self { true } else { false } }
    }

    struct Item {
        let token: Token
        let line: Int
    }

    private let source: [Unicode.Scalar]
    private var at = 0
    private var line = 1
    private var items: [Item] = []
    /// Whether the text that follows begins at a line's start.
    private var atLineStart = true

    /// Bytes of the longest template: some five times what the longest of real models has.
    static let maximumSize = 256 << 10

    /// - Throws: `TemplateError` of reason syntax, or size.
    static func items(of template: String) throws(TemplateError) -> [Item] {
        guard template.utf8.count <= maximumSize else {
            throw TemplateError(.size, "it has \(template.utf8.count) bytes, and \(maximumSize) is the most")
        }
        var lexer = Lexer(template)
        try lexer.run()
        return lexer.items
    }

    private init(_ template: String) {
        var scalars = [Unicode.Scalar]()
        scalars.reserveCapacity(template.utf8.count)
        for scalar in template.unicodeScalars {
            if scalar == "\n", scalars.last == "\r" { scalars[scalars.count - 1] = "\n" } else { scalars.append(scalar) }
        }
        for index in scalars.indices where scalars[index] == "\r" { scalars[index] = "\n" }
        if scalars.last == "\n" { scalars.removeLast() }
        source = scalars
    }

    private func failure(_ message: String) -> TemplateError { TemplateError(.syntax, message, line: line) }

    private func peek(_ offset: Int = 0) -> Unicode.Scalar? { at + offset < source.count ? source[at + offset] : nil }

    private func sees(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes in
            for (offset, byte) in bytes.enumerated() {
                guard at + offset < source.count, source[at + offset].value == UInt32(byte) else { return false }
            }
            return true
        }
    }

    private mutating func advance(_ count: Int = 1) {
        for _ in 0..<count where at < source.count {
            if source[at] == "\n" { line += 1 }
            at += 1
        }
    }

    private mutating func run() throws(TemplateError) {
        while at < source.count {
            var text = takeText()
            guard at < source.count else {
                add(text)
                break
            }
            if sees("{#") {
                strip(&text, isBlock: true)
                add(text)
                try skipComment()
            } else if sees("{%") {
                strip(&text, isBlock: true)
                add(text)
                try block()
            } else {
                strip(&text, isBlock: false)
                add(text)
                items.append(Item(token: .outputBegin, line: line))
                skipMark()
                try tag(isBlock: false)
            }
        }
        items.append(Item(token: .end, line: line))
    }

    private mutating func add(_ text: ArraySlice<Unicode.Scalar>) {
        guard !text.isEmpty else { return }
        items.append(Item(token: .text(Text(points: text.map(\.value))), line: line))
    }

    /// Text up to the next tag.
    private mutating func takeText() -> ArraySlice<Unicode.Scalar> {
        let start = at
        while at < source.count {
            if source[at] == "{", let next = peek(1), next == "{" || next == "%" || next == "#" { break }
            advance()
        }
        return source[start..<at]
    }

    /// Takes away the white space that the tag at hand asks for.
    private func strip(_ text: inout ArraySlice<Unicode.Scalar>, isBlock: Bool) {
        let mark = peek(2)
        if mark == "-" {
            while let last = text.last, last.isPythonSpace { text.removeLast() }
        } else if isBlock, mark != "+" {
            let lineStart = text.lastIndex(of: "\n").map { $0 + 1 }
            guard let lineStart = lineStart ?? (atLineStart ? text.startIndex : nil) else { return }
            if text[lineStart...].allSatisfy({ $0.isPythonSpace }) { text = text[..<lineStart] }
        }
    }

    /// Skips `{%`, `{{` or `{#` with its mark.
    private mutating func skipMark() {
        advance(2)
        if peek() == "-" || peek() == "+" { advance() }
    }

    /// Skips an end of two characters, preceded by its mark, and the white space that it asks for.
    private mutating func skipEnd(trims: Bool) {
        let mark = peek()
        if mark == "-" || mark == "+" { advance() }
        advance(2)
        atLineStart = false
        if mark == "-" {
            while let next = peek(), next.isPythonSpace {
                atLineStart = next == "\n"
                advance()
            }
        } else if trims, mark != "+", peek() == "\n" {
            advance()
            atLineStart = true
        }
    }

    private mutating func skipComment() throws(TemplateError) {
        skipMark()
        while at < source.count {
            if sees("#}") || sees("-#}") || sees("+#}") { return skipEnd(trims: true) }
            advance()
        }
        throw failure("a comment has no end")
    }

    private mutating func block() throws(TemplateError) {
        skipMark()
        let after = (at: at, line: line)
        while let next = peek(), next.isPythonSpace { advance() }
        guard takeName() == "raw", isBlockEnd(), peek() != "+" else {
            (at, line) = after
            items.append(Item(token: .blockBegin, line: line))
            return try tag(isBlock: true)
        }
        skipEnd(trims: false)
        try raw()
    }

    private mutating func isBlockEnd() -> Bool {
        while let next = peek(), next.isPythonSpace { advance() }
        return sees("%}") || sees("-%}") || sees("+%}")
    }

    /// Text up to `{% endraw %}`, as it is.
    private mutating func raw() throws(TemplateError) {
        let start = at
        while at < source.count {
            guard sees("{%") else {
                advance()
                continue
            }
            var text = source[start..<at]
            strip(&text, isBlock: true)
            skipMark()
            while let next = peek(), next.isPythonSpace { advance() }
            if takeName() == "endraw", isBlockEnd() {
                add(text)
                return skipEnd(trims: true)
            }
        }
        throw failure("raw has no endraw")
    }

    private mutating func takeName() -> String {
        var name = String.UnicodeScalarView()
        while let next = peek(), next == "_" || next.properties.isXIDContinue {
            name.append(next)
            advance()
        }
        return String(name)
    }

    /// The tokens of a tag, up to its end.
    private mutating func tag(isBlock: Bool) throws(TemplateError) {
        var brackets: [Unicode.Scalar] = []
        while let next = peek() {
            if next.isPythonSpace {
                advance()
                continue
            }
            if brackets.isEmpty {
                if isBlock ? sees("%}") || sees("-%}") || sees("+%}") : sees("}}") || sees("-}}") {
                    items.append(Item(token: isBlock ? .blockEnd : .outputEnd, line: line))
                    return skipEnd(trims: isBlock)
                }
            }
            let begin = line
            let token = try token(next, &brackets)
            items.append(Item(token: token, line: begin))
        }
        throw failure("a tag has no end")
    }

    private mutating func token(
        _ next: Unicode.Scalar, _ brackets: inout [Unicode.Scalar]
    ) throws(TemplateError) -> Token {
        if next == "\"" || next == "'" { return .string(try takeString(next)) }
        if ("0"..."9").contains(next) { return try takeNumber() }
        if next == "_" || next.properties.isXIDStart { return .name(takeName()) }
        for symbol in ["**", "//", "==", "!=", "<=", ">="] as [StaticString] where sees(symbol) {
            advance(2)
            return .symbol(symbol.description)
        }
        switch next {
        case "(", "[", "{": brackets.append(next == "(" ? ")" : next == "[" ? "]" : "}")
        case ")", "]", "}":
            guard brackets.popLast() == next else { throw failure("unexpected '\(next)'") }
        case "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", "|", ",", ";": break
        default: throw failure("unexpected character '\(next)'")
        }
        advance()
        return .symbol(String(Character(next)))
    }

    /// Digits with single underscores between them.
    private mutating func takeDigits(_ isDigit: (Unicode.Scalar) -> Bool) -> String {
        var text = ""
        while let next = peek() {
            if isDigit(next) {
                text.unicodeScalars.append(next)
            } else if next != "_" || text.isEmpty || !(peek(1).map(isDigit) ?? false) {
                break
            }
            advance()
        }
        return text
    }

    private mutating func takeNumber() throws(TemplateError) -> Token {
        let isDecimal = { (scalar: Unicode.Scalar) in ("0"..."9").contains(scalar) }
        let radix = ["x": 16, "X": 16, "o": 8, "O": 8, "b": 2, "B": 2][peek(1) ?? " "]
        if peek() == "0", let radix {
            let isDigit = { (scalar: Unicode.Scalar) in
                scalar.isASCII && Character(scalar).hexDigitValue.map { $0 < radix } ?? false
            }
            let skipped = peek(2) == "_" ? 3 : 2
            if peek(skipped).map(isDigit) ?? false {
                advance(skipped)
                return .integer(try integer(takeDigits(isDigit), radix: radix))
            }
        }
        let (start, begin) = (at, line)
        var text = takeDigits(isDecimal)
        var isFloat = false
        if peek() == ".", let next = peek(1), isDecimal(next) {
            isFloat = true
            advance()
            text += "." + takeDigits(isDecimal)
        }
        if peek() == "e" || peek() == "E" {
            let isSigned = peek(1) == "-" || peek(1) == "+"
            if let next = peek(isSigned ? 2 : 1), isDecimal(next) {
                isFloat = true
                text += "e" + (peek(1) == "-" ? "-" : "")
                advance(isSigned ? 2 : 1)
                text += takeDigits(isDecimal)
            }
        }
        // Behind a dot (`x.0.1`) a number is an index.
        if isFloat, start == 0 || source[start - 1] != ".", let value = FloatText.parse(text) { return .float(value) }
        (at, line) = (start, begin)
        let digits = peek() == "0" ? takeDigits { $0 == "0" } : takeDigits(isDecimal)
        return .integer(try integer(digits, radix: 10))
    }

    private func integer(_ digits: String, radix: Int) throws(TemplateError) -> Integer {
        guard digits.utf8.count <= Integer.maximumDigits,
            let value = Integer(
                isNegative: false, digits: digits.map { UInt8($0.hexDigitValue ?? 0) }, radix: radix)
        else { throw failure("an integer has more than \(Integer.maximumDigits) digits") }
        return value
    }

    private mutating func takeString(_ quote: Unicode.Scalar) throws(TemplateError) -> Text {
        let begin = line
        advance()
        var text: [UInt32] = []
        while let next = peek() {
            advance()
            if next == quote { return Text(points: text) }
            guard next == "\\" else {
                text.append(next.value)
                continue
            }
            guard let escape = peek() else { break }
            advance()
            try takeEscape(escape, into: &text)
        }
        throw TemplateError(.syntax, "a string has no end", line: begin)
    }

    /// Python's escapes; an unknown one stays as it is.
    private mutating func takeEscape(_ escape: Unicode.Scalar, into text: inout [UInt32]) throws(TemplateError) {
        let plain: [Unicode.Scalar: UInt32] = [
            "n": 0x0A, "t": 0x09, "r": 0x0D, "\\": 0x5C, "'": 0x27, "\"": 0x22, "a": 0x07, "b": 0x08, "f": 0x0C, "v": 0x0B,
        ]
        let lengths: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]
        if let point = plain[escape] {
            text.append(point)
        } else if escape == "\n" {
            return
        } else if let length = lengths[escape] {
            let digits = source[at..<min(at + length, source.count)]
            let isHex = digits.count == length && digits.allSatisfy { $0.isASCII && $0.properties.isASCIIHexDigit }
            guard isHex, let point = UInt32(String(String.UnicodeScalarView(digits)), radix: 16), point <= 0x10FFFF else {
                throw failure("truncated \\\(escape) escape")
            }
            text.append(point)
            advance(length)
        } else if ("0"..."7").contains(escape) {
            var value = escape.value - 0x30
            for _ in 0..<2 {
                guard let next = peek(), ("0"..."7").contains(next) else { break }
                value = value * 8 + next.value - 0x30
                advance()
            }
            text.append(value)
        } else if escape == "N" {
            throw failure("characters by name (\\N) are not supported")
        } else if escape.isASCII {
            text += [0x5C, escape.value]
        } else {
            // Python has written the character as an escape before it reads the one before it.
            let value = escape.value
            let (mark, width) = value < 0x100 ? ("x", 2) : value < 0x10000 ? ("u", 4) : ("U", 8)
            text += ("\\" + mark + Interpreter.hex(value, width)).unicodeScalars.map(\.value)
        }
    }
}

extension Unicode.Scalar {
    fileprivate var isPythonSpace: Bool { CodePoint.isSpace(value) }
}
