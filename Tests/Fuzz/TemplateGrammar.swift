/// Writes Jinja: statements, expressions, filters, tests, methods and format specifications, mostly valid, with extreme arguments.
struct TemplateGrammar {
    private static let names = [
        "messages", "message", "m", "tools", "loop", "ns", "x", "y", "bos_token", "eos_token", "add_generation_prompt", "namespace",
        "range",
        "dict", "cycler", "joiner", "raise_exception", "strftime_now", "undefined", "caller", "varargs", "kwargs", "self", "lipsum",
        "true",
        "none", "documents", "message.content", "messages[0].role", "loop.index0", "loop.previtem", "ns.value", "x.y.z",
    ]
    private static let filters = [
        "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape", "filesizeformat",
        "first", "float",
        "forceescape", "format", "groupby", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max",
        "min", "pprint",
        "random", "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "slice", "sort", "string",
        "striptags",
        "sum", "title", "tojson", "trim", "truncate", "unique", "upper", "urlencode", "urlize", "wordcount", "wordwrap", "xmlattr",
        "nothing",
    ]
    private static let tests = [
        "boolean", "callable", "defined", "divisibleby", "eq", "equalto", "escaped", "even", "false", "filter", "float", "ge", "gt",
        "in",
        "integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sameas", "sequence", "string",
        "test", "true",
        "undefined", "upper", "nothing",
    ]
    private static let methods = [
        "append", "capitalize", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "get", "index", "insert",
        "isalnum",
        "isalpha", "isdigit", "isspace", "istitle", "items", "join", "keys", "ljust", "lower", "lstrip", "partition", "pop",
        "removeprefix",
        "removesuffix", "replace", "rfind", "rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
        "swapcase",
        "title", "translate", "update", "upper", "values", "zfill", "next", "current", "reset", "format_map", "extend", "remove",
        "clear",
        "__class__", "copy",
    ]
    private static let formats = [
        "%s", "%d", "%5d", "%-5s", "%.3f", "%.-5s", "%*d", "%(a)s", "%%", "%c", "%x", "%o", "%e", "%g", "%r",
        "%99999999999999999999d",
        "%.2147483648f", "%9223372036854775807s", "%#x", "%+d", "% d", "%05d", "%ld", "%", "%(", "%(a", "%s%s%s", "{}", "{0}",
        "{:>10}", "{:.3f}",
        "{:.-5}", "{:,}", "{:9223372036854775807}", "{:99999999999999999999}", "{0[a]}", "{0.a}", "{a}", "{:{}}", "{{}}", "{", "}",
        "{:b}",
        "{:x}", "{:e}", "{:%}", "{!r}", "{!s:>5}", "{:^-5}", "{:=5}", "{:é<5}", "{:c}", "{:n}", "{:_}", "{:.2147483648f}", "{-1}",
        "{1000000}",
    ]

    /// A whole template.
    func template(_ random: inout RandomSource) -> String { body(&random, depth: 0) }

    // MARK: Statements

    private func body(_ random: inout RandomSource, depth: Int) -> String {
        (0...random.below(depth == 0 ? 6 : 3)).map { _ in statement(&random, depth: depth) }.joined()
    }

    private func statement(_ random: inout RandomSource, depth: Int) -> String {
        let (open, close) = (random.oneIn(6) ? "{%-" : "{%", random.oneIn(6) ? "-%}" : "%}")
        func block(_ head: String, _ tail: String) -> String {
            "\(open) \(head) \(close)\(body(&random, depth: depth + 1))\(open) \(tail) \(close)"
        }
        guard depth < 4 else { return "{{ \(expression(&random, depth: depth)) }}" }
        switch random.below(18) {
        case 0, 1:
            let target = random.pick(["message", "m", "x", "x, y", "(x, y)", "x,", "ns.value"])
            let filter = random.oneIn(4) ? " if \(expression(&random, depth: 3))" : ""
            let recursive = random.oneIn(12) ? " recursive" : ""
            return block("for \(target) in \(expression(&random, depth: 2))\(filter)\(recursive)", "endfor")
        case 2, 3: return block("if \(expression(&random, depth: 2))", "endif")
        case 4:
            return "{% if \(expression(&random, depth: 3)) %}a{% elif \(expression(&random, depth: 3)) %}b{% else %}c{% endif %}"
        case 5, 6:
            return "\(open) set \(random.pick(["x", "y", "ns.value", "x, y", "x.y"])) = \(expression(&random, depth: 1)) \(close)"
        case 7: return "{% set ns = namespace(value=\(expression(&random, depth: 3)), messages=messages) %}"
        case 8: return block("set x", "endset")
        case 9:
            return block("macro x(a, b=\(expression(&random, depth: 3)))", "endmacro") + "{{ x(\(expression(&random, depth: 3))) }}"
        case 10: return block("filter \(filter(&random, depth: 3))", "endfilter")
        case 11: return block("call x(\(expression(&random, depth: 3)))", "endcall")
        case 12:
            return random.pick([
                "{% break %}", "{% continue %}", "{# c #}", "{#- c -#}", "{% raw %}{{ x }}{% endraw %}",
                "{% generation %}a{% endgeneration %}",
            ])
        case 13:
            return random.pick(["\n  ", "<|im_start|>", "text ", "\u{1F600}", "{", "}}", "%}", "{{", "{%", "'", "\\n", "{{ x"])
        case 14: return "{% macro r(n) %}{{ r(n) }}{% endmacro %}{{ r(1) }}"
        default: return "\(random.oneIn(6) ? "{{-" : "{{") \(expression(&random, depth: 0)) \(random.oneIn(6) ? "-}}" : "}}")"
        }
    }

