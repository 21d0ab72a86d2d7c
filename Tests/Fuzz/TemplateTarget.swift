import Foundation
import KVText

/// Chat templates and conversations: written by a grammar, or changed from those of the corpus.
struct TemplateTarget: FuzzTarget {
    static let name = "template"
    private let grammar = TemplateGrammar()
    private let typed = TypedTemplateGrammar()
    private var templates: [[UInt8]]
    private let mutation: JSONMutation

    /// Two that are like many models' own: the corpus need not have any.
    private static let usual = [
        """
        {{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
        {{ raise_exception('roles must alternate') }}{% endif %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim \
        + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
        """,
        """
        {%- set ns = namespace(system='', first=true) %}{%- if tools is not none %}{{- '# Tools' }}{%- for tool in tools %}\
        {{- tool | tojson(indent=4) }}{{- '\\n\\n' if not loop.last }}{%- endfor %}{%- endif %}{%- for message in messages %}\
        {%- if message.role == 'system' %}{%- set ns.system = message.content %}{%- elif message.content is string %}\
        {{- '[INST] ' ~ ns.system ~ message.content ~ ' [/INST]' }}{%- else %}{%- for part in message.content | selectattr('type', 'equalto', \
        'text') %}{{- part['text'].split('</think>')[-1].lstrip('\\n') }}{%- endfor %}{%- endif %}{%- if message.tool_calls %}\
        {%- for call in message.tool_calls %}{{- '{\"name\": \"%s\"}' | format(call.function.name) }}{{- call.function.arguments | tojson }}\
        {%- endfor %}{%- endif %}{%- endfor %}{{- strftime_now('%d %b %Y') }}
        """,
    ]

    init(_ context: TargetContext) throws {
        templates = Self.usual.map { Array($0.utf8) }
        templates += (try? context.corpus.contents(ending: ".jinja", limit: 1 << 18)) ?? []
        for file in (try? context.corpus.contents(ending: "/expressions.json")) ?? [] {
            guard case .array(let cases)? = JSONDocument(file)?["cases"] else { continue }
            for one in cases { if case .string(let text)? = one["template"] { templates.append(text) } }
        }
        mutation = JSONMutation(learning: [Self.conversation])
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        var text: [UInt8]
        switch random.below(3) {
        case 0: text = Array(grammar.template(&random).utf8)
        case 1: text = Array(typed.template(&random).utf8)
        default: text = random.pick(templates)
        }
        if random.oneIn(5) { change(&text, &random) }
        var messages = Self.conversation
        if random.oneIn(2) { for _ in 0...random.below(3) { mutation.apply(to: &messages, &random) } }
        var json = messages.serialised()
        if random.oneIn(16) { ByteMutation.apply(to: &json, &random) }
        try Corpus.write(text, to: folder + "/template.jinja")
        try Corpus.write(json, to: folder + "/messages.json")
        let template = try ChatTemplate(template: String(decoding: text, as: UTF8.self))
        let input = try TemplateInput(json: String(decoding: json, as: UTF8.self))
        let first = try template.render(input)
        // A time of day may stand in it, and draws.
        guard try template.render(input) == first || text.contains(UInt8(ascii: "w")) else {
            throw Fault("the second rendering differs")
        }
        return "rendered"
    }

    /// Pieces doubled, removed, exchanged with other templates'; or bytes.
    private func change(_ text: inout [UInt8], _ random: inout RandomSource) {
        for _ in 0...random.below(3) {
            guard !text.isEmpty else { return }
            if random.oneIn(3) {
                ByteMutation.apply(to: &text, &random, others: templates)
                continue
            }
            let other = random.oneIn(2) ? Array(grammar.template(&random).utf8) : random.pick(templates)
            let start = random.below(other.count)
            let piece = other[start..<min(other.count, start + 1 + random.below(80))]
            let at = random.below(text.count)
            text.replaceSubrange(at..<min(text.count, at + random.below(20)), with: piece)
        }
    }

    private static let conversation = JSONDocument.object([
        "messages": .array([
            .object(["role": .text("system"), "content": .text("Be brief.")]),
            .object(["role": .text("user"), "content": .text("Hi <|im_end|> {{ 7 * 7 }} é e\u{301}")]),
            .object([
                "role": .text("assistant"), "content": .null,
                "tool_calls": .array([
                    .object([
                        "id": .text("c1"), "type": .text("function"),
                        "function": .object([
                            "name": .text("f"), "arguments": .object(["n": .number("12345678901234567890"), "x": .number("2.5")]),
                        ]),
                    ])
                ]),
            ]),
            .object(["role": .text("tool"), "tool_call_id": .text("c1"), "content": .text("{\"ok\": true}")]),
            .object(["role": .text("user"), "content": .array([.object(["type": .text("text"), "text": .text("Well?")])])]),
        ]),
        "tools": .array([
            .object([
                "type": .text("function"),
                "function": .object([
                    "name": .text("f"), "description": .text("d"), "parameters": .object(["type": .text("object")]),
                ]),
            ])
        ]),
        "add_generation_prompt": .bool(true), "bos_token": .text("<s>"), "eos_token": .text("</s>"),
        "now": .text("2026-03-05T14:07:09"),
        "n": .integer(7), "f": .number("2.5"), "s": .text("Hello World"), "l": .array([.integer(3), .integer(1), .integer(2)]),
        "d": .object(["b": .integer(1), "a": .array([.integer(1), .null])]), "t": .bool(true),
    ])
}
