import KVGGUF
import KVTestSupport

import KVText

/// Vocabularies of the fixtures.
enum TestVocabulary {
    static func tokenizer(_ name: String) throws -> Tokenizer { try Tokenizer(load("vocab/ggml-vocab-\(name).gguf")) }

    static func load(_ relative: String) throws -> Vocabulary { try Vocabulary(GGUFFile(path: Fixtures.require(relative))) }
}
