#!/usr/bin/env python3
"""Random templates with what Jinja makes of them, in the environment that transformers sets up.

Usage: differential.py COUNT SEED > differential.json
Needs jinja2 3.1.6 and transformers; the results are those of CPython 3.11.
"""
import json, random, re, signal, sys, warnings
from datetime import datetime

import transformers.utils.chat_template_utils as chat

warnings.simplefilter("ignore")
NOW = "2026-03-05T14:07:09"


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(NOW)


chat.datetime = Clock

VARIABLES = json.loads(r"""{
"messages": [{"role": "user", "content": "Hi <b> \"q\" 's'"}, {"role": "assistant", "content": null,
  "tool_calls": [{"function": {"name": "f", "arguments": {"id": 12345678901234567890, "x": 1.50}}}]},
  {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}],
"n": 7, "m": -3, "z": 0, "big": 123456789012345678901234567890, "f": 2.5, "g": -0.1, "huge": 1e20, "small": 1e-7,
"inf": Infinity, "nan": NaN, "t": true, "none": null,
"s": "Hello World-foo bar_baz", "e": "", "w": "  \t a b\u00a0 c\u2003 \n", "num": " 42 ", "hex": "0x1F", "fl": "1_0.5e2",
"u": "Gr\u00fc\u00dfe \ud83d\udc4b\ud83c\udffd \u65e5\u672c", "comp": "caf\u00e9", "deco": "cafe\u0301", "sig": "\u039f\u0394\u039f\u03a3 \u03a3",
"case": "\u01c5 \ufb01 \u0130i \u00b5\u017f\u1e9e", "dig": "\u0663\u00b2\u2167\u4e00", "nl": "a\n  b\r\n\nc\u2028d\u000be\n", "html": "<a href='x'>&amp; \"y\"</a><!-- c -->",
"fmt": "%s and %5.2f%%", "br": "{0!r:>8}|{1}|{k[a]}", "long": "the quick brown fox-trot jumps--over the extra-ordinarily lazy dog again and again",
"l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "mix": [1, 1.0, true, "1", null, [1], 0], "nest": [[1, 2], [3, [4]]],
"d": {"b": 1, "a": [1, {"x": null}], "C": "z", "items": 5}, "keys": {"caf\u00e9": 1, "cafe\u0301": 2}, "ed": {}, "el": [],
"objs": [{"k": {"z": 2}, "n": "b", "v": 1.5}, {"k": {"z": 1}, "n": "A", "v": 2}, {"n": "c", "v": true}, {"k": {"z": 2}, "n": "a", "v": -4}]
}""")

R = random.Random()
STRINGS = ["s", "e", "w", "num", "hex", "fl", "u", "comp", "deco", "sig", "case", "dig", "nl", "html", "fmt", "br", "long",
           "'abc'", "'a,b,,c'", "'%d items'", "'x'", "' '", "'aXbXc'", "'-7'", "'1e3'", "'É'", "'e\\u0301'", "'\\n'", "'aaa'", "'T'", "''"]
NUMBERS = ["n", "m", "z", "big", "f", "g", "huge", "small", "0", "1", "2", "3", "-1", "10", "1.5", "0.5", "2.675", "1e16", "1e-5", "t",
           "12345678901234567890", "-9223372036854775808", "9223372036854775807", "18446744073709551616", "0x1f", "1_000", "3.0", "25", "-15", "1e22"]
LISTS = ["l", "ls", "mix", "nest", "el", "objs", "messages", "range(5)", "range(10, 0, -3)", "[1, 2, 3]", "('a', 1)", "['b', 'a']", "d.keys()", "d.items()",
         "d.values()", "[0.5, -1, 2]", "()", "('x',)", "[none, 1]", "'abc'", "[comp, deco]"]
MAPS = ["d", "ed", "keys", "{'a': 1, 'b': 2}", "dict(a=1)", "{1: 'x', true: 'y', 1.0: 'z'}", "messages[1]", "{comp: 1}", "{(1, 2): 3}", "{none: 1, 2.5: 2}"]
OTHERS = ["none", "true", "false", "undefd", "inf", "nan", "namespace(a=1, b=[2])"]
SMALL = ["0", "1", "2", "3", "-1", "-2", "5", "10", "80", "none", "true", "'a'", "1.5", "-9223372036854775808", "10**20"]


def pick(*options):
    return R.choice(options)


