import KVFabric
import KVModel
import Logging

/// What an engine tells of its requests: log events with the same keys everywhere, and metrics. At the end of a request, never while
/// one runs.
struct Telemetry: Sendable {
    let logger: Logger
    let meters: Meters

    /// One request from its coming to its end.
    struct Request {
        let id: String
        let promptTokens: Int
        /// When it came, on the monotonic clock.
        let start: UInt64
        private(set) var generated = 0
        private(set) var summary: GenerationEvent.Summary?

        init(id: String, promptTokens: Int, start: UInt64) {
            self.id = id
            self.promptTokens = promptTokens
            self.start = start
        }

        mutating func note(_ event: GenerationEvent) {
            switch event {
            case .prefill: break
            case .token(let token): if token.id >= 0 { generated += 1 }
            case .finished(let summary): self.summary = summary
            }
        }
    }

    func began(_ request: Request) {
        logger.debug(
            "request began",
            metadata: [
                "request": "\(request.id)", "prompt_tokens": .number(request.promptTokens),
                "queued_ms": .milliseconds(request.seconds),
            ])
    }

    /// A prompt that belongs to no request.
    func computed(_ run: Ranks.Prefill, _ strategy: Configuration.Strategy) {
        logger.debug(
            "prompt computed",
            metadata: [
                "strategy": "\(strategy.rawValue)",
                "prompt_tokens": .number(run.chunks.reduce(0) { $0 + $1.count }),
                "partition": .array(run.chunks.map { .number($0.count) }),
                "prefill_ms": .milliseconds(run.duration),
                "link_bytes": .number(run.bytesHandedOver),
            ])
    }

    /// - Parameter error: nil: it came to its end.
    func ended(_ request: Request, _ error: EngineError?) {
        if let error { return failed(request, error) }
        guard let summary = request.summary else { return }
        meters.finished(summary)
        let ranks = summary.partition.indices
        var metadata: Logger.Metadata = [
            "request": "\(request.id)",
            "prompt_tokens": .number(summary.promptTokens), "reused_tokens": .number(summary.reusedTokens),
            "generated_tokens": .number(summary.generatedTokens),
            "partition": .array(summary.partition.map { .number($0) }),
            "ttft_ms": .milliseconds(summary.timeToFirstToken),
            "prefill_ms": .milliseconds(summary.prefillDuration),
            "rank_wait_ms": .array(ranks.map { .milliseconds(summary.timeline.total(.wait, rank: $0)) }),
            "rank_compute_ms": .array(ranks.map { .milliseconds(summary.timeline.total(.compute, rank: $0)) }),
            "link_bytes": .number(summary.bytesHandedOver),
            "stop_reason": "\(summary.stopReason.rawValue)",
        ]
        if let time = summary.timePerOutputToken { metadata["tpot_ms"] = .milliseconds(time) }
        if let verification = summary.verification {
            metadata["verified_positions"] = .number(verification.positions)
            metadata["verified_layers"] = .number(verification.layers)
        }
        logger.info("request finished", metadata: metadata)
    }

    private func failed(_ request: Request, _ error: EngineError) {
        meters.failed(error, generated: request.generated)
        var metadata = error.metadata
        metadata["request"] = "\(request.id)"
        metadata["prompt_tokens"] = .number(request.promptTokens)
        metadata["generated_tokens"] = .number(request.generated)
        metadata["elapsed_ms"] = .milliseconds(request.seconds)
        switch error.code {
        case .cancelled: logger.info("request cancelled", metadata: metadata)
        case .request, .context: logger.info("request refused", metadata: metadata)
        case .model, .memory, .system, .rank, .numbers, .verification, .device: logger.error("request failed", metadata: metadata)
        }
    }
}

extension Telemetry.Request {
    /// Since it came.
    fileprivate var seconds: Double { Double(MonotonicClock.now - start) * 1e-9 }
}

extension EngineError {
    var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = ["error": "\(description)", "error_code": "\(code.rawValue)"]
        if let rank { metadata["rank"] = .number(rank) }
        if let layer { metadata["layer"] = .number(layer) }
        return metadata
    }
}

extension Logger.MetadataValue {
    /// A number that stays one where a handler knows numbers.
    static func number(_ value: some BinaryInteger & CustomStringConvertible & Sendable) -> Self { .stringConvertible(value) }

    /// Seconds as milliseconds, to the microsecond.
    static func milliseconds(_ seconds: Double) -> Self { .stringConvertible((seconds * 1e6).rounded() / 1e3) }
}

extension Opening {
    /// Where each rank is.
    func log(to logger: Logger) {
        for (index, rank) in placement.ranks.enumerated() {
            var metadata: Logger.Metadata = ["rank": .number(index), "cpus": .array(rank.cpus.map { .number($0) })]
            if let node = rank.node { metadata["node"] = .number(node) }
            logger.debug("rank placed", metadata: metadata)
        }
    }

    /// Of the event that tells of an engine.
    func metadata(_ link: Configuration.Link, seconds: Double) -> Logger.Metadata {
        [
            "model": "\(configuration.model)",
            "architecture": "\(type(of: model.architecture).names[0])",
            "kernels": "\(kernels)",
            "strategy": "\(configuration.strategy.rawValue)",
            "ranks": .number(placement.ranks.count),
            "threads_per_rank": .number(placement.threadsPerRank),
            "link": "\(link.rawValue)",
            "context_tokens": .number(contextLength),
            "weights_bytes": .number(memory.weights),
            "caches_bytes": .number(memory.caches),
            "memory_bytes": .number(memory.total),
            "opening_ms": .milliseconds(seconds),
        ]
    }
}
