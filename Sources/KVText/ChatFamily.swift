/// Templates for models whose files have none, or none that can be read, under llama.cpp's names.
struct ChatFamily {
    let name: String
    /// What is found in a template of this family.
    let marks: [String]
    let template: String

    static func named(_ name: String) -> ChatFamily? { all.first { $0.name == name } }

    /// The family whose marks a template has.
    static func like(_ template: String) -> ChatFamily? {
        all.first { !$0.marks.isEmpty && $0.marks.allSatisfy { template.contains($0) } }
    }

    /// The family whose control tokens a vocabulary has.
    static func speaking(_ vocabulary: Vocabulary) -> ChatFamily? {
        let controls = Set(
            vocabulary.types.indices.lazy.filter { vocabulary.types[$0] == .control }.map { vocabulary.tokens.string($0) })
        return all.first { family in
            let marks = family.marks.filter { $0.hasPrefix("<") && $0.hasSuffix(">") }
            return !marks.isEmpty && marks.count == family.marks.count && marks.allSatisfy { controls.contains($0) }
        }
    }

    /// One turn after another: what stands before and behind each role's text, and what opens the answer.
    private static func turns(
        _ start: String = "", role: String, end: String, prompt: String, content: String = "message['content']"
    ) -> String {
        "\(start){% for message in messages %}{{ \(role) + \(content) + \(end) }}{% endfor %}"
            + "{% if add_generation_prompt %}{{ \(prompt) }}{% endif %}"
    }

    /// Writes the system message into the first user's turn.
    private static func instructions(system: String, answer: String, open: String = "'[INST] '") -> String {
        "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}"
            + "{% if message['role'] == 'system' %}{% set ns.system = \(system) %}"
            + "{% elif message['role'] == 'user' %}{{ \(open) + ns.system + message['content'] + ' [/INST]' }}"
            + "{% set ns.system = '' %}{% else %}{{ \(answer) }}{% endif %}{% endfor %}"
    }

