/// Writes Jinja expressions whose operands have the types that filters and methods ask for, so that the arguments' values are what is extreme.
struct TypedTemplateGrammar {
    func template(_ random: inout RandomSource) -> String {
        (0...random.below(2)).map { _ in
            switch random.below(8) {
            case 0: "{% for x in \(list(&random, depth: 0)) %}{% if loop.index > 20 %}{% break %}{% endif %}{{ x }}{% endfor %}"
            case 1: "{% set x = \(list(&random, depth: 1)) %}{{ x[\(bound(&random)):\(bound(&random)):\(bound(&random))] }}"
            case 2: "{{ \(list(&random, depth: 0)) | tojson(\(random.oneIn(2) ? "indent=\(number(&random, depth: 2))" : "")) }}"
            case 3: "{{ \(number(&random, depth: 0)) }}"
            case 4: "{{ \(list(&random, depth: 0)) | length }}"
            default: "{{ \(text(&random, depth: 0)) }}"
            }
        }.joined()
    }

    private func bound(_ random: inout RandomSource) -> String { random.oneIn(3) ? "" : number(&random, depth: 2) }

    /// Small ones more often: with others most work is refused.
    private func number(_ random: inout RandomSource, depth: Int) -> String {
        guard depth < 2, random.oneIn(2) else {
            return random.oneIn(2) ? "\(random.below(12) - 4)" : "(\(random.pick(ExtremeValues.integers)))"
        }
        func inner() -> String { number(&random, depth: depth + 1) }
        switch random.below(12) {
        case 0, 1, 2: return "(\(inner()) \(random.pick(["+", "-", "*", "//", "%", "**"])) \(inner()))"
        case 3: return "(\(inner()) | abs)"
        case 4: return "(\(text(&random, depth: depth + 1)) | int(\(inner()), \(inner())))"
        case 5: return "(\(float(&random)) | round(\(inner()), '\(random.pick(["common", "floor", "ceil", "x"]))') )"
        case 6: return "(\(float(&random)) | int)"
        case 7: return "(\(text(&random, depth: depth + 1)) | length)"
        case 8: return "(\(text(&random, depth: depth + 1)).find(\(text(&random, depth: depth + 1)), \(inner()), \(inner())))"
        case 9: return "([\(inner()), \(inner())] | \(random.pick(["sum", "min", "max", "first", "last"])))"
        case 10: return "(\(inner()) | filesizeformat)"
        default: return "(-\(inner()))"
        }
    }

    private func float(_ random: inout RandomSource) -> String {
        random.pick([
            "1.5", "2.5", "-0.0", "1e308", "-1e308", "1e19", "9.3e18", "1e-300", "(1e308 * 10)", "(1e308 * 10 - 1e308 * 10)", "0.1",
            "1e22",
        ])
    }

