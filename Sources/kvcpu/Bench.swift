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
            -p, -n, -d, --ranks, --threads-per-rank and --cache-type take comma lists, can be given several times, and, but for the last, take \
            ranges as 64-512*2; every combination is measured. Strategies and partitions are \
            measured in turns on the same ranks, so that what disturbs the machine meets all alike.
            """)

    @OptionGroup var model: ModelOptions
    @Option(name: [.customShort("p"), .customLong("n-prompt")], help: "Prompt lengths; 0: no prefill test; default: 512")
    var prompts: [String] = []
    @Option(name: [.customShort("n"), .customLong("n-gen")], help: "Numbers of tokens to decode; 0: no decode test; default: 128")
    var generations: [String] = []
    @Option(
        name: [.customLong("pg", withSingleDash: true)],
        help: "A prompt's length and a number of tokens decoded after it, timed together: 512,128")
    var pairs: [String] = []
    @Option(name: [.customShort("r"), .long], help: "Repetitions")
    var repetitions = 5
    @Option(name: [.customShort("d"), .customLong("n-depth")], help: "Positions in the cache before decoding; default: 0")
    var depths: [String] = []
    @Flag(help: "No run before those that are timed")
    var noWarmup = false
    @Option(parsing: .unconditional, help: "Seconds of rest before each test")
    var delay = 0.0
    @Option(name: [.short, .long], help: "md, json, jsonl or csv")
    var output = BenchFormat.md
    @Option(help: "Virtual ranks")
    var ranks: [String] = []
    @Option(name: [.customShort("t"), .customLong("threads-per-rank")], help: "Threads of each rank")
    var threadsPerRank: [String] = []
    @Flag(help: "Run as many threads as asked, even more than CPUs")
    var oversubscribe = false
    @Option(help: "runahead, sequential, tsp, tsp-causal, zigzag; several apart by commas")
    var strategy = "runahead"
    @Option(help: "Of runahead: auto, even, searched, predicted, modelled, tokens of each rank, or ratios; several apart by ;")
    var partition = "auto"
    @OptionGroup var plans: PlanOptions
    @OptionGroup var computing: ComputingOptions
    @OptionGroup var log: LogOptions
    @Option(
        name: [.customLong("cache-type"), .customLong("cache-type-k"), .customLong("ctk", withSingleDash: true)],
        help: "Element types of the KV-cache; default: f16")
    var cacheTypes: [String] = []
    @Option(
        name: [.customLong("cache-type-v"), .customLong("ctv", withSingleDash: true)],
        help: "The same under llama.cpp's name for values; keys have it too")
    var cacheTypesV: [String] = []

    private static let lengths = 0...Int(Int32.max)

    func run() async throws {
        let prompts = try BenchValues.numbers(prompts, usual: "512", "-p", in: Self.lengths)
        let generations = try BenchValues.numbers(generations, usual: "128", "-n", in: Self.lengths)
        let depths = try BenchValues.numbers(depths, usual: "0", "-d", in: Self.lengths)
        let pairs = try BenchValues.pairs(pairs, "-pg", in: Self.lengths)
        guard (1...100_000).contains(repetitions) else { throw Failure.usage("-r is \(repetitions); it must be 1 to 100000") }
        guard (0...3600).contains(delay) else { throw Failure.usage("--delay is \(delay); it must be 0 to 3600") }
        guard !pairs.isEmpty || (prompts + generations).contains(where: { $0 > 0 }) else {
            throw Failure.usage("-p and -n are 0 and there is no -pg: nothing is to be measured")
        }
        let longest = [
            prompts.max() ?? 0, (depths.max() ?? 0) + (generations.max() ?? 0), pairs.map { $0.prompt + $0.generated }.max() ?? 0,
        ].max()
        guard let longest, Self.lengths.contains(longest) else {
            throw Failure.usage("-d and -n, or -pg, sum to more than \(Self.lengths.upperBound) positions")
        }
        let cases = try cases()
        var report = BenchReport(format: output)
        for configuration in try configurations() {
            var configuration = configuration
            configuration.locatesNonFinite = true
            configuration.contextLength = max(longest, 1)
            // Alone, sequential takes one rank of all threads; among others it borrows theirs.
            configuration.strategy = cases.first { $0.strategy != .sequential }?.strategy ?? .sequential
            configuration.noteThrottle()
            let engine = try await Session.open(configuration, progress: true, verbose: false, log: log)
            computing.lockMemory()
            for count in prompts where count > 0 {
                try await rest()
                for (each, runs) in zip(cases, try await prefill(engine, count, cases)) {
                    try report.add(
                        BenchRow(
                            engine, prompt: count, generated: 0, depth: 0, strategy: each.strategy, partition: each.text,
                            samples: runs.map(\.duration), accounting: runs.last?.accounting))
                }
            }
            for depth in depths {
                for count in generations where count > 0 {
                    try await rest()
                    let samples = try await decode(engine, count, depth: depth)
                    try report.add(
                        BenchRow(
                            engine, prompt: 0, generated: count, depth: depth, strategy: configuration.strategy,
                            partition: cases[0].text, samples: samples))
                }
            }
            for pair in pairs {
                try await rest()
                for (each, samples) in zip(cases, try await both(engine, pair.prompt, pair.generated, cases)) {
                    try report.add(
                        BenchRow(
                            engine, prompt: pair.prompt, generated: pair.generated, depth: 0, strategy: each.strategy,
                            partition: each.text, samples: samples))
                }
            }
        }
        try report.finish()
    }

    private func rest() async throws {
        if delay > 0 { try await Task.sleep(for: .seconds(delay)) }
    }

    /// The first repetition that counts.
    private var first: Int { noWarmup ? 1 : 0 }

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

    private func types() throws(Failure) -> [Substring] {
        func list(_ texts: [String]) -> [Substring] { texts.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false) } }
        let (keys, values) = (list(cacheTypes), list(cacheTypesV))
        guard keys.isEmpty || values.isEmpty || keys == values else {
            throw .usage(
                "-ctk is \(keys.joined(separator: ",")), -ctv \(values.joined(separator: ",")): keys and values have the same type")
        }
        return keys.isEmpty ? values.isEmpty ? ["f16"] : values : keys
    }

    private func configurations() throws -> [Configuration] {
        let source = try model.source()
        var configurations: [Configuration] = []
        let rankCounts =
            ranks.isEmpty
            ? [try computing.placement.defaultRanks()] : try BenchValues.numbers(ranks, usual: "", "--ranks", in: 1...1024)
        let threadCounts: [Int?] =
            threadsPerRank.isEmpty ? [nil] : try BenchValues.numbers(threadsPerRank, usual: "", "--threads-per-rank", in: 1...1024)
        for ranks in rankCounts {
            for threads in threadCounts {
                for type in try types() {
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
        try await engine.withRanks { [repetitions, first] ranks, isCancelled in
            let tokens = Self.tokens(count, vocabulary: ranks.model.geometry.vocabulary)
            for each in cases { try ranks.prepare(each.strategy) }
            var runs = [[Ranks.Prefill]](repeating: [], count: cases.count)
            for repetition in first...repetitions {
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
    private func decode(_ engine: Engine, _ count: Int, depth: Int) async throws -> [Double] {
        try await engine.withRanks { [repetitions, first] ranks, _ in
            let tokens = Self.tokens(depth + count + 1, vocabulary: ranks.model.geometry.vocabulary)
            return try (first...repetitions).map { _ in
                try ranks.clear()
                if depth > 0 { _ = try ranks.prefill(Array(tokens.prefix(depth)), partition: .even) }
                let start = DispatchTime.now().uptimeNanoseconds
                for index in 0..<count { try ranks.decode(tokens[depth + index]) }
                return Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9
            }.suffix(repetitions)
        }
    }

    /// Seconds of each repetition's prefill and the decoding after it, of each case in turns.
    private func both(_ engine: Engine, _ prompt: Int, _ count: Int, _ cases: [Case]) async throws -> [[Double]] {
        try await engine.withRanks { [repetitions, first] ranks, isCancelled in
            let tokens = Self.tokens(prompt + count, vocabulary: ranks.model.geometry.vocabulary)
            for each in cases { try ranks.prepare(each.strategy) }
            var samples = [[Double]](repeating: [], count: cases.count)
            for repetition in first...repetitions {
                for (index, each) in cases.enumerated() {
                    let run = try ranks.prefill(Array(tokens.prefix(prompt)), strategy: each.strategy, partition: each.partition) {
                        _ in
                        if isCancelled() { ranks.cancel() }
                    }
                    let start = DispatchTime.now().uptimeNanoseconds
                    for token in tokens.suffix(count) { try ranks.decode(token) }
                    if repetition > 0 {
                        samples[index].append(run.duration + Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9)
                    }
                }
            }
            return samples
        }
    }
}
