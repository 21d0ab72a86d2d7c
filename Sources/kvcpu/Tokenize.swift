import ArgumentParser
import Foundation
import KVGGUF
import KVText

struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints a text's token ids as a JSON array, or the text of ids.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var prompt: PromptOptions
    @Argument(help: "The text; default: -p, -f or standard input")
    var text: String?
    @Flag(help: "Special tokens in the text are plain text")
    var noSpecial = false
    @Flag(help: "Add neither BOS nor EOS")
    var noBos = false
    @Flag(help: "From a JSON array of ids to text")
    var detokenize = false

    func run() throws {
        let path = try model.path()
        let tokenizer: Tokenizer
        do { tokenizer = try Tokenizer(try Self.vocabulary(path)) } catch { throw Failure.run("\(error)") }
        let bytes = try text.map { Array($0.utf8) } ?? prompt.bytes()
        if detokenize {
            guard let ids = try? JSONDecoder().decode([Int32].self, from: Data(bytes)) else {
                throw Failure.usage("--detokenize reads a JSON array of token ids, as [1, 2, 3]")
            }
            for id in ids where id < 0 || Int(id) >= tokenizer.vocabulary.count {
                throw Failure.usage("token id \(id) is not in the vocabulary of \(tokenizer.vocabulary.count)")
            }
            try Terminal.output(tokenizer.decode(ids, special: true) + "\n")
            return
        }
        let ids: [Int32]
        do { ids = try tokenizer.encode(bytes, addSpecial: !noBos, parseSpecial: !noSpecial) } catch {
            throw Failure.run("\(error)")
        }
        try Terminal.output("[" + ids.map(String.init).joined(separator: ", ") + "]\n")
    }

    /// Of a GGUF file, a folder with a tokenizer.json, or that file.
    static func vocabulary(_ path: String) throws -> Vocabulary {
        var isFolder: ObjCBool = false
        let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if exists, isFolder.boolValue || path.hasSuffix(".json") { return try Vocabulary(tokenizerFile: path) }
        return try Vocabulary(try GGUFFile.open(path))
    }
}
