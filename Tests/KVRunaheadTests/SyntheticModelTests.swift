import KVModel
import XCTest

import KVRunahead

/// Models with random weights run as files do.
final class SyntheticModelTests: XCTestCase {
    private let small = "llama3-8b,width=256,heads=4,kv=2,ffn=512,vocab=333"

    private let falcon = "falcon-7b,width=256,heads=8,ffn=512,vocab=333"
    /// Its heads share in groups of 3, so that a unit of attention is no whole block of its output.
    private let grouped = "falcon-40b,width=288,heads=6,kv=2,ffn=512,vocab=333"

    private func bits(
        _ text: String, _ activations: ActivationType = .int8, ranks: Int = 1, threads: Int = 1, tokens: Int = 20,
        kernels: String? = nil
    ) throws -> RunBits {
        let model = try TestModels.model(.synthetic(text), activations, kernels: kernels)
        var configuration = Configuration(.synthetic(text))
        configuration.ranks = ranks
        configuration.threadsPerRank = threads
        let team = try TestModels.ranks(model, configuration, context: tokens + 4)
        defer { team.shutdown() }
        let ids = (0..<tokens).map { Int32(($0 * 7919 + 13) % model.geometry.vocabulary) }
        return try RunBits(team, ids, partition: .even, steps: 4)
    }

    private func logits(_ bits: RunBits) -> [Float] { bits.logits.map { Float(bitPattern: $0) } }

    /// Each team makes the weights anew, by its own workers.
    func testSameBitsWhoeverMakesTheWeights() throws {
        for type in ["q4_0", "q6_k", "bf16"] {
            try sameBits("\(small),layers=3,type=\(type)")
        }
        for type in ["q4_0", "bf16"] { try sameBits("\(falcon),layers=3,type=\(type)") }
        // As many heads on one key/value head as the 7B has.
        try sameBits("falcon-7b,width=2272,ffn=512,vocab=333,layers=2,type=q4_0")
        for type in ["q8_0", "f32"] { try sameBits("\(grouped),layers=3,type=\(type)") }
    }

    private func sameBits(_ text: String) throws {
        let expected = try bits(text)
        XCTAssertEqual(Set(expected.logits).count > 300, true, "logits are too much alike")
        for (ranks, threads) in [(1, 3), (2, 1), (3, 2), (4, 1)] {
            XCTAssertTrue(try bits(text, ranks: ranks, threads: threads) == expected, "\(text) \(ranks)×\(threads)")
        }
        for kernels in Kernels.supported {
            XCTAssertTrue(try bits(text, ranks: 2, kernels: kernels.name) == expected, "\(text) \(kernels.name)")
        }
    }

    func testSeeds() throws {
        let text = "\(small),layers=1"
        let first = try bits(text)
        XCTAssertTrue(try bits(text + ",seed=1") == first)
        XCTAssertFalse(try bits(text + ",seed=2") == first)
    }

    /// Every format, in both modes: finite logits of about the size that unit weights give, and int8 activations near the exact ones.
    func testEveryFormat() throws {
        for format in Kernels.formatNames {
            try sizes("\(small),layers=2,type=\(format)")
            try sizes("\(falcon),layers=2,type=\(format)")
        }
    }

    private func sizes(_ text: String) throws {
        let exact = logits(try bits(text, .float))
        let fast = logits(try bits(text, .int8))
        for values in [exact, fast] {
            XCTAssertTrue(values.allSatisfy(\.isFinite), text)
            let size = (values.reduce(0) { $0 + $1 * $1 } / Float(values.count)).squareRoot()
            XCTAssertEqual(size, 1, accuracy: 0.3, text)
        }
        let error = zip(exact, fast).reduce(0) { max($0, abs($1.0 - $1.1)) }
        XCTAssertLessThan(error, 0.25, text)
    }

    /// Nothing grows out of range on the way through a deep model: the last norm would make infinities NaN.
    func testDeepModels() throws {
        for text in [
            "llama-7b,layers=32,width=256,heads=4,ffn=672,vocab=333,type=q8_0", "smollm2-135m,layers=32,vocab=333",
            "\(small),layers=64,type=q4_k", "\(falcon),layers=32,type=q4_0", "\(grouped),layers=60,type=q8_0",
            "falcon-1b,layers=24,width=256,heads=4,ffn=1024,vocab=333,type=q5_1",
        ] {
            let values = logits(try bits(text, ranks: 2, tokens: 12))
            XCTAssertTrue(values.allSatisfy(\.isFinite), text)
            let size = (values.reduce(0) { $0 + $1 * $1 } / Float(values.count)).squareRoot()
            XCTAssertEqual(size, 1, accuracy: 0.3, text)
        }
    }

    func testEngine() async throws {
        var configuration = Configuration(.synthetic("\(small),layers=2,context=64"))
        configuration.threadsPerRank = 1
        let engine = try await Engine.open(configuration)
        XCTAssertEqual(
            engine.information.modelPath,
            "synthetic llama3-8b,layers=2,width=256,heads=4,kv=2,ffn=512,vocab=333,context=64,type=q4_0,seed=1")
        XCTAssertEqual(engine.information.contextLength, 64)
        // The embedding in the plan: 333 rows of 256 columns, 18 bytes for each 32.
        let layer = 256 * (2 * 256 + 2 * 128 + 3 * 512)
        let matrices = (2 * layer + 256 * 336 + 256 * 333) / 32 * 18
        // Five norms' weights, and each part on cache lines of its own.
        XCTAssertEqual(engine.information.memory.weights - matrices, 5 * 256 * 4, accuracy: 127)
        let duration = try await engine.prefill([1, 2, 3])
        XCTAssertGreaterThan(duration, 0)
        XCTAssertThrowsError(try engine.tokenize("text")) { error in
            XCTAssertEqual((error as? EngineError)?.code, .request)
            XCTAssertTrue("\(error)".contains("no tokenizer"), "\(error)")
        }
    }

    func testBadDescription() async {
        do {
            _ = try await Engine.open(Configuration(.synthetic("llama-7b,layers=0")))
            XCTFail("layers=0 passed")
        } catch {
            XCTAssertEqual((error as? EngineError)?.code, .request)
            XCTAssertTrue("\(error)".contains("layers is \"0\""), "\(error)")
        }
    }
}
