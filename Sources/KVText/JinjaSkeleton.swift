/// A Jinja template taken apart just far enough to tell whether it is one of the forms known: statements and outputs,
/// free of what does not change their meaning (spaces, quotes, how strings are joined, `a.b` for `a['b']`).
///
/// It is read as chat templates are: `trim_blocks` and `lstrip_blocks` on.
struct JinjaSkeleton {
    enum Part: Equatable {
        case literal(String)
        case expression(String)
    }

    enum Item: Equatable {
        /// `{% … %}`, without spaces outside strings.
        case statement(String)
        /// Text and `{{ … }}`, as far as they follow one another.
        case output([Part])
    }

    private(set) var items: [Item] = []

    /// nil where a tag does not end.
    init?(_ template: String) {
        var rest = Substring(template)
        var trimsNext = false
        var beginsLine = true
        while let open = Self.firstTag(rest) {
            var text = rest[..<open]
            let kind = rest[rest.index(after: open)]
            var body = rest[rest.index(open, offsetBy: 2)...]
            guard let close = Self.end(of: kind, body) else { return nil }
            rest = body[close...].dropFirst(2)
            body = body[..<close]
            if trimsNext { text = text.trimmingStart() }
            if body.first == "-" {
                body = body.dropFirst()
                text = text.trimmingEnd()
            } else if kind != "{" {
                text = text.trimmingIndent(beginsLine: beginsLine)
            }
            append([.literal(String(text))])
            trimsNext = body.last == "-"
            if trimsNext { body = body.dropLast() }
            if kind == "{" { append(Self.parts(body)) }
            if kind == "%" { items.append(.statement(Self.squeezed(body))) }
            beginsLine = kind != "{" && rest.first == "\n"
            if beginsLine { rest = rest.dropFirst() }
        }
        if trimsNext { rest = rest.trimmingStart() }
        append([.literal(String(rest))])
    }

    /// Joins outputs, and literals within them.
    private mutating func append(_ parts: [Part]) {
        var joined: [Part] = []
        if case .output(let before) = items.last {
            joined = before
            items.removeLast()
        }
        for part in parts where part != .literal("") {
            if case .literal(let text) = part, case .literal(let before) = joined.last {
                joined[joined.count - 1] = .literal(before + text)
            } else {
                joined.append(part)
            }
        }
        if !joined.isEmpty { items.append(.output(joined)) }
    }

    /// Where `{{`, `{%` or `{#` begins.
    private static func firstTag(_ text: Substring) -> Substring.Index? {
        var at = text.startIndex
        while let open = text[at...].firstIndex(of: "{") {
            let next = text.index(after: open)
            if next < text.endIndex, "{%#".contains(text[next]) { return open }
            at = next
        }
        return nil
    }

    /// Where the `}}`, `%}` or `#}` of a tag begins, strings skipped.
    private static func end(of kind: Character, _ body: Substring) -> Substring.Index? {
        let closing = kind == "{" ? "}" : kind
        var quote: Character?
        var at = body.startIndex
        while at < body.endIndex {
            let character = body[at]
            let next = body.index(after: at)
            if let open = quote {
                if character == "\\" {
                    guard next < body.endIndex else { return nil }
                    at = body.index(after: next)
                    continue
                }
                if character == open { quote = nil }
            } else if kind != "#", character == "'" || character == "\"" {
                quote = character
            } else if character == closing, next < body.endIndex, body[next] == "}" {
                return at
            }
            at = next
        }
        return nil
    }

    /// An expression cut at the `+` that join its strings.
    private static func parts(_ body: Substring) -> [Part] {
        var parts: [Part] = []
        var expression = ""
        func flush() {
            if !expression.isEmpty { parts.append(.expression(withSubscripts(expression))) }
            expression = ""
        }
        var depth = 0
        scan(body) { token in
            switch token {
            case .literal(let text) where depth == 0 && expression.isEmpty:
                parts.append(.literal(text))
            case .literal(let text):
                expression += "'\(text)'"
            case .character("+") where depth == 0:
                flush()
            case .character(let character):
                if "([".contains(character) { depth += 1 }
                if ")]".contains(character) { depth -= 1 }
                expression.append(character)
            }
        }
        flush()
        return parts
    }

    private static func squeezed(_ body: Substring) -> String {
        var result = ""
        scan(body) { token in
            switch token {
            case .literal(let text): result += "'\(text)'"
            case .character(let character): result.append(character)
            }
        }
        return withSubscripts(result)
    }

    /// `message.role` as `message['role']`, the other way to write it.
    private static func withSubscripts(_ text: String) -> String {
        var result = text
        for name in ["role", "content"] {
            var pieces = result.split(separator: ".\(name)", omittingEmptySubsequences: false)
            let first = pieces.removeFirst()
            result = pieces.reduce(String(first)) { $0 + "['\(name)']" + $1 }
        }
        return result
    }

    private enum Token {
        case literal(String)
        case character(Character)
    }

    /// String literals with their escapes resolved, and every other character that is no space.
    private static func scan(_ body: Substring, _ use: (Token) -> Void) {
        var quote: Character?
        var literal = ""
        var escaped = false
        for character in body {
            if let open = quote {
                if escaped {
                    literal.append(character == "n" ? "\n" : character == "t" ? "\t" : character)
                    escaped = false
                } else if character == "\\" {
                    escaped = true
                } else if character == open {
                    use(.literal(literal))
                    quote = nil
                } else {
                    literal.append(character)
                }
            } else if character == "'" || character == "\"" {
                quote = character
                literal = ""
            } else if !character.isWhitespace {
                use(.character(character))
            }
        }
    }
}

extension Substring {
    fileprivate func trimmingStart() -> Substring { drop(while: \.isWhitespace) }

    fileprivate func trimmingEnd() -> Substring {
        var text = self
        while text.last?.isWhitespace == true { text = text.dropLast() }
        return text
    }

    /// Without the spaces and tabs before a tag that begins its line.
    /// - Parameter beginsLine: whether this text does.
    fileprivate func trimmingIndent(beginsLine: Bool) -> Substring {
        var text = self
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return text.last == "\n" || text.isEmpty && beginsLine ? text : self
    }
}