    /// In the order in which templates are compared with them.
    static let all: [ChatFamily] = [
        ChatFamily(
            name: "phi4", marks: ["<|im_start|>", "<|im_sep|>"],
            template: turns(
                role: "'<|im_start|>' + message['role'] + '<|im_sep|>'", end: "'<|im_end|>'",
                prompt: "'<|im_start|>assistant<|im_sep|>'")),
        ChatFamily(
            name: "chatml", marks: ["<|im_start|>", "<|im_end|>"],
            template: turns(
                role: "'<|im_start|>' + message['role'] + '\\n'", end: "'<|im_end|>\\n'",
                prompt: "'<|im_start|>assistant\\n'")),
        ChatFamily(
            name: "llama3", marks: ["<|start_header_id|>", "<|eot_id|>"],
            template: turns(
                "{{ bos_token }}", role: "'<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'",
                end: "'<|eot_id|>'", prompt: "'<|start_header_id|>assistant<|end_header_id|>\\n\\n'",
                content: "message['content'] | trim")),
        ChatFamily(
            name: "gemma", marks: ["<start_of_turn>", "<end_of_turn>"],
            template: "{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}"
                + "{% if message['role'] == 'system' %}{% set ns.system = message['content'] | trim + '\\n\\n' %}{% else %}"
                + "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\\n' + ns.system + "
                + "message['content'] | trim + '<end_of_turn>\\n' }}{% set ns.system = '' %}{% endif %}{% endfor %}"
                + "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"),
        ChatFamily(
            name: "command-r", marks: ["<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
            template: turns(
                "{{ bos_token }}",
                role: "'<|START_OF_TURN_TOKEN|>' + {'system': '<|SYSTEM_TOKEN|>', 'user': '<|USER_TOKEN|>'}"
                    + ".get(message['role'], '<|CHATBOT_TOKEN|>')", end: "'<|END_OF_TURN_TOKEN|>'",
                prompt: "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'", content: "message['content'] | trim")),
        ChatFamily(
            name: "granite", marks: ["<|start_of_role|>"],
            template: turns(
                role: "'<|start_of_role|>' + message['role'] + '<|end_of_role|>'", end: "'<|end_of_text|>\\n'",
                prompt: "'<|start_of_role|>assistant<|end_of_role|>'")),
        ChatFamily(
            name: "phi3", marks: ["<|assistant|>", "<|end|>"],
            template: turns(
                role: "'<|' + message['role'] + '|>\\n'", end: "'<|end|>\\n'", prompt: "'<|assistant|>\\n'")),
        ChatFamily(
            name: "falcon3", marks: ["<|assistant|>", "<|user|>", "eos_token"],
            template: turns(
                role: "'<|' + message['role'] + '|>\\n'", end: "(eos_token if message['role'] == 'assistant' else '') + '\\n'",
                prompt: "'<|assistant|>\\n'")),
        ChatFamily(
            name: "zephyr", marks: ["<|user|>", "</s>"],
            template: turns(
                role: "'<|' + message['role'] + '|>\\n'", end: "eos_token + '\\n'", prompt: "'<|assistant|>\\n'")),
        ChatFamily(
            name: "deepseek3", marks: ["<｜Assistant｜>", "<｜User｜>"],
            template: turns(
                "{{ bos_token }}",
                role: "{'user': '<｜User｜>', 'assistant': '<｜Assistant｜>'}.get(message['role'], '')",
                end: "('<｜end▁of▁sentence｜>' if message['role'] == 'assistant' else '')", prompt: "'<｜Assistant｜>'")),
        ChatFamily(
            name: "deepseek", marks: ["### Instruction:", "### Response:"],
            template: turns(
                "{{ bos_token }}",
                role: "{'user': '### Instruction:\\n', 'assistant': '### Response:\\n'}.get(message['role'], '')",
                end: "('\\n<|EOT|>\\n' if message['role'] == 'assistant' else '\\n')", prompt: "'### Response:\\n'")),
        ChatFamily(
            name: "chatglm4", marks: ["[gMASK]<sop>"],
            template: turns(
                "{{ '[gMASK]<sop>' }}", role: "'<|' + message['role'] + '|>\\n'", end: "''", prompt: "'<|assistant|>\\n'")),
        ChatFamily(
            name: "llama2", marks: ["[INST]", "<<SYS>>"],
            template: instructions(
                system: "'<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n'",
                answer: "' ' + message['content'] | trim + ' ' + eos_token")),
        ChatFamily(
            name: "mistral", marks: ["[INST]"],
            template: instructions(
                system: "message['content'] + '\\n\\n'", answer: "message['content'] | trim + eos_token", open: "'[INST] '")),
        ChatFamily(
            name: "vicuna", marks: ["USER: ", "ASSISTANT:"],
            template: turns(
                role: "{'user': 'USER: ', 'assistant': 'ASSISTANT: '}.get(message['role'], '')",
                end: "(eos_token if message['role'] == 'assistant' else '\\n\\n' if message['role'] == 'system' else '\\n')",
                prompt: "'ASSISTANT:'")),
        ChatFamily(
            name: "falcon", marks: ["Falcon:"],
            template: "{% for message in messages %}{{ '' if loop.first else '\\n' }}"
                + "{{ {'system': 'System: ', 'user': 'User: '}.get(message['role'], 'Falcon: ') + message['content'] }}"
                + "{% endfor %}{% if add_generation_prompt %}{{ '\\nFalcon:' }}{% endif %}"),
        ChatFamily(
            name: "openchat", marks: ["GPT4 Correct"],
            template: turns(
                "{{ bos_token }}",
                role: "{'user': 'GPT4 Correct User: ', 'assistant': 'GPT4 Correct Assistant: '}.get(message['role'], '')",
                end: "'<|end_of_turn|>'", prompt: "'GPT4 Correct Assistant:'")),
    ]
}
