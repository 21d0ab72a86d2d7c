import ArgumentParser
import Foundation
import KVGGUF
import KVText

/// How a conversation is written; names as llama.cpp's.
struct TemplateOptions: ParsableArguments {
    @Option(
        help:
            "Chat template: the name of a built-in family (chatml, llama3, gemma, ...) or a Jinja template's text; default: the model's own"
    )
    var chatTemplate: String?
    @Option(help: "A file with the chat template")
    var chatTemplateFile: String?
    @Option(help: "A JSON object of variables for the template")
    var chatTemplateKwargs: String?
    @Flag(inversion: .prefixedNo, help: "Lets the model think first, or not, where its template knows enable_thinking")
    var enableThinking: Bool?
    @Flag(help: "Templates are always run; taken for llama.cpp's command lines")
    var jinja = false

    func validate() throws {
        if chatTemplate != nil, chatTemplateFile != nil {
            throw ValidationError("give --chat-template or --chat-template-file, not both")
        }
        if let chatTemplateKwargs {
            var input = try TemplateInput([])
            do { try input.setVariables(json: chatTemplateKwargs) } catch {
                throw ValidationError("--chat-template-kwargs: \(error)")
            }
        }
    }

    /// The options that were given and mean nothing without a template.
    var given: [String] {
        [
            (chatTemplate != nil, "--chat-template"), (chatTemplateFile != nil, "--chat-template-file"),
            (chatTemplateKwargs != nil, "--chat-template-kwargs"), (enableThinking == true, "--enable-thinking"),
            (enableThinking == false, "--no-enable-thinking"),
        ].filter(\.0).map(\.1)
    }

    /// The template asked for; nil for the model's own.
    func template() throws(Failure) -> ChatTemplate? {
        do {
            if let chatTemplate { return try ChatTemplate(nameOrTemplate: chatTemplate) }
        } catch { throw .usage("--chat-template: \(error)") }
        guard let chatTemplateFile else { return nil }
        let text = try Self.read(chatTemplateFile)
        do { return try ChatTemplate(template: text) } catch { throw .run("\(chatTemplateFile): \(error)") }
    }

    /// Sets what the command line says of the template's variables.
    func apply(to input: inout TemplateInput) throws(Failure) {
        if let enableThinking { input.enableThinking(enableThinking) }
        guard let chatTemplateKwargs else { return }
        do { try input.setVariables(json: chatTemplateKwargs) } catch { throw .usage("--chat-template-kwargs: \(error)") }
    }

    static func read(_ path: String) throws(Failure) -> String {
        let data = try Input.read(path)
        guard let text = String(validating: data, as: UTF8.self) else { throw .run("\(path): not UTF-8") }
        return text
    }
}

struct TemplateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template", abstract: "Prints a conversation as the chat template writes it for the model.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var template: TemplateOptions
    @Option(
        help: """
            JSON file, - for standard input: an array of messages, or an object with messages and, where wanted, tools, \
            add_generation_prompt, bos_token, eos_token, now and further variables
            """)
    var messages: String
    @Option(help: "JSON file with an array of tools")
    var tools: String?

    func run() throws {
        let text = try TemplateOptions.read(messages)
        let template: ChatTemplate
        var vocabulary: Vocabulary?
        if let asked = try self.template.template() {
            template = asked
            if model.model != nil { vocabulary = try loadVocabulary() }
        } else {
            let own = try loadVocabulary()
            do { template = try ChatTemplate(own) } catch { throw Failure.run("\(error)") }
            if let notice = template.notice { Terminal.note(notice) }
            vocabulary = own
        }
        var input: TemplateInput
        do { input = try TemplateInput(json: text) } catch { throw Failure.run("\(messages): \(error)") }
        if let vocabulary { input.setTokens(of: vocabulary) }
        if let tools {
            let text = try TemplateOptions.read(tools)
            do { try input.setTools(json: text) } catch { throw Failure.run("\(tools): \(error)") }
        }
        try self.template.apply(to: &input)
        let rendered: [TextSegment]
        do { rendered = try template.render(input) } catch {
            throw Failure.run((self.template.chatTemplateFile.map { "\($0): " } ?? "") + "\(error)")
        }
        try Terminal.output(rendered.map(\.text).joined())
    }

    private func loadVocabulary() throws(Failure) -> Vocabulary {
        let path = try model.path()
        do { return try Tokenize.vocabulary(path) } catch { throw .run("\(error)") }
    }
}
