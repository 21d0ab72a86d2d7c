import Foundation
import KVGGUF
import KVModel
import KVRunahead
import KVText

/// A model opened as a command opens it: header, tokenizer, template, engine, and the logits of three tokens.
///
/// Whatever the file, the bits do not depend on how often or by how many ranks they are computed.
struct ModelRun {
    private static let prompt: [Int32] = [1, 2, 3]
    private static let texts = ["Hello world", " a\u{301}bc  12345\n<|im_end|>", "日本語 \u{1F469}\u{200D}\u{1F469}"]

    /// - Throws: the first typed error; `Fault` where two computations differ.
    static func check(_ path: String, ranks: Int, type: String?) throws -> String {
        try vocabulary(path)
        var configuration = Configuration(model: path)
        configuration.contextLength = 64
        configuration.threadsPerRank = 1
        configuration.fitsThreads = false
        configuration.planFolder = nil
        configuration.promptMemory = 0
        configuration.waitLimit = 30
        configuration.weightType = type
        configuration.partition = .even
        let first = try logits(configuration)
        configuration.ranks = ranks
        let second = try logits(configuration)
        guard first.elementsEqual(second, by: { $0.bitPattern == $1.bitPattern }) else {
            throw Fault("the logits of \(ranks) ranks are not those of one")
        }
        return "logits"
    }

    /// Twice, the second time behind what the first one left.
    private static func logits(_ configuration: Configuration) throws -> [Float] {
        let engine = try Engine(configuration)
        return try engine.withRanksBlocking { ranks in
            _ = try ranks.prefill(prompt)
            let first = Array(ranks.logits)
            _ = try ranks.prefill(prompt)
            guard first.elementsEqual(ranks.logits, by: { $0.bitPattern == $1.bitPattern }) else {
                throw Fault("the logits of the second run are not those of the first")
            }
            return first
        }
    }

    /// A file without a tokenizer can be computed with; its error counts only where text is asked for.
    private static func vocabulary(_ path: String) throws {
        let file = try GGUFFile.open(path)
        do {
            let vocabulary: Vocabulary
            vocabulary = try Vocabulary(file)
            let tokenizer = try Tokenizer(vocabulary)
            for text in texts {
                for special in [false, true] {
                    let ids = try tokenizer.encode(text, addSpecial: special, parseSpecial: special)
                    guard try ids == tokenizer.encode(text, addSpecial: special, parseSpecial: special) else {
                        throw Fault("the same text has other ids")
                    }
                    _ = tokenizer.decode(ids, special: special)
                }
            }
            let template = try ChatTemplate(vocabulary)
            var input = try TemplateInput([ChatMessage(role: "user", content: "Hi")])
            input.setTokens(of: vocabulary)
            _ = try template.render(input)
        } catch let fault as Fault { throw fault } catch is TokenizerError {} catch is TemplateError {}
    }
}
