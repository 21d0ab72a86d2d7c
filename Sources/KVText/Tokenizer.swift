import Foundation
import Synchronization

/// Text ⇄ token ids. Safe to share; calls do not wait for one another.
package final class Tokenizer: Sendable {
    package let vocabulary: Vocabulary
    private let model: Model
    /// Whether text is brought into Unicode's normal form C first.
    private let normalises: Bool
    /// Whether the text begins with a space that encoding put there.
    private let addsSpace: Bool
    private let specials: SpecialTokens
    /// The bytes each token stands for, by id.
    private let texts: PackedBytes
    /// The ids before and behind a text.
    private let before: [Int32]
    private let behind: [Int32]
    /// Memory of calls that have ended, for calls to come.
    private let workspaces = Mutex<[EncodingWorkspace]>([])

    /// How plain text becomes tokens.
    private enum Model {
        case byteLevel(ByteLevelBPE)
        case sentencePiece(SentencePieceBPE)
        case unigram(Unigram)
        case pipeline(TokenizerPipeline)
    }

    /// At most so many workspaces of at most so many bytes are kept.
    private static let keptWorkspaces = 16
    private static let keptBytes = 32 << 20

    /// Builds the tables: some 10 ms for 50,000 tokens and as many merges, 75 ms for 128,000 and 280,000.
    /// - Throws: where the tokenizer's kind or rule is unknown, or its values contradict one another.
    package init(_ vocabulary: Vocabulary) throws(TokenizerError) {
        do throws(TokenizerError) {
            var rule: PreTokenizerRule?
            if let pipeline = vocabulary.pipeline {
                (model, addsSpace) = (.pipeline(pipeline), false)
            } else {
                switch vocabulary.model {
                case "gpt2":
                    rule = try PreTokenizerRule.named(vocabulary.preTokenizer)
                    (model, addsSpace) = (.byteLevel(try ByteLevelBPE(vocabulary)), false)
                case "llama":
                    let pieces = try SentencePieceBPE(vocabulary)
                    (model, addsSpace) = (.sentencePiece(pieces), pieces.addsSpace)
                case "t5": (model, addsSpace) = (.unigram(try Unigram(vocabulary)), true)
                default:
                    throw TokenizerError(
                        .unsupportedModel, field: "tokenizer.ggml.model", value: vocabulary.model,
                        expected: "gpt2 (byte-level BPE), llama (SentencePiece) or t5 (unigrams)")
                }
            }
            normalises = rule?.normalises ?? false
            (before, behind) = try Self.ends(vocabulary, rule)
            specials =
                vocabulary.pipeline == nil ? try SpecialTokens(vocabulary) : try SpecialTokens([], field: "added_tokens")
        } catch {
            var error = error
            if error.file.isEmpty { error.file = vocabulary.source }
            throw error
        }
        texts = Self.texts(of: vocabulary)
        self.vocabulary = vocabulary
    }

    /// The ids that go before and behind a text.
    /// - Throws: where the vocabulary wants one and has none.
    private static func ends(
        _ vocabulary: Vocabulary, _ rule: PreTokenizerRule?
    ) throws(TokenizerError) -> (before: [Int32], behind: [Int32]) {
        if let post = vocabulary.pipeline?.post { return (post.before, post.behind) }
        let addsBOS = vocabulary.addsBOS ?? rule?.addsBOS ?? (vocabulary.model == "llama")
        let addsEOS = vocabulary.addsEOS ?? (vocabulary.model == "t5")
        for (adds, id, name) in [(addsBOS, vocabulary.bosID, "bos"), (addsEOS, vocabulary.eosID, "eos")]
        where adds && id == nil {
            throw TokenizerError(
                .missing, field: "tokenizer.ggml.\(name)_token_id", value: "",
                expected: "the token that add_\(name)_token asks for")
        }
        return (addsBOS ? [vocabulary.bosID].compactMap { $0 } : [], addsEOS ? [vocabulary.eosID].compactMap { $0 } : [])
    }

    /// The bytes each token stands for behind other tokens, by id.
    private static func texts(of vocabulary: Vocabulary) -> PackedBytes {
        guard let decoder = vocabulary.pipeline?.decoder else {
            return vocabulary.model == "gpt2" ? ByteLevelBPE.texts(of: vocabulary) : SentencePieceBPE.texts(of: vocabulary)
        }
        var texts = PackedBytes()
        texts.reserveCapacity(count: vocabulary.count, bytes: vocabulary.tokens.bytes.count)
        for id in 0..<vocabulary.count {
            texts.append(decoder.bytes(vocabulary.written[Int32(truncatingIfNeeded: id)] ?? Array(vocabulary.tokens[id])))
        }
        return texts
    }

    // MARK: Text to ids

    /// The ids of `text`. Bytes that are not UTF-8 are read as U+FFFD, one for each.
    ///
    /// - Parameters:
    ///   - addSpecial: adds BOS and EOS where the model wants them.
    ///   - parseSpecial: control tokens written out in `text` become those tokens. Never for text from strangers: they
    ///     could end their turn and speak as the system. User-defined tokens are always found.
    ///   - addEnd: false for a prompt that is to be answered: no EOS behind it, whatever the model wants.
    /// - Throws: for texts of 2 GiB and more.
    /// - Complexity: n log n, whatever the text.
    package func encode(
        _ text: [UInt8], addSpecial: Bool, parseSpecial: Bool, addEnd: Bool = true
    ) throws(TokenizerError) -> [Int32] {
        var workspace = try takeWorkspace()
        text.withUnsafeBufferPointer { UTF8Repair.append($0, to: &workspace.text) }
        normalise(&workspace.text, from: 0)
        let part = Part(end: workspace.text.count, parsesSpecial: parseSpecial)
        return try encode([part], addSpecial: addSpecial, addEnd: addEnd, &workspace)
    }

    package func encode(
        _ text: String, addSpecial: Bool, parseSpecial: Bool, addEnd: Bool = true
    ) throws(TokenizerError) -> [Int32] {
        try encode([TextSegment(text, isMarkup: parseSpecial)], addSpecial: addSpecial, addEnd: addEnd)
    }

    /// The ids of segments as of one text, but that control tokens are found in markup only, and no special token runs
    /// over a border.
    ///
    /// Ordinary text that does is cut into pieces as if the border were not there, so that a conversation without
    /// foreign control tokens has the ids it would have as one string.
    package func encode(
        _ segments: [TextSegment], addSpecial: Bool, addEnd: Bool = true
    ) throws(TokenizerError) -> [Int32] {
        var workspace = try takeWorkspace()
        var parts: [Part] = []
        for segment in segments {
            let start = workspace.text.count
            workspace.text.append(contentsOf: segment.text.utf8)
            normalise(&workspace.text, from: start)
            parts.append(Part(end: workspace.text.count, parsesSpecial: segment.isMarkup))
        }
        return try encode(parts, addSpecial: addSpecial, addEnd: addEnd, &workspace)
    }

    /// The ids of a rendered conversation that is to be answered, with one BOS where the model wants it, whether or not the
    /// template writes it, and no EOS.
    package func encode(conversation segments: [TextSegment]) throws(TokenizerError) -> [Int32] {
        let ids = try encode(segments, addSpecial: true, addEnd: false)
        guard !before.isEmpty, ids.dropFirst(before.count).starts(with: before) else { return ids }
        return Array(ids.dropFirst(before.count))
    }

    /// Normal form C, where the model was trained on it.
    private func normalise(_ text: inout [UInt8], from start: Int) {
        guard normalises, text[start...].contains(where: { $0 >= 0x80 }) else { return }
        let normal = String(decoding: text[start...], as: UTF8.self).precomposedStringWithCanonicalMapping
        text.replaceSubrange(start..., with: normal.utf8)
    }

    /// A stretch of the text, from the end of the one before.
    private struct Part {
        let end: Int
        let parsesSpecial: Bool
    }

    private func encode(
        _ parts: [Part], addSpecial: Bool, addEnd: Bool, _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) -> [Int32] {
        let count = workspace.text.count
        guard count < Int(Int32.max) - PieceCache.window else {
            throw TokenizerError(.textTooLong, field: "text", value: "\(count) bytes", expected: "less than 2 GiB")
        }
        workspace.text.append(contentsOf: repeatElement(0, count: PieceCache.window))
        var output: [Int32] = []
        output.reserveCapacity(count / 3 + 2)
        if addSpecial { output.append(contentsOf: before) }
        workspace.match.begin(count)
        let text = workspace.text
        try encode(text, parts, into: &output, &workspace)
        if addSpecial {
            // What a template puts behind is part of the prompt, but not what ends it.
            output.append(contentsOf: addEnd ? behind : behind.filter { !vocabulary.stopIDs.contains($0) })
        }
        keep(workspace)
        return output
    }

    private func encode(
        _ text: [UInt8], _ parts: [Part], into output: inout [Int32], _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        try text.withUnsafeBufferPointer { (text: UnsafeBufferPointer<UInt8>) throws(TokenizerError) in
            if case .pipeline(let pipeline) = model {
                return try pipeline.encode(
                    text, parts.map { ($0.end, $0.parsesSpecial) }, into: &output, &workspace)
            }
            var plain = 0
            var at = 0
            for part in parts {
                // No special token runs over a border: a message could otherwise change the markup behind or before it.
                workspace.found.removeAll(keepingCapacity: true)
                specials.find(text, at..<part.end, control: part.parsesSpecial, into: &workspace.found)
                while let match = workspace.found.popLast() {
                    guard match.start >= at else { continue }
                    let strip = vocabulary.strips.isEmpty ? nil : vocabulary.strips[match.id]
                    var end = match.start
                    if strip?.before == true { while end > plain, Self.isSpace(text[end - 1]) { end -= 1 } }
                    try encode(text, plain..<end, into: &output, &workspace)
                    output.append(match.id)
                    at = match.start + match.length
                    if strip?.behind == true { while at < part.end, Self.isSpace(text[at]) { at += 1 } }
                    plain = at
                }
                at = part.end
            }
            try encode(text, plain..<max(plain, parts.last?.end ?? 0), into: &output, &workspace)
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    /// Appends the ids of plain text at the beginning or behind a special token.
    private func encode(
        _ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>, into output: inout [Int32],
        _ workspace: inout EncodingWorkspace
    ) throws(TokenizerError) {
        guard !range.isEmpty else { return }
        switch model {
        case .byteLevel(let model): try model.encode(text, range, into: &output, &workspace)
        case .sentencePiece(let model): model.encode(text, range, into: &output, &workspace)
        case .unigram(let model): model.encode(text, range, into: &output, &workspace)
        case .pipeline: break
        }
    }

    private func takeWorkspace() throws(TokenizerError) -> EncodingWorkspace {
        guard var workspace = workspaces.withLock({ $0.popLast() }) else { return try EncodingWorkspace() }
        workspace.text.removeAll(keepingCapacity: true)
        return workspace
    }

    private func keep(_ workspace: EncodingWorkspace) {
        guard workspace.byteCount <= Self.keptBytes else { return }
        workspaces.withLock { if $0.count < Self.keptWorkspaces { $0.append(workspace) } }
    }

    // MARK: Ids to text

    /// The bytes a token stands for, not always whole characters; those of U+FFFD for an id the vocabulary lacks
    /// (models may have more rows of logits than tokens).
    package func bytes(of id: Int32) -> ArraySlice<UInt8> {
        guard id >= 0, Int(id) < texts.count else { return [0xEF, 0xBF, 0xBD] }
        return texts[Int(id)]
    }

    /// A token as a pipeline's decoder takes it; nil where the id has none.
    private func written(_ id: Int32) -> [UInt8]? {
        guard id >= 0, Int(id) < vocabulary.count else { return nil }
        if let written = vocabulary.written[id] { return written }
        return vocabulary.types[Int(id)] == .unused ? nil : Array(vocabulary.tokens[Int(id)])
    }

    /// Whether every token stands for bytes of its own, so that text can be given out as its ids come.
    var isTokenwise: Bool { vocabulary.pipeline?.decoder.isTokenwise ?? true }

    /// Whether a token is a signal to the model and no text.
    package func isSpecial(_ id: Int32) -> Bool {
        if let pipeline = vocabulary.pipeline { return pipeline.added.hidden.contains(id) }
        return id >= 0 && Int(id) < vocabulary.count && vocabulary.types[Int(id)].isSpecial
    }

    /// The text of `ids`; bytes that make no character are U+FFFD.
    ///
    /// The space that encoding puts before a text is taken away again, unless the text goes on from another.
    /// - Parameters:
    ///   - special: whether control tokens are written out, rather than left out.
    ///   - continuing: whether other text stands before.
    package func decode(
        _ ids: some Sequence<Int32>, special: Bool = false, continuing: Bool = false
    ) -> String {
        if let decoder = vocabulary.pipeline?.decoder, !continuing || !decoder.isTokenwise {
            return decoder.text(ids.compactMap { special || !isSpecial($0) ? written($0) : nil })
        }
        var bytes: [UInt8] = []
        var begins = addsSpace && !continuing
        for id in ids {
            let isSpecial = isSpecial(id)
            if special || !isSpecial {
                let own = self.bytes(of: id)
                bytes.append(contentsOf: begins && !isSpecial && own.first == 0x20 ? own.dropFirst() : own)
            }
            if !isSpecial { begins = false }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A stretch of text and whether it may speak to the model in control tokens.
package struct TextSegment: Sendable, Equatable {
    package let text: String
    /// True for what a template wrote, false for what came from outside.
    package let isMarkup: Bool

    package init(_ text: String, isMarkup: Bool) {
        self.text = text
        self.isMarkup = isMarkup
    }
}
