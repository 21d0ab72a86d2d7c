import Foundation

extension Vocabulary {
    /// The vocabulary of a folder as Hugging Face keeps models: `tokenizer.json`, and where they are there
    /// `tokenizer_config.json`, `generation_config.json` (else `config.json`, for the ids that end a text) and `chat_template.jinja`.
    ///
    /// BPE and Unigram models with every step that leads to and from them. What the file says of truncation and padding is
    /// for training and not done.
    /// - Parameter path: the folder, or its `tokenizer.json`.
    /// - Throws: where a file cannot be read, or asks for a step that this library does not have, naming it.
    package init(tokenizerFile path: String) throws(TokenizerError) {
        var file = URL(fileURLWithPath: path)
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
            file.appendPathComponent("tokenizer.json")
        }
        let folder = file.deletingLastPathComponent()
        guard FileManager.default.fileExists(atPath: file.path) else { throw Self.missing(file, folder) }
        func optional(_ name: String) throws(TokenizerError) -> TokenizerFields? {
            let url = folder.appendingPathComponent(name)
            return FileManager.default.fileExists(atPath: url.path) ? try Self.read(url) : nil
        }
        let settings = TokenizerSettings(try optional("tokenizer_config.json"))
        var stops = TokenizerSettings.stopIDs(try optional("generation_config.json"))
        if stops.isEmpty { stops = TokenizerSettings.stopIDs(try optional("config.json")) }
        var reader = try TokenizerFileReader(try Self.read(file), settings)
        self = try reader.vocabulary()
        for id in stops where id >= 0 && id < count { stopIDs.insert(Int32(truncatingIfNeeded: id)) }
        let template = folder.appendingPathComponent("chat_template.jinja")
        chatTemplate = (try? String(contentsOf: template, encoding: .utf8)) ?? settings.chatTemplate
    }

    private static func read(_ url: URL) throws(TokenizerError) -> TokenizerFields {
        func malformed(_ reason: String) -> TokenizerError {
            TokenizerError(
                .malformed, file: url.path, field: url.lastPathComponent, value: reason,
                expected: "a file as Hugging Face's tokenizers write it")
        }
        let data: Data
        do { data = try Data(contentsOf: url) } catch { throw malformed("it cannot be read") }
        do throws(JSONParser.Failure) {
            let json = try JSONParser.value([UInt8](data))
            guard case .object = json else { throw JSONParser.Failure(message: json.shown + " rather than an object") }
            return TokenizerFields(file: url.path, path: "", json: json)
        } catch { throw malformed(error.message) }
    }

    /// Says what the folder has instead.
    private static func missing(_ file: URL, _ folder: URL) -> TokenizerError {
        let others = ["tokenizer.model", "tekken.json", "vocab.json", "spiece.model"].filter {
            FileManager.default.fileExists(atPath: folder.appendingPathComponent($0).path)
        }
        let instead =
            others.first.map {
                "the folder has \($0) alone, which is not read: AutoTokenizer's save_pretrained writes tokenizer.json"
            } ?? "the file that says how text becomes tokens"
        return TokenizerError(.missing, file: folder.path, field: file.lastPathComponent, value: "", expected: instead)
    }
}