    // MARK: Expressions

    private func expression(_ random: inout RandomSource, depth: Int) -> String {
        func inner() -> String { expression(&random, depth: depth + 1) }
        guard depth < 5 else { return atom(&random) }
        switch random.below(24) {
        case 0, 1:
            let operators = [
                "+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "and", "or", "in", "not in", "|",
            ]
            return "\(inner()) \(random.pick(operators)) \(inner())"
        case 2: return "(\(inner()))"
        case 3: return "\(inner()) if \(inner()) else \(inner())"
        case 4: return "\(random.pick(["not ", "-", "+"]))\(inner())"
        case 5: return "[\(inner()), \(inner())]"
        case 6: return "{\(inner()): \(inner()), 'a': \(inner())}"
        case 7: return "(\(inner()), \(inner()))"
        case 8, 9, 10, 11: return "(\(inner()))|\(filter(&random, depth: depth + 1))"
        case 12, 13:
            return
                "\(inner()) is \(random.oneIn(4) ? "not " : "")\(random.pick(Self.tests))\(random.oneIn(3) ? "(\(inner()))" : "")"
        case 14, 15, 16: return "(\(inner())).\(random.pick(Self.methods))(\(arguments(&random, depth: depth + 1)))"
        case 17: return "(\(inner()))[\(inner())]"
        case 18: return "(\(inner()))[\(bound(&random)):\(bound(&random)):\(bound(&random))]"
        case 19: return "'\(random.pick(Self.formats))' % \(random.oneIn(2) ? "(\(inner()), \(inner()))" : inner())"
        case 20: return "'\(random.pick(Self.formats))'.format(\(arguments(&random, depth: depth + 1)))"
        case 21: return "\(random.pick(Self.names))(\(arguments(&random, depth: depth + 1)))"
        default: return atom(&random)
        }
    }

    private func bound(_ random: inout RandomSource) -> String {
        random.oneIn(3) ? "" : random.oneIn(2) ? "\(random.pick(ExtremeValues.integers))" : "\(random.below(9) - 4)"
    }

    private func filter(_ random: inout RandomSource, depth: Int) -> String {
        let name = random.pick(Self.filters)
        return random.oneIn(2) ? name : "\(name)(\(arguments(&random, depth: depth)))"
    }

    private func arguments(_ random: inout RandomSource, depth: Int) -> String {
        let keywords = [
            "", "", "", "", "attribute=", "default=", "sep=", "width=", "precision=", "indent=", "start=", "reverse=",
            "case_sensitive=", "length=",
            "fill_with=", "first=", "method=", "base=", "default_value=", "by=", "a=", "count=",
        ]
        return (0..<random.below(4)).map { _ in random.pick(keywords) + expression(&random, depth: depth + 1) }.joined(
            separator: ", ")
    }

    private func atom(_ random: inout RandomSource) -> String {
        switch random.below(14) {
        case 0, 1, 2: return random.pick(Self.names)
        case 3: return "\(random.pick(ExtremeValues.integers))"
        case 4: return "\(random.below(20) - 5)"
        case 5:
            return random.pick([
                "1.5", "0.0", "1e308", "1e-308", "1e400", "1e19", "-1e19", "9223372036854775808", "12345678901234567890123",
                "1_000", "0x1F", "0b11",
                "0.1", "2.5", "-0.0",
            ])
        case 6, 7:
            return
                "'\(random.pick(["", "a", "b c d", "Hello World", "é", "e\u{301}", "日本", "\\n", "a\\'b", "a,b,,c", "  x  ", "<b>&", "İß"]))'"
        case 8:
            return "'\(random.pick(["content", "role", "name", "0", "value", "a.b", "utf-8", "%Y-%m-%d", "%", "%q %é", "common"]))'"
        case 9:
            return random.pick([
                "[]", "{}", "()", "[1, 2, 3]", "['b', 'A', 'a']", "[[1], [2]]", "{'a': 1, 'b': {'c': none}}", "[none, 1, 'x']",
            ])
        case 10: return "'x' * \(random.pick([0, 1, -1, 1000, 1 << 20, 1 << 31, 1 << 62]))"
        case 11: return "range(\(random.pick(ExtremeValues.integers)))"
        case 12: return random.pick(["true", "false", "none", "True", "None"])
        default: return "\"\(random.pick(Self.formats).replacing("\"", with: ""))\""
        }
    }
}
