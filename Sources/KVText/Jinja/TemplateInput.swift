/// What a template is rendered with: messages, tools and further variables, with the keys of JSON in their order.
package struct TemplateInput {
    var variables: [Name: Value] = [:]
    /// Bytes of what came in, by which the budget grows.
    private(set) var size = 0
    /// What `strftime_now` tells.
    private(set) var time = TemplateTime()

    /// A conversation to be answered.
    package init(_ messages: [ChatMessage]) throws(TemplateError) {
        try self.init()
        var values: [Value] = []
        for message in messages {
            size += message.role.utf8.count + message.content.utf8.count
            values.append(
                try .map([
                    (.text("role"), .string(Text(message.role, isForeign: true))),
                    (.text("content"), .string(Text(message.content, isForeign: true))),
                ]))
        }
        variables["messages".name] = try Self.trustingRoles(try .list(values))
    }

    /// A JSON object with `messages`, and where wanted `tools`, `add_generation_prompt`, `bos_token`, `eos_token`, `now`
    /// (2026-03-05T14:07:09) and further variables, also within `variables`; or the messages' array alone.
    /// - Throws: of reason input, saying what cannot be read.
    package init(json: String) throws(TemplateError) {
        try self.init()
        size = json.utf8.count
        let value = try JSONReader.value(of: json)
        switch value {
        case .list: variables["messages".name] = try Self.trustingRoles(value)
        case .map(let map):
            guard let messages = map["messages"] else { throw TemplateError(.input, "the object has no messages") }
            if case .map(let more)? = map["variables"] { set(more) }
            set(map)
            variables["variables".name] = nil
            variables["messages".name] = try Self.trustingRoles(messages)
            for name in ["bos_token", "eos_token"] {
                if case .string(let token)? = map[name] { variables[name.name] = .string(Text(points: token.points)) }
            }
            if let now = variables.removeValue(forKey: "now".name) {
                guard case .string(let text) = now, let time = TemplateTime(text.string) else {
                    throw TemplateError(.input, "now is no time as 2026-03-05T14:07:09")
                }
                self.time = time
            }
        default: throw TemplateError(.input, "neither an object with messages nor an array of them")
        }
    }

    private init() throws(TemplateError) {
        // As transformers has them: there, but none.
        variables = ["tools".name: .none, "documents".name: .none, "add_generation_prompt".name: .bool(false)]
    }

    package mutating func addGenerationPrompt(_ adds: Bool) { variables["add_generation_prompt".name] = .bool(adds) }

    /// The texts of the vocabulary's tokens, which templates write themselves, unless the input names its own.
    package mutating func setTokens(of vocabulary: Vocabulary) {
        for (name, id) in [("bos_token", vocabulary.bosID), ("eos_token", vocabulary.eosID)] {
            if let id, variables[name.name] == nil { variables[name.name] = .text(vocabulary.tokens.string(Int(id))) }
        }
    }

    package mutating func enableThinking(_ enables: Bool) { variables["enable_thinking".name] = .bool(enables) }

    /// A JSON array of tools.
    package mutating func setTools(json: String) throws(TemplateError) {
        let value = try JSONReader.value(of: json)
        guard case .list = value else { throw TemplateError(.input, "the tools are no JSON array") }
        size += json.utf8.count
        variables["tools".name] = value
    }

    /// A JSON object of further variables.
    package mutating func setVariables(json: String) throws(TemplateError) {
        guard case .map(let map) = try JSONReader.value(of: json) else {
            throw TemplateError(.input, "the template's variables are no JSON object")
        }
        size += json.utf8.count
        set(map)
    }

    /// What a template calls (`raise_exception`) stays what it is.
    private mutating func set(_ map: Value.Map) {
        for (key, value) in map.entries {
            if case .string(let name) = key, !Interpreter.globals.contains(name.string) { variables[name.points] = value }
        }
    }

    /// Roles that are plain words are markup: templates build control tokens of them (`<|user|>`), and a word without
    /// signs is none by itself.
    private static func trustingRoles(_ messages: Value) throws(TemplateError) -> Value {
        guard case .list(let list) = messages else { throw TemplateError(.input, "the messages are no array") }
        var trusted: [Value] = []
        for message in list.items {
            if case .map(let map) = message, case .string(let role)? = map["role"],
                role.points.allSatisfy({ (0x61...0x7A).contains($0) || $0 == 0x5F })
            {
                trusted.append(try .map(map.entries + [(.text("role"), .string(Text(points: role.points)))]))
            } else {
                trusted.append(message)
            }
        }
        return try .list(trusted)
    }
}

extension String {
    /// The name that a template has for it.
    fileprivate var name: Name { unicodeScalars.map(\.value) }
}
