import Logging
import MetricsTestKit
import Synchronization
import XCTest

import KVRunahead

/// What an engine tells swift-log and swift-metrics of its requests.
final class TelemetryTests: XCTestCase {
    private let metrics = TestMetrics()
    private let log = RecordedLog()

    private func engine(_ model: String? = nil, ranks: Int = 2, context: Int = 0) throws -> Engine {
        var configuration = Configuration(model: try model ?? TestModels.fixture("llama-mha-tied-rope3"))
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        configuration.fitsThreads = false
        configuration.contextLength = context
        var logger = Logger(label: "test") { [log] _ in log.handler }
        logger.logLevel = .trace
        return try Engine(configuration, logger: logger, metrics: metrics)
    }

    private func finish(_ engine: Engine, _ prompt: [Int32], _ count: Int) async throws -> GenerationEvent.Summary? {
        var options = GenerationOptions()
        options.sampling = .greedy
        options.maximumTokens = count
        options.stopsAtEnd = false
        var summary: GenerationEvent.Summary?
        for try await event in engine.generate(prompt, options: options) {
            if case .finished(let end) = event { summary = end }
        }
        return summary
    }

    func testAFinishedRequest() async throws {
        let engine = try engine()
        let end = try await finish(engine, [Int32](1...40), 6)
        let summary = try XCTUnwrap(end)
        _ = try await finish(engine, [3, 2, 1], 1)

        XCTAssertEqual(try metrics.expectCounter("kvcpu.requests", [("result", "ok")]).totalValue, 2)
        XCTAssertEqual(metrics.counterTotal(label: "kvcpu.requests"), 2)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.prompt.tokens").totalValue, 43)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.generated.tokens").totalValue, 7)
        XCTAssertGreaterThanOrEqual(try metrics.expectCounter("kvcpu.link.bytes").totalValue, Int64(summary.bytesHandedOver))
        XCTAssertGreaterThan(summary.bytesHandedOver, 0)
        XCTAssertEqual(
            try metrics.expectTimer("kvcpu.ttft").values.first, Int64((summary.timeToFirstToken * 1e9).rounded(.down)))
        XCTAssertEqual(try metrics.expectTimer("kvcpu.prefill").values.count, 2)
        // One token has no further one.
        XCTAssertEqual(try metrics.expectTimer("kvcpu.tpot").values.count, 1)
        for rank in 0..<2 {
            let dimension = [("rank", "\(rank)")]
            XCTAssertEqual(try metrics.expectTimer("kvcpu.rank.compute", dimension).values.count, 2)
            let wait = try XCTUnwrap(metrics.expectTimer("kvcpu.rank.wait", dimension).values.first)
            XCTAssertEqual(Double(wait) * 1e-9, summary.timeline.total(.wait, rank: rank), accuracy: 1e-8)
        }

        let opened = try XCTUnwrap(log.events("opened").first)
        XCTAssertEqual(opened.level, .info)
        XCTAssertEqual(opened.metadata["ranks"], "2")
        XCTAssertEqual(opened.metadata["kernels"], engine.information.kernels)
        XCTAssertEqual(opened.metadata["memory_bytes"], "\(engine.information.memory.total)")
        let finished = log.events("request finished")
        XCTAssertEqual(finished.map { $0.metadata["request"] }, ["1", "2"])
        let first = try XCTUnwrap(finished.first)
        XCTAssertEqual(first.level, .info)
        XCTAssertEqual(first.metadata["prompt_tokens"], "40")
        XCTAssertEqual(first.metadata["generated_tokens"], "6")
        XCTAssertEqual(first.metadata["partition"], "\(summary.partition.map(String.init))")
        XCTAssertEqual(first.metadata["link_bytes"], "\(summary.bytesHandedOver)")
        XCTAssertEqual(first.metadata["stop_reason"], "length")
        XCTAssertEqual(first.metadata["ttft_ms"].flatMap(Double.init) ?? 0, summary.timeToFirstToken * 1e3, accuracy: 1e-3)
        for key in ["tpot_ms", "prefill_ms", "rank_wait_ms", "rank_compute_ms"] { XCTAssertNotNil(first.metadata[key], key) }
        XCTAssertNil(finished.last?.metadata["tpot_ms"])
    }

    func testRefusedAndCancelledRequests() async throws {
        // A model that takes many seconds to fill its context, so that the cancellation comes before.
        let engine = try engine(TestModels.standard(), context: 4000)
        _ = try? await finish(engine, [], 1)
        _ = try? await finish(engine, [Int32](repeating: 1, count: 4001), 1)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.requests", [("result", "request")]).totalValue, 1)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.requests", [("result", "context")]).totalValue, 1)
        XCTAssertEqual(log.events("request refused").map { $0.metadata["error_code"] }, ["request", "context"])
        XCTAssertEqual(log.events("request refused").map(\.level), [.info, .info])

        var options = GenerationOptions()
        options.stopsAtEnd = false
        options.id = "mine"
        for try await event in engine.generate([1, 2, 3], options: options) {
            if case .token = event { break }
        }
        // The engine's queue has seen to it when it comes to this.
        try await engine.withRanks { _, _ in }
        XCTAssertEqual(try metrics.expectCounter("kvcpu.requests", [("result", "cancelled")]).totalValue, 1)
        let cancelled = try XCTUnwrap(log.events("request cancelled").first)
        XCTAssertEqual(cancelled.metadata["request"], "mine")
        XCTAssertEqual(cancelled.metadata["prompt_tokens"], "3")
        XCTAssertGreaterThan(cancelled.metadata["generated_tokens"].flatMap { Int($0) } ?? 0, 0)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.prompt.tokens").totalValue, 0)
    }

    /// A wait that passes its deadline names rank and layer, in the log as in the metrics.
    func testAFailedRank() async throws {
        var configuration = Configuration(model: try TestModels.fixture("llama-mha-tied-rope3"))
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        configuration.fitsThreads = false
        configuration.waitLimit = 0.05
        // The first segment comes after ten seconds.
        configuration.throttle = try LinkProfile(parsing: "latency=10s")
        var logger = Logger(label: "test") { [log] _ in log.handler }
        logger.logLevel = .info
        let engine = try Engine(configuration, logger: logger, metrics: metrics)
        do {
            _ = try await finish(engine, [Int32](1...40), 1)
            XCTFail("it came")
        } catch {
            let error = try XCTUnwrap(error as? EngineError)
            XCTAssertEqual(error.code, .rank)
            XCTAssertEqual(error.rank, 1)
            XCTAssertEqual(error.layer, 0)
        }
        XCTAssertEqual(try metrics.expectCounter("kvcpu.requests", [("result", "rank")]).totalValue, 1)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.rank.failures", [("rank", "1")]).totalValue, 1)
        XCTAssertEqual(try metrics.expectCounter("kvcpu.rank.failures", [("rank", "0")]).totalValue, 0)
        let failed = try XCTUnwrap(log.events("request failed").first)
        XCTAssertEqual(failed.level, .error)
        XCTAssertEqual(failed.metadata["rank"], "1")
        XCTAssertEqual(failed.metadata["layer"], "0")
        XCTAssertTrue(failed.metadata["error"]?.contains("deadline") == true, "\(failed.metadata)")
    }

    func testPagesOffNode() throws {
        try engine().record(pagesOffNode: 17)
        XCTAssertEqual(try metrics.expectGauge("kvcpu.pages.off_node").lastValue, 17)
    }

    func testAnOpeningThatFails() {
        var logger = Logger(label: "test") { [log] _ in log.handler }
        logger.logLevel = .info
        XCTAssertThrowsError(try Engine(Configuration(model: "/nowhere.gguf"), logger: logger))
        XCTAssertEqual(log.events("opening failed").map { $0.metadata["error_code"] }, ["model"])
        XCTAssertEqual(log.events("opening failed").map(\.level), [.error])
    }
}

/// Keeps log events in memory.
private final class RecordedLog: Sendable {
    struct Event: Sendable {
        let level: Logger.Level
        let message: String
        let metadata: [String: String]
    }

    private let all = Mutex<[Event]>([])

    func events(_ message: String) -> [Event] { all.withLock { $0.filter { $0.message == message } } }

    var handler: any LogHandler { Handler(log: self) }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var logLevel = Logger.Level.trace
        var metadata: Logger.Metadata = [:]

        init(log: RecordedLog) { self.log = log }

        subscript(metadataKey key: String) -> Logger.MetadataValue? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let texts = metadata.merging(event.metadata ?? [:]) { $1 }.mapValues { "\($0)" }
            log.all.withLock { $0.append(Event(level: event.level, message: "\(event.message)", metadata: texts)) }
        }
    }
}
