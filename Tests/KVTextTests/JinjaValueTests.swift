import Foundation
import XCTest

import KVText

/// Numbers, texts and messages as Python has them, and what a template may ask of them without end.
final class JinjaValueTests: XCTestCase {
    private static func render(_ template: String, _ variables: String = "{}") throws -> String {
        var input = try TemplateInput([])
        try input.setVariables(json: variables)
        return try ChatTemplate(template: template).render(input).map(\.text).joined()
    }

    /// Values from templates and messages that no machine integer holds, or that Python refuses.
    func testNumbersDoNotTrap() throws {
        let least = "(-9223372036854775807 - 1)"
        // Of CPython 3.11; nil where it raises an exception.
        let cases: [(String, String?)] = [
            ("'%.-5s' % 'abc'", nil), ("'{:.-5}'.format('abc')", nil), ("'a'.zfill(\(least))", "a"),
            ("'a'.center(\(least))", "a"), ("\(least) // -1", "9223372036854775808"), ("\(least) % -1", "0"),
            ("-\(least)", "9223372036854775808"), ("\(least) | abs", "9223372036854775808"),
            ("\(least) * \(least)", "85070591730234615865843651857942052864"), ("9223372036854775807 + 1", "9223372036854775808"),
            ("2**64 == 2.0**64", "True"), ("{2**64: 1}[2.0**64]", "1"), ("(2**53 + 1) == (2**53 + 1) | float", "False"),
            ("(1e300 | int) // 10**299", "10"), ("1e400 | int", nil), ("'abc'[10**30:]", ""),
            ("'abc'[-(10**30):10**30:10**30]", "a"), ("[1, 2][10**30] is defined", "False"), ("'abc'.find('c', 10**30)", "-1"),
            ("'a b c'.split(none, -10**5)", "['a', 'b', 'c']"), ("'a'.split('b', 10**30)", nil), ("'a' * \(least)", ""),
            ("7 | round(-400)", "0"), ("7.5 | round(\(least))", "0.0"), ("25 | round(-1)", "20"), ("2.675 | round(2)", "2.67"),
            ("12345 | round(-2, 'ceil')", "12400.0"), ("'%c' % 1114112", nil),
            ("'%d' % 1e30", "1000000000000000019884624838656"), ("'%x' % -255", "-ff"),
            ("'{:,}'.format(-1234567890123456789012)", "-1,234,567,890,123,456,789,012"),
            ("'{:#012_x}'.format(3735928559)", "0x0_dead_beef"), ("10**400 / 10**399", "10.0"), ("10**400 / 1", nil),
            ("10**400 * 1.0", nil), ("1 / 3 ** 400", "1.417418549953858e-191"),
            ("(10**30) | tojson", "1000000000000000000000000000000"),
            ("'12345678901234567890' | int", "12345678901234567890"), ("'z' | int(base=10**30)", "0"),
            ("7 is divisibleby(10**30)", "False"), ("range(3, -(10**18), -(10**18)) | list", "[3, -999999999999999997]"),
            ("'abc' | truncate(10**30)", "abc"), ("'abc' | indent(\(least))", "abc"),
        ]
        for (expression, expected) in cases {
            XCTAssertEqual(try? Self.render("{{ \(expression) }}"), expected, expression)
        }
    }

    /// Texts are told apart by code points, as Python does, not by what they look like.
    func testTextIsCodePoints() throws {
        let variables = #"{"c": "caf\u00e9", "d": "cafe\u0301", "m": {"caf\u00e9": 1, "cafe\u0301": 2}, "caf\u00e9": "x"}"#
        // Of CPython 3.11.
        let cases = [
            ("c == d", "False"), ("c in [d]", "False"), ("m | length", "2"), ("m[c] ~ m[d]", "12"), ("c in d", "False"),
            ("'\\u0301' in d", "True"), ("d.startswith(c)", "False"), ("d | length", "5"), ("d[4:] == '\\u0301'", "True"),
            ("d.replace('e', 'a') == 'cafa\\u0301'", "True"), ("d.find('\\u0301')", "4"), ("[c, d] | sort == [d, c]", "True"),
            ("[c, d] | unique | list | length", "2"), ("d.split('e') | length", "2"), ("caf\u{E9} is defined", "True"),
            ("'\u{1F44B}\u{1F3FD}' | length", "2"), ("'\\r\\n' | length", "2"), ("'a\\r\\nb'.splitlines() | length", "2"),
        ]
        for (expression, expected) in cases {
            XCTAssertEqual(try Self.render("{{ \(expression) }}", variables), expected, expression)
        }
    }

