/// The parts of `tokenizer_config.json` that a vocabulary needs. What has another type than it should counts as absent, as
/// the file is for many programs.
struct TokenizerSettings {
    /// Texts of the tokens that begin and end a text.
    var beginning: [UInt8]?
    var end: [UInt8]?
    var chatTemplate: String?
    /// Tokens by their ids, in order.
    var added: [(id: Int, token: TokenizerFields)] = []

    init(_ fields: TokenizerFields?) {
        guard let fields else { return }
        beginning = Self.token(fields.json["bos_token"])
        end = Self.token(fields.json["eos_token"])
        chatTemplate = Self.template(fields.json["chat_template"])
        guard case .object(let tokens)? = fields.json["added_tokens_decoder"] else { return }
        for (key, token) in tokens {
            let name = String(decoding: key, as: UTF8.self)
            guard let id = Int(name), case .object = token else { continue }
            added.append((id, TokenizerFields(file: fields.file, path: "added_tokens_decoder.\(name)", json: token)))
        }
        added.sort { $0.id < $1.id }
    }

    /// A token's text, or an object with it.
    private static func token(_ value: JSON?) -> [UInt8]? {
        if case .string(let bytes)? = value { return bytes }
        if case .string(let bytes)? = value?["content"] { return bytes }
        return nil
    }

    /// A template, or several with names, of which the default counts.
    private static func template(_ value: JSON?) -> String? {
        guard case .array(let named)? = value else { return value?.text }
        return named.first { $0["name"]?.text == "default" }?["template"]?.text
    }

    /// The ids that end a text, of a `generation_config.json` or `config.json`: one, or several.
    static func stopIDs(_ fields: TokenizerFields?) -> [Int] {
        switch fields?.json["eos_token_id"] {
        case .integer(let id)?: [id]
        case .array(let ids)?: ids.compactMap { if case .integer(let id) = $0 { id } else { nil } }
        default: []
        }
    }
}
