import XCTest

import KVText

/// Which tokens end a generation: llama.cpp's rules (`llama_vocab::impl::load`).
final class EndOfGenerationTests: XCTestCase {
    private func vocabulary(
        _ tokens: [String], _ types: [Vocabulary.TokenType] = [], _ roles: (inout Vocabulary.Roles) -> Void = { _ in }
    ) throws -> Vocabulary {
        var given = Vocabulary.Roles()
        roles(&given)
        return try Vocabulary(model: "gpt2", preTokenizer: "gpt-2", tokens: PackedBytes(tokens), types: types, roles: given)
    }

    func testEveryMarkerEndsWhateverItsType() throws {
        let markers = [
            "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|flush|>", "<end_of_turn>", "<|endoftext|>", "</s>",
            "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>",
            "<｜end▁of▁sentence｜>", "[e~[",
        ]
        for type in [Vocabulary.TokenType.normal, .control, .userDefined, .unused] {
            let read = try vocabulary(["a"] + markers, Array(repeating: type, count: markers.count + 1))
            XCTAssertEqual(read.stopIDs, Set((1...markers.count).map { Int32($0) }), "\(type)")
            XCTAssertTrue(read.types.dropFirst().allSatisfy { $0 == .control }, "they are no text")
            XCTAssertEqual(read.types[0], type)
        }
    }

    func testRolesEnd() throws {
        let read = try vocabulary(["a", "b", "c", "d", "e", "f", "<|fim_pad|>"]) {
            ($0.end, $0.endOfTurn, $0.endOfMessage) = (0, 1, 2)
            ($0.fillPadding, $0.fillRepository, $0.fillSeparator) = (3, 4, 5)
        }
        XCTAssertEqual(read.stopIDs, [0, 1, 2, 3, 4, 5], "what a key names is not looked for by its text")
    }

    func testFillInTheMiddleEnds() throws {
        let read = try vocabulary(["a", "<|fim_prefix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"])
        XCTAssertEqual(read.stopIDs, [2, 3, 4])
        XCTAssertEqual(read.types, [.normal, .control, .control, .control, .control])
    }

    /// Formats in which a marker is no end: harmony's and solar-open's `<|end|>`, Gemma 4's `</s>`.
    func testMarkersThatDoNotEnd() throws {
        XCTAssertEqual(try vocabulary(["<|end|>", "<|return|>", "<|call|>"]).stopIDs, [1, 2])
        XCTAssertEqual(try vocabulary(["<|end|>", "<|flush|>", "<|calls|>"]).stopIDs, [1, 2])
        XCTAssertEqual(try vocabulary(["<|end|>", "<|return|>", "a"]).stopIDs, [0, 1], "without a call it ends")
        XCTAssertEqual(try vocabulary(["</s>", "<|tool_response>"]).stopIDs, [1])
        XCTAssertEqual(try vocabulary(["</s>", "<|tool_response>"]).types[0], .normal)
    }

    /// `add_eos_token` must not end a prompt that is to be answered.
    func testNoEndBehindAPrompt() throws {
        var read = try vocabulary(["a", "<s>", "</s>"], [.normal, .control, .control]) { ($0.beginning, $0.end) = (1, 2) }
        (read.addsBOS, read.addsEOS) = (true, true)
        let tokenizer = try Tokenizer(read)
        XCTAssertEqual(try tokenizer.encode("a", addSpecial: true, parseSpecial: true), [1, 0, 2])
        XCTAssertEqual(try tokenizer.encode("a", addSpecial: true, parseSpecial: true, addEnd: false), [1, 0])
        XCTAssertEqual(try tokenizer.encode(conversation: [TextSegment("<s>a", isMarkup: true)]), [1, 0])
    }
}
