import Foundation
import KVTestSupport
import XCTest

import KVText

/// Conversations against what the model's own template makes of them (Jinja, as transformers runs it).
final class ChatTemplateTests: XCTestCase {
    private struct Truth: Decodable {
        struct Case: Decodable {
            struct Message: Decodable {
                let role: String
                let content: String
            }
            let name: String
            let messages: [Message]
            let addGenerationPrompt: Bool
            let expected: String?

            enum CodingKeys: String, CodingKey {
                case name, messages, expected
                case addGenerationPrompt = "add_generation_prompt"
            }

            var conversation: [ChatMessage] { messages.map { ChatMessage(role: $0.role, content: $0.content) } }
        }
        let cases: [Case]
    }

    private func cases(_ name: String) throws -> [Truth.Case] {
        let path = try Fixtures.require("chat/\(name)/cases.json")
        // The templates here have no tools; of those cases the text is the same.
        return try JSONDecoder().decode(Truth.self, from: Data(contentsOf: URL(fileURLWithPath: path))).cases
    }

    private func template(_ name: String) throws -> String {
        try String(contentsOfFile: Fixtures.require("chat/\(name)/template.jinja"), encoding: .utf8)
    }

    private func checkRendering(_ name: String, defaultSystem: String?) throws {
        let chat = try ChatTemplate(template: template(name))
        XCTAssertEqual(chat.defaultSystem, defaultSystem)
        let cases = try cases(name)
        XCTAssertEqual(cases.count, 6)
        for item in cases {
            let segments = chat.render(messages: item.conversation, addGenerationPrompt: item.addGenerationPrompt)
            XCTAssertEqual(segments.map(\.text).joined(), item.expected, item.name)
        }
    }

    func testSmolLM2() throws {
        try checkRendering(
            "smollm2",
            defaultSystem: "You are a helpful AI assistant named SmolLM, trained by Hugging Face")
    }

    func testChatML() throws { try checkRendering("chatml", defaultSystem: nil) }

    func testOtherTemplatesAreRefused() throws {
        for name in ["falcon-style", "gemma-2", "llama-2", "llama-3.1", "mistral-nemo", "phi-3.5", "qwen2.5"] {
            let template = try template(name)
            XCTAssertThrowsError(try ChatTemplate(template: template), name) { error in
                let error = error as? TokenizerError
                XCTAssertEqual(error?.reason, .unsupportedTemplate)
                XCTAssertEqual(error?.value.prefix(40), template.prefix(40))
            }
        }
    }

    /// The same template written differently is ChatML; a small change of meaning is not.
    func testRecognition() throws {
        let forms = [
            "{%- for message in messages -%}\n  {{- \"<|im_start|>\" + message.role + '\\n' + message.content + "
                + "'<|im_end|>\\n' -}}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n  "
                + "{{- '<|im_start|>assistant\\n' -}}\n{%- endif -%}",
            "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
                + "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
            "{# ChatML #}{% if not add_generation_prompt is defined %}"
                + "{% set add_generation_prompt = false %}{% endif %}{% for message in messages %}"
                + "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
                + "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
                + "{% endif %}",
        ]
        for form in forms { XCTAssertNil(try ChatTemplate(template: form).defaultSystem, form) }
        let plain = forms[2]
        for (old, new) in [
            ("message['content']", "message['content'] | trim"), ("<|im_end|>", "<|end|>"),
            ("assistant\n", "assistant"),
            ("{% endfor %}", "{% endfor %} "), ("in messages", "in messages[1:]"), ("'\n' + mess", "' ' + mess"),
            ("}}{% endif %}", "}}"), ("add_generation_prompt %}{{", "tools %}{{"), (" %}", " "),
        ] {
            let changed = plain.replacingOccurrences(of: old, with: new)
            XCTAssertNotEqual(changed, plain)
            XCTAssertThrowsError(try ChatTemplate(template: changed), changed)
        }
        for broken in ["", "{{", "{% for", "{{ 'a }}", "{", "{{ '\\"] {
            XCTAssertThrowsError(try ChatTemplate(template: broken), broken)
        }
    }

    func testMessagesCannotSpeakInControlTokens() throws {
        let tokenizer = try TestVocabulary.tokenizer("smollm2")
        let chat = try ChatTemplate(tokenizer.vocabulary)
        for item in try cases("smollm2") {
            let segments = chat.render(messages: item.conversation, addGenerationPrompt: item.addGenerationPrompt)
            let ids = try tokenizer.encode(segments, addSpecial: false)
            let expected = try XCTUnwrap(item.expected)
            XCTAssertEqual(tokenizer.decode(ids, special: true), expected, item.name)
            let whole = try tokenizer.encode(expected, addSpecial: false, parseSpecial: true)
            if item.name == "specials-and-empty" {
                XCTAssertEqual(whole.filter { $0 == 2 }.count, ids.filter { $0 == 2 }.count + 1)
            } else {
                XCTAssertEqual(ids, whole, item.name)
            }
        }
    }

    func testVocabularyWithoutTemplate() throws {
        let tokens = PackedBytes(["a", "<|im_start|>", "<|im_end|>"])
        let speaks = try Vocabulary(
            model: "gpt2", preTokenizer: "gpt-2", tokens: tokens, types: [.normal, .control, .control])
        XCTAssertNil(try ChatTemplate(speaks).defaultSystem)
        let silent = try Vocabulary(
            source: "base.gguf", model: "gpt2", preTokenizer: "gpt-2", tokens: tokens,
            types: [.normal, .normal, .control])
        XCTAssertThrowsError(try ChatTemplate(silent)) { error in
            XCTAssertEqual((error as? TokenizerError)?.reason, .unsupportedTemplate)
            XCTAssertEqual((error as? TokenizerError)?.file, "base.gguf")
        }
    }
}