def string(depth):
    if depth <= 0 or R.random() < 0.35:
        return R.choice(STRINGS)
    return pick(
        lambda: method(depth), lambda: f"({string(depth - 1)} ~ {any_value(depth - 1)})", lambda: f"({string(depth - 1)} + {string(depth - 1)})",
        lambda: f"{string(depth - 1)}|{text_filter(depth)}", lambda: f"({string(depth - 1)} * {R.choice(SMALL[:7])})", lambda: percent(depth), lambda: format_call(depth),
        lambda: f"({any_value(depth - 1)}|string)", lambda: f"({any_value(depth - 1)}|tojson{tojson_arguments()})", lambda: f"{paren(string(depth - 1))}{index()}")()


def paren(text):
    return f"({text})"


def index():
    small = lambda: R.choice(["", "0", "1", "2", "-1", "-2", "5", "10**20", "none"])
    return pick(lambda: f"[{R.choice(['0', '1', '-1', '7', 'true', '10**20', '1.0'])}]", lambda: f"[{small()}:{small()}]",
                lambda: f"[{small()}:{small()}:{R.choice(['1', '-1', '2', '-2', '3', '-3', '0', '10**20', '-10**20'])}]")()


def method(depth):
    text = paren(string(depth - 1))
    arg = lambda: string(0)
    limit = lambda: R.choice(["", ", 1", ", 0", ", -1", ", 2", ", 10**20", ", -9223372036854775808"])
    bounds = lambda: R.choice(["", "", ", 1", ", -3", ", 1, 4", ", 2, -1", ", 99", ", none, 3", ", -10**20, 10**20"])
    name = R.choice(["strip", "lstrip", "rstrip", "upper", "lower", "title", "capitalize", "casefold", "swapcase", "split", "rsplit", "splitlines", "replace",
                     "join", "find", "rfind", "index", "rindex", "count", "startswith", "endswith", "zfill", "center", "ljust", "rjust", "partition", "rpartition",
                     "removeprefix", "removesuffix", "expandtabs", "is", "is", "format"])
    if name in ("strip", "lstrip", "rstrip"):
        return f"{text}.{name}({pick('', arg(), 'none')})"
    if name in ("split", "rsplit"):
        return f"{text}.{name}({pick('', arg() + limit(), 'none' + limit(), arg(), 'maxsplit=1', 'sep=none, maxsplit=2')})"
    if name == "splitlines":
        return f"{text}.{name}({pick('', 'true', 'keepends=true')})"
    if name == "replace":
        return f"{text}.replace({arg()}, {arg()}{limit()})"
    if name == "join":
        return f"{text}.join({sequence(depth - 1)})"
    if name in ("find", "rfind", "index", "rindex", "count", "startswith", "endswith"):
        return f"{text}.{name}({pick(arg(), arg(), '(' + arg() + ', ' + arg() + ')')}{bounds()})"
    if name in ("zfill", "expandtabs"):
        return f"{text}.{name}({R.choice(SMALL[:11] + ['-9223372036854775807-1'])})"
    if name in ("center", "ljust", "rjust"):
        return f"{text}.{name}({R.choice(['0', '5', '12', '13', '-1', 'none', '30'])}{pick('', ', ' + arg())})"
    if name in ("partition", "rpartition", "removeprefix", "removesuffix"):
        return f"{text}.{name}({arg()})"
    if name == "is":
        return f"{text}.is{R.choice(['digit', 'alpha', 'alnum', 'space', 'upper', 'lower', 'title', 'ascii', 'decimal', 'numeric', 'identifier', 'printable'])}()"
    if name == "format":
        return format_call(depth)
    return f"{text}.{name}()"


def spec():
    return (pick("", "", "*", "0", "é") + pick("<", ">", "^", "=", "") if R.random() < 0.5 else pick("", "", "<", ">", "^", "=")) + pick("", "", "+", "-", " ") + pick("", "", "", "z") + \
        pick("", "", "#") + pick("", "", "0") + pick("", "", "5", "10", "22", "1") + pick("", "", ",", "_") + pick("", "", ".0", ".3", ".10", ".-5", ".") + \
        pick("", "", "d", "f", "e", "g", "x", "X", "o", "b", "c", "s", "n", "%", "E", "G", "F", "r")


