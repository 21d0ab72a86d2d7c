/// The ids that a tokenizer.json puts before and behind a text (`post_processor`).
struct PostProcessing: Sendable {
    private(set) var before: [Int32] = []
    private(set) var behind: [Int32] = []

    init() {}

    /// - Parameter steps: the processors, in order.
    /// - Throws: where one is unknown, or two of them put tokens around the text in a way that the library does not either.
    init(_ steps: [TokenizerFields]) throws(TokenizerError) {
        var templates = 0
        for step in steps {
            let type = try step.type()
            guard templates == 0 || type == "ByteLevel" else {
                throw step.unsupported("type", "\(type) behind a TemplateProcessing")
            }
            switch type {
            case "ByteLevel": continue
            case "RobertaProcessing", "BertProcessing":
                before.insert(try Self.pair(step, "cls"), at: 0)
                behind.append(try Self.pair(step, "sep"))
            case "TemplateProcessing":
                templates += 1
                let (first, last) = try Self.template(step)
                before = first + before
                behind += last
            case let other: throw step.unsupported("type", other)
            }
        }
    }

    private static func id(_ step: TokenizerFields, _ field: String, _ value: JSON) throws(TokenizerError) -> Int32 {
        guard case .integer(let number) = value, let id = Int32(exactly: number), id >= 0 else {
            throw step.malformed(field, value.shown, "a token's id")
        }
        return id
    }

    /// ["</s>", 2].
    private static func pair(_ step: TokenizerFields, _ field: String) throws(TokenizerError) -> Int32 {
        guard let value = step.json[field], case .array(let parts) = value, parts.count == 2 else {
            throw step.malformed(field, step.json[field]?.shown ?? "", "a token and its id")
        }
        return try id(step, field, parts[1])
    }

    private static func template(
        _ step: TokenizerFields
    ) throws(TokenizerError) -> (before: [Int32], behind: [Int32]) {
        let specials = try step.fields("special_tokens")
        var sides: [[Int32]] = [[]]
        for piece in try step.list("single") {
            if let sequence = try piece.fields("Sequence") {
                let name = try sequence.string("id")
                guard name == "A", sides.count == 1 else { throw sequence.unsupported("id", name) }
                sides.append([])
            } else if let special = try piece.fields("SpecialToken") {
                let name = try special.string("id")
                guard let token = try specials?.fields(name), case .array(let ids)? = token.json["ids"] else {
                    throw special.malformed("id", name, "one of the special_tokens")
                }
                for value in ids { sides[sides.count - 1].append(try id(token, "ids", value)) }
            } else {
                throw piece.malformed("single", piece.json.shown, "a Sequence or a SpecialToken")
            }
        }
        guard sides.count == 2 else { throw step.malformed("single", "no Sequence", "the text's place") }
        return (sides[0], sides[1])
    }
}
