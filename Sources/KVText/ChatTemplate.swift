/// One turn of a conversation.
package struct ChatMessage: Sendable, Equatable {
    /// "system", "user", "assistant", or what else the model knows.
    package let role: String
    package let content: String

    package init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

/// How a conversation is written for a model: ChatML, with the model's own default system message.
///
/// Templates are not run but recognised, by every statement in them: one that differs in anything is refused rather
/// than approximated.
package struct ChatTemplate: Sendable {
    /// The system message of conversations that begin without one; nil where the template adds none.
    package let defaultSystem: String?

    /// The template of a vocabulary's file; plain ChatML where the file has none but the vocabulary has its tokens.
    package init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        guard let template = vocabulary.chatTemplate else {
            guard Self.speaksChatML(vocabulary) else {
                throw TokenizerError(
                    .unsupportedTemplate, file: vocabulary.source, field: Self.field, value: "",
                    expected: "a ChatML template, or ChatML's control tokens (\(Self.start), \(Self.end))")
            }
            self.init(defaultSystem: nil)
            return
        }
        try self.init(template: template, source: vocabulary.source)
    }

    private init(defaultSystem: String?) { self.defaultSystem = defaultSystem }

    /// - Throws: where the template is not ChatML as this type knows it.
    package init(template: String, source: String = "") throws(TokenizerError) {
        guard let items = JinjaSkeleton(template)?.items, let form = Self.recognise(items[...]) else {
            throw TokenizerError(
                .unsupportedTemplate, file: source, field: Self.field, value: template,
                expected: "a ChatML template (\(Self.start)role, content, \(Self.end)); no other is supported")
        }
        self.init(defaultSystem: form.defaultSystem)
    }

    private static let field = "tokenizer.chat_template"
    private static let start = "<|im_start|>"
    private static let end = "<|im_end|>"

    /// The conversation as segments for `Tokenizer.encode`: what the template writes is markup, roles and contents are
    /// not, so that a `<|im_end|>` in a message stays text.
    /// - Parameter addGenerationPrompt: opens the assistant's turn.
    package func render(messages: [ChatMessage], addGenerationPrompt: Bool) -> [TextSegment] {
        var segments: [TextSegment] = []
        func write(_ role: String, _ content: String) {
            segments.append(TextSegment(Self.start, isMarkup: true))
            segments.append(TextSegment(role + "\n" + content, isMarkup: false))
            segments.append(TextSegment(Self.end + "\n", isMarkup: true))
        }
        if let defaultSystem, let first = messages.first, first.role != "system" { write("system", defaultSystem) }
        for message in messages { write(message.role, message.content) }
        if addGenerationPrompt { segments.append(TextSegment(Self.start + "assistant\n", isMarkup: true)) }
        return segments
    }

    private static func speaksChatML(_ vocabulary: Vocabulary) -> Bool {
        let controls = vocabulary.types.indices.lazy.filter { vocabulary.types[$0] == .control }
        let wanted: Set<String> = [start, end]
        return Set(controls.map { vocabulary.tokens.string($0) }.filter(wanted.contains)).count == wanted.count
    }

    private struct Form {
        var defaultSystem: String?
    }

    /// Reads the template statement by statement; nil at the first that ChatML does not have.
    private static func recognise(_ items: ArraySlice<JinjaSkeleton.Item>) -> Form? {
        var items = items
        var form = Form()
        func take(_ expected: JinjaSkeleton.Item...) -> Bool {
            guard items.starts(with: expected) else { return false }
            items = items.dropFirst(expected.count)
            return true
        }
        // A default for older runtimes, which the caller's argument overrides here.
        let flag = "add_generation_prompt"
        for test in ["ifnot\(flag)isdefined", "if\(flag)isnotdefined"] {
            _ = take(.statement(test), .statement("set\(flag)=false"), .statement("endif"))
        }
        guard take(.statement("formessageinmessages")) else { return nil }
        if take(.statement("ifloop.firstandmessages[0]['role']!='system'")) {
            guard case .output(let parts) = items.first, let system = systemMessage(parts) else { return nil }
            form.defaultSystem = system
            items = items.dropFirst()
            guard take(.statement("endif")) else { return nil }
        }
        let turn: [JinjaSkeleton.Part] = [
            .literal(start), .expression("message['role']"), .literal("\n"), .expression("message['content']"),
            .literal(end + "\n"),
        ]
        let prompt: [JinjaSkeleton.Part] = [.literal(start + "assistant\n")]
        guard take(.output(turn), .statement("endfor")),
            take(.statement("if\(flag)"), .output(prompt), .statement("endif"))
        else { return nil }
        return items.isEmpty ? form : nil
    }

    /// The text of a system turn that is written out whole.
    private static func systemMessage(_ parts: [JinjaSkeleton.Part]) -> String? {
        let opening = start + "system\n"
        let closing = end + "\n"
        guard parts.count == 1, case .literal(let text) = parts[0], text.hasPrefix(opening), text.hasSuffix(closing),
            text.count >= opening.count + closing.count
        else { return nil }
        let message = text.dropFirst(opening.count).dropLast(closing.count)
        return message.contains(start) || message.contains(end) ? nil : String(message)
    }
}
