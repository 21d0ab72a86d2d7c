import KVGGUF
import KVTestSupport
import XCTest

import KVRunahead

final class EngineTests: XCTestCase {
    /// A byte-level tokenizer and two layers.
    func engine(ranks: Int = 2, context: Int = 0) throws -> Engine {
        var configuration = Configuration(model: try TestModels.fixture("llama-mha-tied-rope3"))
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        configuration.contextLength = context
        return try Engine(configuration)
    }

    func collect(
        _ stream: AsyncThrowingStream<GenerationEvent, any Error>
    ) async throws -> ([Int32], GenerationEvent.Summary?) {
        var ids: [Int32] = []
        var summary: GenerationEvent.Summary?
        for try await event in stream {
            switch event {
            case .prefill(let done): XCTAssertTrue((0...1).contains(done))
            case .token(let token): if token.id >= 0 { ids.append(token.id) }
            case .finished(let end): summary = end
            }
        }
        return (ids, summary)
    }

    func testGeneratesTheFixturesContinuation() async throws {
        let expected = try SafetensorsFile(path: try Fixtures.require("llama-mha-tied-rope3/expected.safetensors"))
        let prompt = try expected.integers("input_ids").map(Int32.init)
        var options = GenerationOptions()
        options.sampling = .greedy
        options.maximumTokens = 32
        options.stopsAtEnd = false
        let (ids, summary) = try await collect(engine().generate(prompt, options: options))
        XCTAssertEqual(ids, try expected.integers("greedy_ids").map(Int32.init))
        XCTAssertEqual(summary?.promptTokens, prompt.count)
        XCTAssertEqual(summary?.generatedTokens, 32)
        XCTAssertEqual(summary?.stopReason, .length)
        XCTAssertEqual(summary?.partition, [32, 32])
        XCTAssertGreaterThan(summary?.timeToFirstToken ?? 0, 0)
        let timeline = try XCTUnwrap(summary?.timeline)
        for rank in 0..<2 { XCTAssertGreaterThan(timeline.total(.compute, rank: rank), 0) }
        XCTAssertGreaterThan(timeline.total(.wait, rank: 1), 0)
        // Keys and values of the first chunk, both layers, float16.
        XCTAssertEqual(summary?.bytesHandedOver, UInt64(2 * 2 * 32 * 64 * 2))
    }

    func testContextEnds() async throws {
        var options = GenerationOptions()
        options.stopsAtEnd = false
        let (ids, summary) = try await collect(engine(context: 20).generate([5, 6, 7], options: options))
        XCTAssertEqual(summary?.stopReason, .context)
        // The last one needs no place in the cache.
        XCTAssertEqual(ids.count, 18)
    }

    func testBadPrompts() async throws {
        let engine = try engine(context: 10)
        for (prompt, code) in [
            ([], EngineError.Code.request), ([Int32](repeating: 1, count: 11), .context), ([1, 512], .request), ([-1], .request),
        ] {
            do {
                _ = try await collect(engine.generate(prompt))
                XCTFail("\(prompt.count) tokens passed")
            } catch { XCTAssertEqual((error as? EngineError)?.code, code, "\(error)") }
        }
        // Still usable.
        let duration = try await engine.prefill([1, 2, 3])
        XCTAssertGreaterThan(duration, 0)
    }

    /// Cancelling the reading task ends the run, and the engine then answers as before.
    func testCancellation() async throws {
        let engine = try engine()
        var options = GenerationOptions()
        options.sampling = .greedy
        options.stopsAtEnd = false
        options.maximumTokens = 400
        let prompt = [Int32](1...60)
        let (expected, _) = try await collect(engine.generate(prompt, options: options))
        let reader = Task {
            var count = 0
            for try await event in engine.generate(prompt, options: options) {
                if case .token = event { count += 1 }
                if count == 3 { break }
            }
            return count
        }
        let read = try await reader.value
        XCTAssertEqual(read, 3)
        let task = Task { try await engine.prefill(prompt) }
        task.cancel()
        _ = await task.result
        let (again, _) = try await collect(engine.generate(prompt, options: options))
        XCTAssertEqual(again, expected)
    }

    /// A long prefill stops soon after its task is cancelled.
    func testPrefillCancellation() async throws {
        var configuration = Configuration(model: try TestModels.standard())
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        let engine = try Engine(configuration)
        // Some seconds of work on any two CPUs, so that it cannot be done before the cancellation.
        let prompt = [Int32](repeating: 100, count: 8000)
        let task = Task { try await engine.prefill(prompt) }
        try await Task.sleep(for: .milliseconds(200))
        task.cancel()
        do {
            _ = try await task.value
            XCTFail("a cancelled prefill returned")
        } catch { XCTAssertEqual((error as? EngineError)?.code, .cancelled, "\(error)") }
        let duration = try await engine.prefill([1, 2, 3])
        XCTAssertGreaterThan(duration, 0)
    }

    func testMemoryPlanRefusesBeforeLoading() throws {
        for (context, code) in [(1_000_000_000, EngineError.Code.memory), (1 << 60, .request)] {
            XCTAssertThrowsError(try engine(context: context)) { error in
                XCTAssertEqual((error as? EngineError)?.code, code, "\(error)")
            }
        }
    }

    func testRanksAreChecked() {
        for ranks in [0, -1, 5000] {
            XCTAssertThrowsError(try engine(ranks: ranks)) { XCTAssertEqual(($0 as? EngineError)?.code, .request) }
        }
    }
}
