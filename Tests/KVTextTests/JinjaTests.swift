import Foundation
import KVTestSupport
import XCTest

import KVText

/// The engine against Jinja's own results, and templates that mean harm.
final class JinjaTests: XCTestCase {
    private static func render(_ template: String, _ variables: String = "{}") throws -> String {
        var input = try TemplateInput([])
        try input.setVariables(json: variables)
        return try ChatTemplate(template: template).render(input).map(\.text).joined()
    }

    private func error(_ template: String, _ variables: String = "{}") -> TemplateError? {
        do {
            _ = try Self.render(template, variables)
            return nil
        } catch { return error as? TemplateError }
    }

    private struct Truth: Decodable {
        struct Case: Decodable {
            let template: String
            let expected: String?
            let error: String?
        }
        let now: String
        let variables: String
        let cases: [Case]
    }

    func testExpressions() throws {
        let path = try Fixtures.require("jinja/expressions.json")
        let truth = try JSONDecoder().decode(Truth.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertGreaterThan(truth.cases.count, 250)
        let json = truth.variables.dropLast() + ", \"now\": \"\(truth.now)\"}"
        for item in truth.cases {
            let input = try TemplateInput(json: String(json))
            let rendered = Result { try ChatTemplate(template: item.template).render(input).map(\.text).joined() }
            switch rendered {
            case .success(let text): XCTAssertEqual(text, item.expected, item.template)
            case .failure(let error):
                XCTAssertNil(item.expected, "\(item.template): \(error)")
                let error = error as? TemplateError
                if let own = item.error, own.hasPrefix("TemplateError: ") {
                    XCTAssertEqual(error?.reason, .raised)
                    XCTAssertEqual(error?.message, String(own.dropFirst("TemplateError: ".count)))
                } else {
                    XCTAssertTrue([.evaluation, .syntax].contains(error?.reason), "\(item.template): \(error as Any)")
                }
            }
        }
    }

    /// Random templates with what Jinja makes of them: the same text, or an error where Jinja has one.
    /// `KVCPU_JINJA_CASES` names another file of this shape, for longer runs.
    func testDifferential() throws {
        let path = try ProcessInfo.processInfo.environment["KVCPU_JINJA_CASES"] ?? Fixtures.require("jinja/differential.json")
        let truth = try JSONDecoder().decode(Truth.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertGreaterThan(truth.cases.count, 1000)
        let json = truth.variables.dropLast() + ", \"now\": \"\(truth.now)\"}"
        let input = try TemplateInput(json: String(json))
        for item in truth.cases {
            switch Result(catching: { try ChatTemplate(template: item.template).render(input).map(\.text).joined() }) {
            case .success(let text):
                if text.unicodeScalars.elementsEqual((item.expected ?? "").unicodeScalars), item.expected != nil { continue }
                XCTFail("\(item.template)\n  gives \(text)\n  not   \(item.expected ?? item.error ?? "")")
            case .failure(let error): XCTAssertNil(item.expected, "\(item.template)\n  fails \(error)")
            }
        }
    }

    func testErrorsNameTheLine() {
        XCTAssertEqual(error("a\n{{ 1 + }}")?.line, 2)
        XCTAssertEqual(error("a\n\n{% if x %}{{ x.y.z }}{% endif %}{{ q.r }}")?.line, 3)
        XCTAssertEqual(error("{{ q.r }}")?.message, "'q' is undefined")
        XCTAssertEqual(error("{{ 'a' | nope }}")?.message, "No filter named 'nope'.")
        XCTAssertEqual(error("{% set x = [] %}{{ x.append(1) }}")?.reason, .evaluation, "values do not change")
        XCTAssertEqual(error("{{ 1 }}", "[1]")?.reason, .input)
        XCTAssertThrowsError(try TemplateInput(json: "{\"messages\": [{\"role\": }]}"))
        XCTAssertThrowsError(try TemplateInput(json: "{\"tools\": []}"))
        XCTAssertThrowsError(try TemplateInput(json: "{\"messages\": [], \"now\": \"soon\"}"))
    }

    /// Each would run, nest or write without end; each ends by its budget.
    func testHostileTemplatesEnd() {
        let nested = String(repeating: "(", count: 5000)
        let hostile: [(String, TemplateError.Reason)] = [
            ("{% for i in range(10**9) %}{% endfor %}", .size),
            ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", .steps),
            ("{{ 'a' * 10**9 }}", .size), ("{{ 'a' * 10**18 * 10**18 }}", .size), ("{{ [0] * 10**9 }}", .size),
            ("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", .size),
            ("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}", .size),
            ("{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", .size),
            ("{% set ns = namespace(x=[1]) %}{% for i in range(999) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}", .depth),
            ("{% set ns = namespace(x=[1]) %}{% for i in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}", .size),
            (
                "{% set ns = namespace(x=[1]) %}{% for i in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
                    + "{{ [ns.x] == [ns.x] }}", .steps
            ),
            (
                "{% set ns = namespace(x=[1]) %}{% for i in range(50) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
                    + "{{ [ns.x, ns.x] | sort }}", .steps
            ),
            ("{% set s = 'a b ' * 100000 %}{% for i in range(99999) %}{% if s.split() %}{% endif %}{% endfor %}", .size),
            ("{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}", .size),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", .depth),
            ("{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}", .depth),
            (
                "{% macro a() %}{% for i in [1] %}{% if true %}{{ b() }}{% endif %}{% endfor %}{% endmacro %}"
                    + "{% macro b() %}{{ a() | trim }}{% endmacro %}{{ a() }}", .depth
            ),
            ("{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}", .depth),
            ("{{ " + nested + "1" + String(repeating: ")", count: 5000) + " }}", .depth),
            ("{{ " + String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000) + " }}", .depth),
            ("{{ " + String(repeating: "-", count: 5000) + "1 }}", .depth),
            ("{{ " + String(repeating: "1 if 1 else ", count: 5000) + "1 }}", .depth),
            (String(repeating: "{% if 1 %}", count: 5000) + String(repeating: "{% endif %}", count: 5000), .depth),
            ("{{ 'a' | replace('', 'b' * 90000) | replace('', 'c' * 90000) }}", .size),
            ("{{ ('a' * 100000 ~ 'b') * 50 }}{{ '%99999999d' % 1 }}", .size),
            ("{{ ' ' | indent(10**9) }}", .size), ("{{ 'a'.zfill(10**9) }}", .size),
            ("{{ range(-(2**62), 2**62) }}", .size), ("{{ 3 ** (2 ** 62) }}", .size), ("{{ 10**(10**9) }}", .size),
            ("{{ 10**5000 }}", .evaluation),
            (
                "{% set ns = namespace(d={}) %}{% for i in range(9999) %}{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}{% endfor %}",
                .steps
            ),
            (
                "{% macro m() %}{% endmacro %}{% set ns = namespace(d={}) %}{% for i in range(999) %}{% set ns.d = dict(ns.d, **{'k' ~ i: i}) %}"
                    + "{% endfor %}{% for i in range(9999) %}{{ m(**ns.d) }}{% endfor %}", .steps
            ),
            ("{% set s = 'a' * 1000000 %}{% set d = {s: 1} %}{% for i in range(9999) %}{{ d[s] }}{% endfor %}", .steps),
            ("{% set s = 'a' * 1000000 %}{% for i in range(9999) %}{{ {s: 1} | length }}{% endfor %}", .steps),
            ("{% set s = '1' * 1000000 %}{{ s | int }}", .steps), ("{{ strftime_now('%Y' * 1000000) }}", .steps),
            (String(repeating: "a", count: 1 << 20), .size), (String(repeating: "{% if 1 %}", count: 100_000), .size),
            ("{{ [1][::10**18] }}{{ [1][-(10**18):10**18] }}{{ 1/0 }}", .evaluation),
        ]
        for (template, reason) in hostile {
            XCTAssertEqual(error(template)?.reason, reason, String(template.prefix(100)))
        }
    }

    /// Long but flat templates, and data that nests as deep as it may, need little stack: a thread's smallest usual one.
    func testSmallStacks() throws {
        let templates = [
            "{{ 1" + String(repeating: " + 1", count: 20_000) + " }}",
            "{{ 'a'" + String(repeating: " ~ 'a'", count: 20_000) + " }}",
            "{{ 'a'" + String(repeating: " | upper", count: 10_000) + " }}",
            "{% if 0 %}" + String(repeating: "{% elif 0 %}", count: 10_000) + "{% endif %}",
            "{{ " + String(repeating: "not ", count: 10_000) + "1 }}",
            "{{ " + String(repeating: "(", count: 20) + "1" + String(repeating: ")", count: 20) + " }}",
            "{% macro m(n) %}{% for i in [1] %}{% if n %}{{ (m(n - 1)) | trim }}{% endif %}{% endfor %}{% endmacro %}{{ m(500) }}",
            "{% set ns = namespace(x=1) %}{% for i in range(63) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}"
                + "{{ ns.x == ns.x }}{{ ns.x }}",
            "{{ [1]" + String(repeating: " | map('string') | select", count: 30) + " | list }}",
            "{% set ns = namespace(x=1) %}{% for i in range(9999) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}{{ ns }}",
        ]
        let done = expectation(description: "rendered")
        let thread = Thread {
            for template in templates { _ = try? Self.render(template) }
            done.fulfill()
        }
        // Unoptimised frames are some four times as large.
        #if DEBUG
            thread.stackSize = 2 << 20
        #else
            thread.stackSize = 512 << 10
        #endif
        thread.start()
        wait(for: [done], timeout: 60)
    }
}