def format_call(depth):
    field = lambda: pick("{}", "{}", "{0}", "{1}", "{k}", "{k.a}", "{0[0]}", "{0[a]}", "{!r}", "{!s:>5}", "{:" + spec() + "}", "{:" + spec() + "}", "{:" + spec() + "}",
                         "{{", "}}", "{:{}}", "{0:{w}}", "{", "}", "{k!x}", "{:.-5}", "{0.real}", "{-1}", "{k[}", "{:{:{}}}")
    text = "".join(pick("a", "é ", "") + field() for _ in range(R.randint(1, 2)))
    return f"'{text}'.format({any_value(0)}, {any_value(0)}, k={any_value(0)}, w={R.choice(['5', '8', spec_literal()])})"


def spec_literal():
    return "'" + spec() + "'"


def percent(depth):
    conversion = lambda: "%" + pick("", "", "-", "+", "#", "0", " ", "-0", "+#") + pick("", "", "5", "12", "1", "*") + pick("", "", ".2", ".0", ".10", ".-5", ".", ".*") + \
        pick("s", "s", "d", "i", "u", "f", "F", "e", "E", "g", "G", "x", "X", "o", "r", "a", "c", "%", "l", "ld", "q", "")
    count = R.randint(1, 2)
    text = "".join(pick("", "a", "é") + conversion() for _ in range(count))
    values = R.choice([any_value(depth - 1), "(" + ", ".join(any_value(0) for _ in range(count + R.choice([0, 0, 0, 1]))) + ",)"])
    if R.random() < 0.15:
        return f"('%(a)s|%(b)5d' % {R.choice(MAPS)})"
    return pick(f"('{text}' % {values})", f"('{text}'|format({any_value(0)}, {any_value(0)}))" if count > 1 else f"('{text}'|format({any_value(0)}))")


def tojson_arguments():
    return pick("", "", "", "(indent=2)", "(indent=0)", "(ensure_ascii=true)", "(sort_keys=true)", "(separators=(',', ':'))", "(indent='> ')", "(true)", "(indent=-1)", "(separators=',')")


def text_filter(depth):
    small = lambda: R.choice(SMALL)
    return pick("upper", "lower", "title", "capitalize", "trim", "length", "wordcount", "reverse", "e", "escape", "safe", "forceescape", "striptags", "string", "list", "first", "last",
                f"replace({string(0)}, {string(0)}{pick('', ', 1', ', none')})", f"trim({string(0)})", f"center({small()})", f"indent({pick('', '2', 'first=true', '2, true, true', chr(39) + '> ' + chr(39))})",
                f"truncate({R.choice(['', '5', '10, true', '9, false, ' + chr(39) + '~' + chr(39), '3, true, ' + chr(39) * 2 + ', 0', '0', '255', '20, leeway=0', '10**20'])})",
                f"wordwrap({R.choice(['', '5', '10', '3, false', '20, true, ' + chr(39) + '|' + chr(39), '12, break_on_hyphens=false', '1', '0'])})",
                f"int({pick('', '5', 'base=16', '0, 0', 'default=none', '0, 2')})", f"float({pick('', '1.5')})", "urlencode", "pprint", "tojson", "filesizeformat", f"join({string(0)})", f"format({any_value(0)})", "default('x')", "d('y', true)", "upper|lower", "items|list", "batch(2)|list", "slice(3)|list")


def number(depth):
    if depth <= 0 or R.random() < 0.3:
        return R.choice(NUMBERS)
    return pick(lambda: f"({number(depth - 1)} {R.choice(['+', '-', '*', '/', '//', '%'])} {number(depth - 1)})", lambda: f"({number(depth - 1)} ** {R.choice(['2', '3', '0', '-1', '0.5', '40', 'm'])})",
                lambda: f"(-{number(depth - 1)})", lambda: f"{paren(number(depth - 1))}|abs", lambda: f"{paren(number(depth - 1))}|int",
                lambda: f"{paren(number(depth - 1))}|float", lambda: f"{paren(number(depth - 1))}|round({R.choice(['', '1', '2', '-1', '-2', '0', 'none', '400', '-400', '-20', '20'])}{pick('', '', ', ' + repr(R.choice(['ceil', 'floor', 'common', 'x'])) )})".replace("(, ", "(0, "),
                lambda: f"{sequence(depth - 1)}|length", lambda: f"{sequence(depth - 1)}|sum", lambda: f"({number(depth - 1)}|filesizeformat{pick('', '(true)')})",
                lambda: f"{sequence(depth - 1)}|{pick('min', 'max', 'first', 'last')}", lambda: f"{paren(string(0))}|int", lambda: f"{paren(string(0))}|float")()


