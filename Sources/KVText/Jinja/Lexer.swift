/// Cuts a template into text and the tokens of its tags, white space taken away as transformers sets Jinja up:
/// trim_blocks (the line break behind a block goes) and lstrip_blocks (blank space before a block at a line's start goes).
struct Lexer {
    enum Token: Equatable {
        case text(String)
        case outputBegin, outputEnd
        case blockBegin, blockEnd
        case name(String)
        case string(String)
        case integer(Int)
        case float(Double)
        case symbol(String)
        case end
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
        var string = String.UnicodeScalarView()
        string.append(contentsOf: text)
        items.append(Item(token: .text(String(string)), line: line))
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
            while let last = text.last, last.properties.isWhitespace { text.removeLast() }
        } else if isBlock, mark != "+" {
            let lineStart = text.lastIndex(of: "\n").map { $0 + 1 }
            guard let lineStart = lineStart ?? (atLineStart ? text.startIndex : nil) else { return }
            if text[lineStart...].allSatisfy({ $0.properties.isWhitespace }) { text = text[..<lineStart] }
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
            while let next = peek(), next.properties.isWhitespace {
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
        while let next = peek(), next.properties.isWhitespace { advance() }
        guard takeName() == "raw", isBlockEnd() else {
            (at, line) = after
            items.append(Item(token: .blockBegin, line: line))
            return try tag(isBlock: true)
        }
        skipEnd(trims: true)
        try raw()
    }

    private mutating func isBlockEnd() -> Bool {
        while let next = peek(), next.properties.isWhitespace { advance() }
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
            while let next = peek(), next.properties.isWhitespace { advance() }
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
            if next.properties.isWhitespace {
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

    private mutating func takeNumber() throws(TemplateError) -> Token {
        func digits(_ lexer: inout Lexer) -> String {
            var text = ""
            while let next = lexer.peek(), next == "_" || ("0"..."9").contains(next) {
                if next != "_" { text.unicodeScalars.append(next) }
                lexer.advance()
            }
            return text
        }
        var text = digits(&self)
        var isFloat = false
        if peek() == ".", let next = peek(1), ("0"..."9").contains(next) {
            isFloat = true
            advance()
            text += "." + digits(&self)
        }
        if peek() == "e" || peek() == "E" {
            let signed = peek(1) == "-" || peek(1) == "+"
            if let next = peek(signed ? 2 : 1), ("0"..."9").contains(next) {
                isFloat = true
                text += "e" + (peek(1) == "-" ? "-" : "")
                advance(signed ? 2 : 1)
                text += digits(&self)
            }
        }
        if isFloat, let value = Double(text) { return .float(value) }
        guard let value = Int(text) else { throw failure("the number \(text.prefix(40)) is too large") }
        return .integer(value)
    }

    private mutating func takeString(_ quote: Unicode.Scalar) throws(TemplateError) -> String {
        let begin = line
        advance()
        var text = String.UnicodeScalarView()
        while let next = peek() {
            advance()
            if next == quote { return String(text) }
            guard next == "\\" else {
                text.append(next)
                continue
            }
            guard let escape = peek() else { break }
            advance()
            takeEscape(escape, into: &text)
        }
        throw TemplateError(.syntax, "a string has no end", line: begin)
    }

    /// Python's escapes; an unknown one stays as it is.
    private mutating func takeEscape(_ escape: Unicode.Scalar, into text: inout String.UnicodeScalarView) {
        let plain: [Unicode.Scalar: Unicode.Scalar] = [
            "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", "\"": "\"", "a": "\u{7}", "b": "\u{8}", "f": "\u{C}",
            "v": "\u{B}",
        ]
        let lengths: [Unicode.Scalar: Int] = ["x": 2, "u": 4, "U": 8]
        if let scalar = plain[escape] {
            text.append(scalar)
        } else if escape == "\n" {
            return
        } else if let length = lengths[escape] {
            let hex = String(String.UnicodeScalarView(source[at..<min(at + length, source.count)]))
            if hex.unicodeScalars.count == length, let scalar = UInt32(hex, radix: 16).flatMap(Unicode.Scalar.init) {
                text.append(scalar)
                advance(length)
            } else {
                text.append(contentsOf: ["\\", escape])
            }
        } else if ("0"..."7").contains(escape) {
            var value = escape.value - 0x30
            for _ in 0..<2 {
                guard let next = peek(), ("0"..."7").contains(next) else { break }
                value = value * 8 + next.value - 0x30
                advance()
            }
            text.append(Unicode.Scalar(value) ?? "\u{FFFD}")
        } else {
            text.append(contentsOf: ["\\", escape])
        }
    }
}