    /// Messages are read as Python's json reads them.
    func testJSON() throws {
        func render(_ json: String, _ expression: String = "x | tojson") throws -> String {
            try Self.render("{{ \(expression) }}", "{\"x\": \(json)}")
        }
        let same = ["12345678901234567890", "[NaN, Infinity, -Infinity]", "-0.0", #"{"b": 1, "a": [], "c": {}}"#]
        for json in same { XCTAssertEqual(try render(json), json) }
        for (json, expected) in [
            ("1e400", "Infinity"), ("-0", "0"), ("1.50", "1.5"), ("1E5", "100000.0"), ("1e16", "1e+16"),
            (#"{"a": 1, "b": 2, "a": 3}"#, #"{"a": 3, "b": 2}"#), (#""\ud83d\udc4b""#, "\"\u{1F44B}\""),
        ] {
            XCTAssertEqual(try render(json), expected, json)
        }
        XCTAssertEqual(try render(#""\ud83d""#, "x | tojson(ensure_ascii=true)"), #""\ud83d""#)
        XCTAssertEqual(try render(#""a\ud83d""#, "x | length"), "2")
        XCTAssertThrowsError(try render(#""\ud83d""#, "x")) { XCTAssertEqual(($0 as? TemplateError)?.reason, .evaluation) }
        for wrong in [
            "01", "1.", ".5", "+1", "1e", #""\q""#, #""\u12""#, "nan", "[1,]", "\"\n\"", String(repeating: "9", count: 4301),
        ] {
            XCTAssertThrowsError(try render(wrong), wrong) { XCTAssertEqual(($0 as? TemplateError)?.reason, .input, wrong) }
        }
    }

    /// Names and characters that a message chose are no markup either.
    func testForeignNamesStayForeign() throws {
        let input = try TemplateInput(json: #"{"messages": [], "x": {"<|end|>": 1}, "n": 60}"#)
        for expression in [
            "dict(**x)", "namespace(x)", "namespace(**x)", "m(**x)", "'%c' % n", "'{:c}'.format(n)", "x | items | list", "x.keys()",
            "x | dictsort", "x | list | first | replace('|', '/')", "x | map('upper') | join", "x | pprint",
            "'%s' % x", "'{}'.format(x)", "x | urlencode | upper", "x | list | batch(1) | list", "x | list | first | wordwrap(3)",
        ] {
            let template = "{% macro m() %}{{ kwargs }}{% endmacro %}{{ \(expression) }}"
            for segment in try ChatTemplate(template: template).render(input) where segment.isMarkup {
                XCTAssertFalse(segment.text.lowercased().contains("end"), "\(expression): \(segment.text)")
            }
        }
    }

    /// Each would take hours or gigabytes; each ends by its budget, or as Python ends it.
    func testSizesAreBounded() {
        func many(_ text: String, _ count: Int = 5000) -> String { String(repeating: text, count: count) }
        let hostile: [(String, TemplateError.Reason)] = [
            ("{{ '%9999999d' % 1 }}", .size), ("{{ '%.9999999f' % 1 }}", .size), ("{{ '{:9999999}'.format(1) }}", .size),
            ("{{ '%*d' % (10**30, 1) }}", .size), ("{{ '{:>{}}'.format(1, 10**30) }}", .size), ("{{ 'a'.center(10**9) }}", .size),
            ("{{ 'a'.ljust(10**30) }}", .evaluation), ("{{ [1] | batch(10**9, 0) | list }}", .size),
            ("{{ [1] | slice(10**9) | list }}", .size), ("{{ '\\t'.expandtabs(2**31 - 1) }}", .size), ("{{ 'a' * 10**30 }}", .size),
            ("{{ [0] * 10**30 }}", .size), ("{{ range(10**30) }}", .size), ("{{ 2 ** 65535 }}", .steps),
            ("{{ 2 ** 20000 }}", .evaluation),
            ("{% set ns = namespace(x=3) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}", .size),
            ("{% for i in range(99999) %}{% if (7 ** 20000) % 3 %}{% endif %}{% endfor %}", .steps),
            ("{{ ('a' * 1000000) | wordwrap(1) }}", .steps), ("{{ [1]\(many(" | map('string')")) | list }}", .depth),
            ("{{ [1]\(many(" | select")) | list }}", .depth), ("{{ 1\(many(" if 1")) }}", .depth),
            (
                "{% set d = dict.fromkeys(range(9999)) %}{% for i in range(9) %}{% if d.keys() == d.keys() %}{% endif %}{% endfor %}",
                .steps
            ),
            (
                "{% set ns = namespace(n=namespace()) %}{% for i in range(9999) %}{% set ns.n = namespace(x=ns.n) %}{% endfor %}"
                    + "{{ ns }}", .depth
            ),
            ("{% set ns = namespace() %}{% for i in range(99) %}{% set ns.x = [ns, ns.x] %}{% endfor %}", .depth),
            ("{{ 9\(many("9")) }}", .syntax), ("{{ ('1' * 5000) | int + 1 / 0 }}", .evaluation),
            ("{% for x in ['a' * 2000] | map('replace', '', 'b' * 2000) %}{{ x | replace('', x) }}{% endfor %}", .size),
        ]
        for (template, reason) in hostile {
            XCTAssertThrowsError(try Self.render(template), String(template.prefix(100))) {
                XCTAssertEqual(($0 as? TemplateError)?.reason, reason, "\(template.prefix(100)): \($0)")
            }
        }
        XCTAssertEqual(
            try? Self.render("{% set ns = namespace(a=1) %}{% set ns.x = [ns] %}{{ ns }}"),
            "<Namespace {'a': 1, 'x': [<Namespace {...}>]}>")
    }
}