def sequence(depth):
    if depth <= 0 or R.random() < 0.35:
        return R.choice(LISTS)
    base = paren(sequence(depth - 1))
    attribute = lambda: R.choice(["'n'", "'k.z'", "'v'", "0", "'0'", "'role'", "'nope'", "'content.0.type'", "none", "'n,v'"])
    chain = pick(lambda: f"{base}|list", lambda: f"{base}|sort({pick('', 'true', 'case_sensitive=true', 'attribute=' + attribute(), 'reverse=true, attribute=' + attribute())})",
                 lambda: f"{base}|unique({pick('', 'true', 'attribute=' + attribute())})|list", lambda: f"{base}|reverse|list", lambda: f"({base} + {sequence(0)})", lambda: f"({base} * {R.choice(['2', '0', '-1', 't'])})",
                 lambda: f"{base}|map({pick(repr('upper'), repr('string'), 'attribute=' + attribute(), 'attribute=' + attribute() + ', default=' + repr('q'), repr('round') + ', 1', repr('length'), repr('abs'), repr('default') + ', 3', repr('nope'), '')})|list",
                 lambda: f"{base}|{pick('select', 'reject')}({pick('', repr('string'), repr('odd'), repr('gt') + ', 1', repr('in') + ', [1, 2]', repr('none'), repr('divisibleby') + ', 2', repr('defined'), repr('equalto') + ', 1', repr('nope'))})|list",
                 lambda: f"{base}|{pick('selectattr', 'rejectattr')}({attribute()}{pick('', ', ' + repr('defined'), ', ' + repr('equalto') + ', ' + repr('b'), ', ' + repr('string'), ', ' + repr('gt') + ', 1')})|list",
                 lambda: f"{base}|batch({R.choice(['2', '3', '0', '-1', '2, 0', '3, ' + repr('x'), '2.0', '2.0, 1'])})|list", lambda: f"{base}|slice({R.choice(['2', '3', '1', '4, ' + repr('x'), '0', '-1', '2.0'])})|list",
                 lambda: f"{base}|groupby({attribute()}{pick('', ', default=1', ', default=' + repr('z'), ', case_sensitive=true')})", lambda: f"{paren(string(depth - 1))}.split()",
                 lambda: f"{paren(string(depth - 1))}.{pick('split', 'rsplit')}({string(0)}, 1)", lambda: f"{base}{index()}", lambda: f"{mapping(depth - 1)}|dictsort({pick('', 'true', 'by=' + repr('value'), 'reverse=true', 'false, ' + repr('x'))})",
                 lambda: f"[{any_value(depth - 1)}, {any_value(0)}]", lambda: f"({any_value(depth - 1)},)", lambda: f"{mapping(depth - 1)}.{pick('keys', 'values', 'items')}()", lambda: f"{mapping(depth - 1)}|items|list",
                 lambda: f"{mapping(0)}|list")
    return chain()


def mapping(depth):
    if depth <= 0 or R.random() < 0.6:
        return R.choice(MAPS)
    return pick(lambda: f"dict({mapping(depth - 1)}, x={any_value(depth - 1)})", lambda: "{" + f"{any_value(0)}: {any_value(depth - 1)}, {any_value(0)}: {any_value(0)}" + "}",
                lambda: f"dict({mapping(depth - 1)}|items)", lambda: f"dict.fromkeys({sequence(0)}, {any_value(0)})", lambda: f"{paren(mapping(depth - 1))}.copy()")()


def boolean(depth):
    left, right = any_value(depth - 1), any_value(depth - 1)
    tests = ["odd", "even", "divisibleby 3", "divisibleby(0)", "defined", "undefined", "none", "boolean", "false", "true", "integer", "float", "lower", "upper", "string", "mapping", "number", "sequence",
             "iterable", "callable", "escaped", "sameas none", "in [1, 'abc']", "eq 1", "ne 1", "gt 1", "le 'b'", "filter", "test", "==(1)", "nope"]
    return pick(lambda: f"({left} {R.choice(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {right})", lambda: f"({number(depth - 1)} {R.choice(['==', '!=', '<', '<=', '>', '>='])} {number(depth - 1)})",
                lambda: f"({left} is {pick('', 'not ')}{R.choice(tests)})", lambda: f"(not {left})", lambda: f"({left} {R.choice(['and', 'or'])} {right})", lambda: f"({number(0)} < {number(0)} <= {number(0)})",
                lambda: f"({string(depth - 1)} {R.choice(['<', '==', 'in', '>='])} {string(depth - 1)})")()


