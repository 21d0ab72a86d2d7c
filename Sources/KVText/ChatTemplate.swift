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

/// How a conversation is written for a model: a Jinja template, run within a budget.
package struct ChatTemplate: Sendable {
    private let statements: [Statement]
    /// What the user should know of how the template was chosen; nil where it is the model's own.
    package let notice: String?

    /// - Throws: `TemplateError` where the text is no template.
    package init(template: String) throws(TemplateError) { try self.init(template, notice: nil) }

    private init(_ template: String, notice: String?) throws(TemplateError) {
        statements = try Parser.parse(template)
        self.notice = notice
    }

    /// A built-in family's template under its name (`chatml`, `llama3`), else a template's text.
    package init(nameOrTemplate text: String) throws(TemplateError) {
        if let family = ChatFamily.named(text) {
            try self.init(family.template, notice: nil)
        } else if text.contains("{") || text.contains("\n") {
            try self.init(template: text)
        } else {
            throw TemplateError(
                .input,
                "no chat template is named \(text): give one of \(ChatFamily.all.map(\.name).joined(separator: ", "))"
                    + ", or a template's text")
        }
    }

    /// The template of a vocabulary's file. Where it cannot be read, or the file has none, the built-in family that it
    /// looks like, with a notice.
    /// - Throws: where there is neither.
    package init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        let field = "tokenizer.chat_template"
        let template = vocabulary.chatTemplate
        var failure = "the file has no chat template"
        if let template {
            do {
                try self.init(template: template)
                return
            } catch { failure = error.description }
        }
        let family = template.flatMap { ChatFamily.like($0) } ?? (template == nil ? ChatFamily.speaking(vocabulary) : nil)
        if let family {
            do {
                try self.init(family.template, notice: "\(failure); the built-in \(family.name) template is used")
                return
            } catch { failure = error.description }
        }
        throw TokenizerError(
            .unsupportedTemplate, file: vocabulary.source, field: field, value: template ?? "",
            expected: "\(failure); give one with --chat-template or --chat-template-file")
    }

    /// The conversation as segments for `Tokenizer.encode`: what the template writes is markup; what came with the
    /// messages, the tools and the variables is not, so that a `<|im_end|>` in a message stays text.
    /// - Throws: `TemplateError`: of reason raised where the template refuses the conversation.
    package func render(_ input: TemplateInput) throws(TemplateError) -> [TextSegment] {
        let interpreter = Interpreter(
            variables: input.variables, budget: TemplateBudget(input: input.size), time: input.time)
        return try interpreter.render(statements).segments()
    }
}