    private func text(_ random: inout RandomSource, depth: Int) -> String {
        guard depth < 3 else {
            return "'"
                + random.pick([
                    "", "a", "b c  d", "Hello World", "é", "e\u{301}x", "日本", "1.5", "-0x1F", "a,b,,c",
                    "\u{1F469}\u{200D}\u{1F469}",
                ]) + "'"
        }
        func inner() -> String { text(&random, depth: depth + 1) }
        func count() -> String { number(&random, depth: depth + 1) }
        let flag = random.pick(["true", "false"])
        switch random.below(24) {
        case 0: return "\(inner()).\(random.pick(["center", "ljust", "rjust"]))(\(count())\(random.oneIn(2) ? ", \(inner())" : ""))"
        case 1: return "\(inner()).zfill(\(count()))"
        case 2: return "\(inner()).expandtabs(\(count()))"
        case 3: return "\(inner()).replace(\(inner()), \(inner()), \(count()))"
        case 4: return "(\(inner()) | truncate(\(count()), \(flag), \(inner()), \(count())))"
        case 5: return "(\(inner()) | wordwrap(\(count()), \(flag)))"
        case 6: return "(\(inner()) | indent(\(count()), \(flag), \(flag)))"
        case 7: return "(\(inner()) | center(\(count())))"
        case 8: return "(\(inner()) | replace(\(inner()), \(inner()), \(count())))"
        case 9: return "(\(inner())[\(count()):\(count()):\(count())])"
        case 10: return "(\(inner()) * \(count()))"
        case 11: return "(\(inner()) ~ \(count()))"
        case 12, 13: return "('\(specification(&random))' % (\(count()), \(inner())))"
        case 14, 15:
            return "('{:\(brace(&random))}'.format(\(random.oneIn(2) ? count() : random.oneIn(2) ? float(&random) : inner())))"
        case 16: return "('%\(brace(&random))s' | format(\(inner())))"
        case 17: return "(\(list(&random, depth: depth + 1)) | join(\(inner())))"
        case 18:
            return
                "(\(inner()) | \(random.pick(["upper", "title", "capitalize", "trim", "striptags", "urlencode", "escape", "reverse", "urlize", "lower"])))"
        case 19: return "\(inner()).\(random.pick(["swapcase", "title", "strip", "casefold", "upper"]))()"
        case 20: return "strftime_now(\(inner()))"
        case 21: return "(\(inner()) | string)"
        default: return inner()
        }
    }

    private func list(_ random: inout RandomSource, depth: Int) -> String {
        guard depth < 3 else {
            return random.pick(["[1, 2, 3]", "[]", "['b', 'A']", "messages", "[[1, 2], [3]]", "[none, 1.5, 'x']"])
        }
        func count() -> String { number(&random, depth: depth + 1) }
        func inner() -> String { list(&random, depth: depth + 1) }
        switch random.below(14) {
        case 0, 1: return "range(\(count()), \(count())\(random.oneIn(2) ? ", \(count())" : ""))"
        case 2: return "range(\(count()))"
        case 3: return "(\(inner()) | batch(\(count()), 'x') | list)"
        case 4: return "(\(inner()) | slice(\(count()), 'x') | list)"
        case 5: return "(\(inner())[\(bound(&random)):\(bound(&random)):\(bound(&random))])"
        case 6:
            return
                "\(text(&random, depth: depth + 1)).\(random.pick(["split", "rsplit"]))(\(text(&random, depth: depth + 1)), \(count()))"
        case 7: return "(\(inner()) + \(inner()))"
        case 8: return "(\(inner()) * \(count()))"
        case 9: return "(\(inner()) | \(random.pick(["sort", "unique", "reverse", "list"])) | list)"
        case 10: return "(messages | groupby('role') | list)"
        case 11:
            return
                "(messages | map(attribute='\(random.pick(["role", "content", "content.0", "x.y"]))', default=\(count())) | list)"
        default: return inner()
        }
    }

    private func specification(_ random: inout RandomSource) -> String {
        "%\(random.pick(["", "-", "+", " ", "0", "#", "-0"]))\(width(&random))\(random.oneIn(2) ? "." + width(&random) : "")"
            + random.pick(["d", "i", "x", "o", "e", "f", "g", "s", "r", "c", "a"])
            + " %\(random.oneIn(2) ? "." + width(&random) : "")s"
    }

    private func brace(_ random: inout RandomSource) -> String {
        random.pick(["", "<", ">", "^", "=", "*^", "0", "+", "-", " "]) + width(&random) + random.pick(["", ",", "_"])
            + (random.oneIn(2) ? "." + width(&random) : "") + random.pick(["", "d", "x", "b", "e", "f", "g", "s", "%", "c", "n"])
    }

    private func width(_ random: inout RandomSource) -> String {
        random.oneIn(4)
            ? "\(random.pick(ExtremeValues.integers))" : random.pick(["", "1", "5", "10", "100000", "99999999999999999999"])
    }
}