def any_value(depth):
    return R.choices([string, number, sequence, mapping, boolean, lambda _: R.choice(OTHERS), item, lambda d: f"({any_value(d - 1)} if {any_value(d - 1)} else {any_value(d - 1)})"], [6, 5, 4, 2, 3 if depth > 0 else 0, 1, 1, 1 if depth > 0 else 0])[0](depth)


def item(depth):
    return pick(lambda: f"{mapping(depth - 1)}{R.choice(['.a', '.b', '.nope', '.items', '.get', chr(91) + repr('a') + chr(93), '.get(' + repr('a') + ')', '.get(' + string(0) + ', 5)', chr(91) + '1' + chr(93), '.update', '[comp]', '[deco]', '[[1]]', '.copy', '[1, 2]'])}",
                lambda: f"{sequence(depth - 1)}{R.choice(['[0]', '[-1]', '.0', '[1].n', '.append', '.append(1)', '.count(1)', '.index(1)', '.index(' + repr('a') + ', 1)', '[' + repr('x') + ']', '[0][0]', '.nope', '[0].grouper', '.copy()'])}",
                lambda: f"({number(0)}).{pick('real', 'imag', 'bit_length()', 'numerator', 'is_integer()', 'nope', 'bit_count()', 'as_integer_ratio()')}", lambda: f"messages[{R.choice('0123')}].{pick('role', 'content', 'tool_calls', 'tool_calls[0].function.arguments|tojson', 'nope.x')}")()


def statement(depth):
    body = lambda: block(depth - 1)
    return pick(
        lambda: "{% for x in " + sequence(depth) + pick("", " if x", " if x is defined", " if x is odd") + pick("", "", " recursive") + " %}" +
        pick("{{ x }}", "{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}", "{{ loop.previtem }}<{{ loop.nextitem }}", "{{ loop.cycle('a', 'b') }}", "{{ loop.changed(x) }}",
             "{{ loop.revindex0 }}{{ loop.depth0 }}{{ loop.revindex }}", "{% if loop.index0 > 1 %}{% break %}{% endif %}{{ x }}", "{% if x %}{% continue %}{% endif %}{{ x }}", "{{ loop }}", "{{ loop(x) if x is iterable and x is not string and loop.depth < 3 else x }}", body()) +
        pick("", "{% else %}none{% endfor %}"[:14]) + "{% endfor %}",
        lambda: "{% for k, v in " + pick(mapping(depth) + ".items()", mapping(depth) + "|items", mapping(depth) + "|dictsort", sequence(depth), "objs|groupby('n')", "objs|groupby('k.z', default=0)", "nest") + " %}{{ k }}={{ v }};{% endfor %}",
        lambda: "{% for g in " + sequence(0) + "|groupby(" + R.choice(["'n'", "'v'", "'k.z', default=0", "0", "'role'"]) + ") %}{{ g.grouper }}:{{ g.list|length }}{{ g[1]|map(attribute='n')|list }}{% endfor %}",
        lambda: "{% if " + any_value(depth) + " %}" + body() + pick("", "{% elif " + any_value(0) + " %}b", "{% else %}c") + "{% endif %}",
        lambda: "{% set x = " + any_value(depth) + " %}{{ x }}" + body(), lambda: "{% set x, y = " + sequence(depth) + " %}{{ x }}{{ y }}",
        lambda: "{% set x" + pick("", "|upper", "|trim|length") + " %}" + body() + "{% endset %}{{ x }}{{ x is escaped }}",
        lambda: "{% set ns = namespace(" + pick("a=1", "d", "a=1, b=" + any_value(0), "[('a', 2)]") + ") %}{% for x in " + sequence(0) + " %}{% set ns.a = " + pick("ns.a + 1", "ns.a ~ x", "x", "[ns.a]") + " %}{% endfor %}{{ ns.a }}{{ [ns] }}{{ ns.zz }}",
        lambda: "{% set l = [namespace(r='s'), namespace(r=namespace(q=1))] %}{{ l[1].r.q }}{% for i in l %}{{ i.r }}{% endfor %}{{ l|map(attribute='r')|list }}",
        lambda: "{% macro m(a, b=" + any_value(0) + ") %}{{ a }}|{{ b }}" + pick("", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller is defined }}") + "{% endmacro %}" +
        pick("{{ m(" + any_value(0) + ") }}", "{{ m() }}", "{{ m(1, 2, 3) }}", "{{ m(1, c=2) }}", "{{ m(b=1) }}", "{% call m(1) %}x{% endcall %}", "{% call(z) m(1) %}{{ z }}{% endcall %}", "{{ m(1, b=2, a=3) }}", "{{ m(*[1, 2]) }}{{ m(**{'a': 5}) }}", "{{ m }}{{ m.name }}{{ m.arguments }}"),
        lambda: "{% filter " + pick("upper", "replace('a', 'b')", "length", "trim|upper", "nope") + " %}" + body() + "{% endfilter %}", lambda: "{% with x = " + any_value(depth) + ", y = n %}{{ x }}{{ y }}{% endwith %}{{ x is defined }}",
        lambda: "{% set c = cycler(" + pick("1, 2", "", "'a'") + ") %}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set j = joiner(" + pick("", "'; '", "1") + ") %}{{ j() }}a{{ j() }}b{{ j() }}",
        lambda: "{% generation %}" + body() + "{% endgeneration %}", lambda: "{% print " + any_value(0) + ", " + any_value(0) + " %}", lambda: "{% set it = " + sequence(0) + "|" + pick("map('string')", "select", "reject('none')", "unique", "reverse", "batch(2)") + " %}{{ it|first }}{{ it|list }}{{ it|list }}{{ it is sequence }}{{ 1 in it }}",
        lambda: pick("{% if x %}{{ 1|nope }}{% endif %}ok", "{{ 1|nope if false else 2 }}", "{% for q in [] %}{{ q|nope }}{% endfor %}", "{{ raise_exception(" + any_value(0) + ") }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %j %a %b') }}", "{% break %}", "{% do 1 %}", "{{ a.b }}", "{{ undefd.x }}", "{{ undefd['x'] }}", "{{ undefd() }}", "{{ 's'.__class__ }}", "{{ ''.join }}"[:9] + "}}",
                     "{% set loop = 1 %}{{ loop }}", "{% for loop in [1] %}{% endfor %}", "{{ 1 if none }}", "{{ (1, 2,) }}{{ 1, }}", "{{ [1,2][0,1] }}", "{{ namespace(_a=1) }}", "{{ range(10**9) }}", "{{ [1][1:2:0] }}", "{{ 'a' 'b' }}", "{{ 1.e5 }}", "{{ 007 }}", "{{ 0b101 }}{{ 0o17 }}{{ 0xfF }}", "{{ x if }}", "{{ 'a\\x41\\u00e9\\101\\q\\é' }}"),
    )()


