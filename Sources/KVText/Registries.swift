/// What this library reads, for help and documentation.
package enum Registries {
    /// Kinds of tokenizers, under `tokenizer.ggml.model`'s names.
    package static let tokenizers: [(name: String, what: String)] = [
        ("gpt2", "byte-level BPE"), ("llama", "SentencePiece BPE with byte fall-back"), ("t5", "Unigram"),
    ]
    /// Names of the rules that cut text before byte-level BPE.
    package static var preTokenizers: [String] { PreTokenizerRule.all.flatMap(\.names) }
    /// Built-in chat templates.
    package static var chatFamilies: [String] { ChatFamily.all.map(\.name) }
}
