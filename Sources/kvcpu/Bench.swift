import ArgumentParser
import Foundation
import KVGGUF
import KVModel
import KVRunahead

enum BenchFormat: String, CaseIterable, ExpressibleByArgument {
    case md, json, jsonl, csv
}

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures prefill and decode speed, in llama-bench's shape.",
        discussion: """
            -p, -n, --ranks, --threads-per-rank and --cache-type take comma lists; every combination is measured. Strategies and partitions are \
            measured in turns on the same ranks, so that what disturbs the machine meets all alike.
            """)

    @OptionGroup var model: ModelOptions
    @Option(name: [.customShort("p"), .customLong("n-prompt")], help: "Prompt lengths; 0: no prefill test")
    var prompts = "512"
    @Option(name: [.customShort("n"), .customLong("n-gen")], help: "Numbers of tokens to decode; 0: no decode test")
    var generations = "128"
    @Option(name: [.customShort("r"), .long], help: "Repetitions")
    var repetitions = 5
    @Option(name: [.customShort("d"), .customLong("n-depth")], help: "Positions in the cache before decoding")
    var depth = 0
    @Option(name: [.short, .long], help: "md, json, jsonl or csv")
    var output = BenchFormat.md
    @Option(help: "Virtual ranks")
    var ranks: String?
    @Option(name: [.customShort("t"), .customLong("threads-per-rank")], help: "Threads of each rank")
    var threadsPerRank: String?
    @Flag(help: "Run as many threads as asked, even more than CPUs")
    var oversubscribe = false
    @Option(help: "runahead, sequential, tsp, tsp-causal, zigzag; several apart by commas")
    var strategy = "runahead"
    @Option(help: "Of runahead: auto, even, searched, predicted, modelled, tokens of each rank, or ratios; several apart by ;")
    var partition = "auto"
    @OptionGroup var plans: PlanOptions
    @OptionGroup var computing: ComputingOptions
    @OptionGroup var log: LogOptions
    @Option(name: [.customLong("cache-type"), .customLong("ctk", withSingleDash: true)], help: "Element types of the KV-cache")
    var cacheType = "f16"

    func run() async throws {
        let prompts = try integers(prompts, "-p", least: 0)
        let generations = try integers(generations, "-n", least: 0)
        guard repetitions >= 1 else { throw Failure.usage("-r is \(repetitions); it must be 1 or more") }
        guard depth >= 0 else { throw Failure.usage("-d is \(depth); it must be 0 or more") }
        let cases = try cases()
        var report = BenchReport(format: output)
        for configuration in try configurations() {
            var configuration = configuration
            configuration.contextLength = max(prompts.max() ?? 0, depth + (generations.max() ?? 0), 1)
            // Alone, sequential takes one rank of all threads; among others it borrows theirs.
            configuration.strategy = cases.first { $0.strategy != .sequential }?.strategy ?? .sequential
            let engine = try await Session.open(configuration, progress: true, verbose: false, log: log)
            for count in prompts where count > 0 {
                for (each, runs) in zip(cases, try await prefill(engine, count, cases)) {
                    try report.add(
                        BenchRow(
                            engine, prompt: count, generated: 0, depth: 0, strategy: each.strategy, partition: each.text,
                            samples: runs.map(\.duration), accounting: runs.last?.accounting))
                }
            }
            for count in generations where count > 0 {
                let samples = try await decode(engine, count)
                try report.add(
                    BenchRow(
                        engine, prompt: 0, generated: count, depth: depth, strategy: configuration.strategy,
                        partition: cases[0].text, samples: samples))
            }
        }
        try report.finish()
    }

    /// A way to compute prompts.
    struct Case: Sendable {
        let strategy: Configuration.Strategy
        let partition: Partition
        let text: String
    }

    /// Runahead by every partition, the other strategies evenly.
    private func cases() throws -> [Case] {
        let partitions = try partition.split(separator: ";").map { (String($0), try Partition(parsing: String($0))) }
        let strategies = try strategy.split(separator: ",").map { name in
            guard let strategy = Configuration.Strategy(rawValue: String(name)) else {
                let all = Configuration.Strategy.allCases.map(\.rawValue).joined(separator: ", ")
                throw Failure.usage("--strategy is \"\(name)\"; it must be of \(all)")
            }
            return strategy
        }
        guard !partitions.isEmpty else { throw Failure.usage("--partition is empty") }
        guard !strategies.isEmpty else { throw Failure.usage("--strategy is empty") }
        return try strategies.flatMap { strategy in
            if strategy == .runahead { return partitions.map { Case(strategy: strategy, partition: $0.1, text: $0.0) } }
            // A partition given for nobody.
            if !strategies.contains(.runahead) { for (_, partition) in partitions { try strategy.check(partition) } }
            return [Case(strategy: strategy, partition: .even, text: "even")]
        }
    }

    private func integers(_ text: String, _ flag: String, least: Int) throws(Failure) -> [Int] {
        let values = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard !values.isEmpty, values.allSatisfy({ ($0 ?? least - 1) >= least }) else {
            throw .usage("\(flag) is \"\(text)\"; it must be numbers of \(least) or more, apart by commas")
        }
        return values.compactMap { $0 }
    }

    private func configurations() throws -> [Configuration] {
        let source = try model.source()
        var configurations: [Configuration] = []
        for ranks in try ranks.map({ try integers($0, "--ranks", least: 1) }) ?? [computing.placement.defaultRanks()] {
            for threads in try threadsPerRank.map({ try integers($0, "--threads-per-rank", least: 1).map { $0 as Int? } }) ?? [nil]
            {
                for type in cacheType.split(separator: ",") {
                    guard let element = Configuration.CacheElement(rawValue: String(type)) else {
                        throw Failure.usage("--cache-type is \"\(type)\"; it must be f16 or f32")
                    }
                    var configuration = Configuration(source)
                    configuration.ranks = ranks
                    configuration.threadsPerRank = threads
                    configuration.fitsThreads = !oversubscribe
                    configuration.cacheElement = element
                    try computing.apply(to: &configuration)
                    plans.apply(to: &configuration)
                    configurations.append(configuration)
                }
            }
        }
        return configurations
    }

    /// Fixed pseudo-random ids.
    static func tokens(_ count: Int, vocabulary: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 13) % vocabulary) }
    }

    /// Each case's repetitions, after one that is not counted; in turns.
    private func prefill(_ engine: Engine, _ count: Int, _ cases: [Case]) async throws -> [[Ranks.Prefill]] {
        try await engine.withRanks { [repetitions] ranks, isCancelled in
            let tokens = Self.tokens(count, vocabulary: ranks.model.geometry.vocabulary)
            for each in cases { try ranks.prepare(each.strategy) }
            var runs = [[Ranks.Prefill]](repeating: [], count: cases.count)
            for repetition in 0...repetitions {
                for (index, each) in cases.enumerated() {
                    let run = try ranks.prefill(tokens, strategy: each.strategy, partition: each.partition) { _ in
                        if isCancelled() { ranks.cancel() }
                    }
                    if repetition > 0 { runs[index].append(run) }
                }
            }
            return runs
        }
    }

    /// Seconds of each repetition's decoding after `depth` positions.
    private func decode(_ engine: Engine, _ count: Int) async throws -> [Double] {
        try await engine.withRanks { [repetitions, depth] ranks, _ in
            let tokens = Self.tokens(depth + count + 1, vocabulary: ranks.model.geometry.vocabulary)
            return try (0...repetitions).map { _ in
                try ranks.clear()
                if depth > 0 { _ = try ranks.prefill(Array(tokens.prefix(depth)), partition: .even) }
                let start = DispatchTime.now().uptimeNanoseconds
                for index in 0..<count { try ranks.decode(tokens[depth + index]) }
                return Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
            }.suffix(repetitions)
        }
    }
}
