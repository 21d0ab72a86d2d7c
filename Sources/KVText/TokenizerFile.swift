import Foundation

/// Hugging Face's `tokenizer.json` as it is decoded; only what says how text becomes ids.
struct TokenizerFile: Decodable {
    var addedTokens: [AddedToken]?
    var normalizer: Component?
    var preTokenizer: Component?
    var postProcessor: PostProcessor?
    let model: Model

    enum CodingKeys: String, CodingKey {
        case normalizer, model
        case addedTokens = "added_tokens"
        case preTokenizer = "pre_tokenizer"
        case postProcessor = "post_processor"
    }

    /// Adds what `tokenizer_config.json` knows beside: tokens by their ids.
    mutating func add(_ tokens: [String: TokenizerSettings.AddedToken]) {
        let known = Set((addedTokens ?? []).map(\.id))
        let more = tokens.compactMap { key, token in
            Int(key).map {
                AddedToken(id: $0, content: token.content, special: token.special, lstrip: token.lstrip, rstrip: token.rstrip)
            }
        }
        addedTokens = (addedTokens ?? []) + more.filter { !known.contains($0.id) }.sorted { $0.id < $1.id }
    }

    struct AddedToken: Decodable {
        let id: Int
        let content: String
        var special: Bool?
        var lstrip: Bool?
        var rstrip: Bool?
    }

    /// A normaliser or pre-tokenizer; which fields there are depends on the type.
    struct Component: Decodable {
        let type: String
        var normalizers: [Component]?
        var pretokenizers: [Component]?
        var pattern: Pattern?
        var content: String?
        var prepend: String?
        var behavior: String?
        var invert: Bool?
        var useRegex: Bool?
        var addPrefixSpace: Bool?
        var prependScheme: String?
        var individualDigits: Bool?
        var precompiledCharsmap: String?
        var stripLeft: Bool?
        var stripRight: Bool?

        enum CodingKeys: String, CodingKey {
            case type, normalizers, pretokenizers, pattern, content, prepend, behavior, invert
            case useRegex = "use_regex"
            case addPrefixSpace = "add_prefix_space"
            case prependScheme = "prepend_scheme"
            case individualDigits = "individual_digits"
            case precompiledCharsmap = "precompiled_charsmap"
            case stripLeft = "strip_left"
            case stripRight = "strip_right"
        }

        /// This component, or those of a sequence, in order.
        var flat: [Component] {
            guard type == "Sequence" else { return [self] }
            return ((normalizers ?? []) + (pretokenizers ?? [])).flatMap(\.flat)
        }
    }

    struct Pattern: Decodable {
        var string: String?
        var regex: String?

        enum CodingKeys: String, CodingKey {
            case string = "String"
            case regex = "Regex"
        }
    }

    final class PostProcessor: Decodable {
        let type: String
        let processors: [PostProcessor]?
        let single: [Piece]?

        struct Piece: Decodable {
            var special: Special?
            enum CodingKeys: String, CodingKey { case special = "SpecialToken" }
        }

        struct Special: Decodable {
            let id: String
        }
    }

    struct Model: Decodable {
        let type: String?
        let vocabulary: Entries
        let merges: [Merge]?
        let unknownToken: String?
        let unknownID: Int?
        let byteFallback: Bool?
        let ignoreMerges: Bool?

        enum CodingKeys: String, CodingKey {
            case type, merges
            case vocabulary = "vocab"
            case unknownToken = "unk_token"
            case unknownID = "unk_id"
            case byteFallback = "byte_fallback"
            case ignoreMerges = "ignore_merges"
        }
    }

    /// Token to id (BPE), or tokens and scores by id (Unigram).
    enum Entries: Decodable {
        case ids([String: Int])
        case scores([(token: String, score: Double)])

        init(from decoder: any Decoder) throws {
            if let ids = try? decoder.singleValueContainer().decode([String: Int].self) {
                self = .ids(ids)
                return
            }
            var list = try decoder.unkeyedContainer()
            var scores: [(token: String, score: Double)] = []
            while !list.isAtEnd {
                var pair = try list.nestedUnkeyedContainer()
                scores.append((try pair.decode(String.self), try pair.decode(Double.self)))
            }
            self = .scores(scores)
        }
    }

    /// "left right", or since 2024 ["left", "right"].
    struct Merge: Decodable {
        let text: String

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                self.text = text
            } else {
                text = try decoder.singleValueContainer().decode([String].self).joined(separator: " ")
            }
        }
    }
}

/// The parts of `tokenizer_config.json` and `generation_config.json` that a vocabulary needs.
struct TokenizerSettings: Decodable {
    var bosToken: Token?
    var eosToken: Token?
    var addsBOS: Bool?
    var addsEOS: Bool?
    var chatTemplate: Template?
    /// By their ids.
    var addedTokens: [String: AddedToken]?

    struct AddedToken: Decodable {
        let content: String
        var special: Bool?
        var lstrip: Bool?
        var rstrip: Bool?
    }

    enum CodingKeys: String, CodingKey {
        case addedTokens = "added_tokens_decoder"
        case bosToken = "bos_token"
        case eosToken = "eos_token"
        case addsBOS = "add_bos_token"
        case addsEOS = "add_eos_token"
        case chatTemplate = "chat_template"
    }

    /// A token's text, or an object with it.
    struct Token: Decodable {
        let content: String

        private enum CodingKeys: CodingKey { case content }

        init(from decoder: any Decoder) throws {
            if let text = try? decoder.singleValueContainer().decode(String.self) {
                content = text
            } else {
                content = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .content)
            }
        }
    }

    /// A template, or several with names, of which the default counts.
    struct Template: Decodable {
        let text: String?

        private struct Named: Decodable {
            let name: String
            let template: String
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                self.text = text
            } else {
                text = try container.decode([Named].self).first { $0.name == "default" }?.template
            }
        }
    }
}

struct GenerationSettings: Decodable {
    let stopIDs: [Int]

    private enum CodingKeys: String, CodingKey { case stop = "eos_token_id" }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        if let one = try? container.decode(Int.self, forKey: .stop) {
            stopIDs = [one]
        } else {
            stopIDs = (try? container.decode([Int].self, forKey: .stop)) ?? []
        }
    }
}
