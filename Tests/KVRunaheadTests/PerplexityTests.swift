import Foundation
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

final class PerplexityTests: XCTestCase {
    /// Uniform logits: every token is as likely as any, so the perplexity is the vocabulary's size.
    func testUniformDistribution() throws {
        var perplexity = try Perplexity(context: 8)
        let logits = [Float](repeating: 3, count: 8 * 50)
        logits.withUnsafeBufferPointer { perplexity.add([Int32](0..<8), $0) }
        XCTAssertEqual(perplexity.value, 50, accuracy: 1e-9)
        XCTAssertEqual(perplexity.error, 0, accuracy: 1e-6)
        XCTAssertEqual(perplexity.count, 3, "tokens 5, 6 and 7, from the logits of 4, 5 and 6")
    }

    /// Which logits are read for which token, and the standard error, by hand.
    func testScoresTheSecondHalf() throws {
        var perplexity = try Perplexity(context: 4)
        // Token 3 alone is scored, by row 2: probabilities 1/2, 1/4, 1/4.
        var logits = [Float](repeating: .nan, count: 12)
        logits.replaceSubrange(6..<9, with: [log(2), 0, 0])
        logits.withUnsafeBufferPointer { perplexity.add([9, 9, 9, 0], $0) }
        XCTAssertEqual(perplexity.value, 2, accuracy: 1e-6)
        logits.withUnsafeBufferPointer { perplexity.add([9, 9, 9, 1], $0) }
        XCTAssertEqual(perplexity.value, 8.0.squareRoot(), accuracy: 1e-6)
        // Two terms, ln 2 and ln 4: variance (ln 2 / 2)², over count - 1.
        XCTAssertEqual(perplexity.error, 8.0.squareRoot() * log(2.0) / 2, accuracy: 1e-6)
    }

    func testWindows() throws {
        let perplexity = try Perplexity(context: 4)
        let tokens = [Int32](0..<11)
        XCTAssertEqual(try perplexity.windows(of: tokens, beginning: nil, limit: nil), [[0, 1, 2, 3], [4, 5, 6, 7]])
        XCTAssertEqual(try perplexity.windows(of: tokens, beginning: 99, limit: 1), [[99, 1, 2, 3]])
        XCTAssertThrowsError(try perplexity.windows(of: Array(tokens.prefix(7)), beginning: nil, limit: nil))
        XCTAssertThrowsError(try Perplexity(context: 3))
    }

    /// llama.cpp's figures for the default model (fixtures/perplexity/README.txt): 7.3438 with float weights and activations; 7.3988 with
    /// its int8 activations, which ours must not exceed.
    func testDefaultModel() throws {
        #if DEBUG
            throw XCTSkip("10,240 tokens in an unoptimised build: measured in release")
        #else
            let text = try String(contentsOfFile: Fixtures.require("perplexity/us-constitution.txt"), encoding: .utf8)
            XCTAssertEqual(try measure(text, .f32), 7.3438, accuracy: 0.0073)
            XCTAssertLessThanOrEqual(try measure(text, .int8), 7.40)
        #endif
    }

    private func measure(_ text: String, _ activations: Configuration.Activations) throws -> Double {
        var configuration = Configuration(model: try TestModels.standard())
        configuration.contextLength = 512
        configuration.activations = activations
        let engine = try Engine(configuration)
        var perplexity = try Perplexity(context: 512)
        let windows = try perplexity.windows(of: engine.tokenize(text), beginning: nil, limit: 20)
        try engine.withRanksBlocking { ranks in
            try ranks.perplexity(windows, into: &perplexity) { _, _ in }
        }
        print("perplexity \(activations.rawValue): \(perplexity.value) +/- \(perplexity.error)")
        return perplexity.value
    }
}