def block(depth):
    return "".join(pick(lambda: "{{ " + any_value(depth) + " }}", lambda: "{{ " + any_value(depth) + " }}", lambda: pick(" ", "\n", "text ", "  \n  ", "é"), lambda: statement(depth - 1) if depth > 0 else "{{- n -}}", lambda: pick("{# c #}\n", "{#- c -#} ", "{% raw %}{{ x }}{% endraw %}\n", "\n  {% if t %}\n a\n  {% endif %}\n", "{%- if t +%}\n b {% endif %}"))() for _ in range(R.randint(1, 2)))


def template():
    return pick(lambda: "{{ " + any_value(R.randint(0, 3)) + " }}", lambda: "{{ " + any_value(2) + " }}", lambda: statement(R.randint(0, 2)), lambda: block(2))()


def render(text):
    signal.alarm(3)
    try:
        compiled = chat._cached_compile_jinja_template(text)
        result = compiled.render(tools=None, documents=None, add_generation_prompt=False, **VARIABLES)
        result.encode()
        return result, None
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"[:80]
    finally:
        signal.alarm(0)


class Slow(BaseException):
    pass


def slow(*_):
    raise Slow


signal.signal(signal.SIGALRM, slow)


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    R.seed(seed)
    cases, seen = [], set()
    while len(cases) < count:
        text = template()
        if text in seen or len(text) > 700:
            continue
        seen.add(text)
        try:
            expected, error = render(text)
        except Slow:
            continue
        # Addresses, hashes and the like are not the same twice.
        if expected is not None and (" at 0x" in expected.lower() or len(expected) > 3000 or "built-in method" in expected):
            continue
        try:
            json.dumps([text, error], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            continue
        cases.append({"template": text, "expected": expected, **({} if error is None else {"error": error})})
    out = {"rendered_by": "jinja2 3.1.6 with transformers' environment, by differential.py", "now": NOW,
           "variables": json.dumps(VARIABLES), "cases": cases}
    print(json.dumps(out, ensure_ascii=False, indent=0))


if __name__ == "__main__":
    main()
