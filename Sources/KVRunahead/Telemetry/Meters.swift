import CoreMetrics

/// An engine's metrics. Which backend gets them is the program's choice: `MetricsSystem.bootstrap`, or a factory handed to `Engine.open`.
///
/// Made once, at opening; written to at the end of a request, never while one runs.
struct Meters: Sendable {
    private let timeToFirstToken: Timer
    private let timePerOutputToken: Timer
    private let prefill: Timer
    /// By rank.
    private let waits: [Timer]
    private let computing: [Timer]
    private let failures: [Counter]
    private let promptTokens: Counter
    private let generatedTokens: Counter
    private let linkBytes: Counter
    /// By result.
    private let requests: [String: Counter]
    private let pagesOffNode: Gauge

    init(ranks: Int, factory: any MetricsFactory) {
        func timers(_ label: String) -> [Timer] {
            (0..<ranks).map { Timer(label: label, dimensions: [("rank", "\($0)")], factory: factory) }
        }
        timeToFirstToken = Timer(label: "kvcpu.ttft", factory: factory)
        timePerOutputToken = Timer(label: "kvcpu.tpot", factory: factory)
        prefill = Timer(label: "kvcpu.prefill", factory: factory)
        waits = timers("kvcpu.rank.wait")
        computing = timers("kvcpu.rank.compute")
        failures = (0..<ranks).map {
            Counter(label: "kvcpu.rank.failures", dimensions: [("rank", "\($0)")], factory: factory)
        }
        promptTokens = Counter(label: "kvcpu.prompt.tokens", factory: factory)
        generatedTokens = Counter(label: "kvcpu.generated.tokens", factory: factory)
        linkBytes = Counter(label: "kvcpu.link.bytes", factory: factory)
        let results = ["ok"] + EngineError.Code.allCases.map(\.rawValue)
        requests = Dictionary(
            uniqueKeysWithValues: results.map {
                ($0, Counter(label: "kvcpu.requests", dimensions: [("result", $0)], factory: factory))
            })
        pagesOffNode = Gauge(label: "kvcpu.pages.off_node", factory: factory)
    }

    func finished(_ summary: GenerationEvent.Summary) {
        timeToFirstToken.recordSeconds(summary.timeToFirstToken)
        prefill.recordSeconds(summary.prefillDuration)
        if let time = summary.timePerOutputToken { timePerOutputToken.recordSeconds(time) }
        for rank in waits.indices where summary.partition.indices.contains(rank) && summary.partition[rank] > 0 {
            waits[rank].recordSeconds(summary.timeline.total(.wait, rank: rank))
            computing[rank].recordSeconds(summary.timeline.total(.compute, rank: rank))
        }
        promptTokens.increment(by: summary.promptTokens)
        generatedTokens.increment(by: summary.generatedTokens)
        linkBytes.increment(by: Int64(clamping: summary.bytesHandedOver))
        requests["ok"]?.increment()
    }

    /// A request that ended without a summary, after so many tokens.
    func failed(_ error: EngineError, generated: Int) {
        generatedTokens.increment(by: generated)
        requests[error.code.rawValue]?.increment()
        if error.code == .rank, let rank = error.rank, failures.indices.contains(rank) { failures[rank].increment() }
    }

    func set(pagesOffNode pages: Int) { pagesOffNode.record(pages) }
}
