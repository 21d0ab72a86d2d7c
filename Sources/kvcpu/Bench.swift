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
        discussion: "-p, -n, --ranks, --threads-per-rank and --cache-type take comma lists; every combination is measured.")

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
    @Option(help: "auto, even, searched, predicted, modelled, tokens of each rank, or ratios; several apart by ;")
    var partition = "auto"
    @OptionGroup var plans: PlanOptions
    @OptionGroup var computing: ComputingOptions
    @Option(name: [.customLong("cache-type"), .customLong("ctk", withSingleDash: true)], help: "Element types of the KV-cache")
    var cacheType = "f16"

    func run() async throws {
        let prompts = try integers(prompts, "-p", least: 0)
        let generations = try integers(generations, "-n", least: 0)
        guard repetitions >= 1 else { throw Failure.usage("-r is \(repetitions); it must be 1 or more") }
        guard depth >= 0 else { throw Failure.usage("-d is \(depth); it must be 0 or more") }
        var report = BenchReport(format: output)
        for configuration in try configurations() {
            var configuration = configuration
            configuration.contextLength = max(prompts.max() ?? 0, depth + (generations.max() ?? 0), 1)
            let engine = try await Session.open(configuration, progress: true, verbose: false)
            for text in partition.split(separator: ";").map(String.init) {
                let parsed = try Partition(parsing: text)
                for count in prompts where count > 0 {
                    let samples = try await prefill(engine, count, parsed)
                    try report.add(
                        BenchRow(engine, prompt: count, generated: 0, depth: 0, partition: text, samples: samples))
                }
            }
            for count in generations where count > 0 {
                let samples = try await decode(engine, count)
                try report.add(BenchRow(engine, prompt: 0, generated: count, depth: depth, partition: partition, samples: samples))
            }
        }
        try report.finish()
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
        for ranks in try ranks.map({ try integers($0, "--ranks", least: 1) }) ?? [Configuration.defaultRanks()] {
            for threads in try threadsPerRank.map({ try integers($0, "--threads-per-rank", least: 1).map { $0 as Int? } }) ?? [nil]
            {
                for type in cacheType.split(separator: ",") {
                    guard let element = Configuration.CacheElement(rawValue: String(type)) else {
                        throw Failure.usage("--cache-type is \"\(type)\"; it must be f16 or f32")
                    }
                    var configuration = Configuration(source)
                    configuration.ranks = ranks
                    configuration.threadsPerRank = threads
                    configuration.cacheElement = element
                    computing.apply(to: &configuration)
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

    /// Seconds of each repetition, after one that is not counted.
    private func prefill(_ engine: Engine, _ count: Int, _ partition: Partition) async throws -> [Double] {
        let sequential = computing.strategy == .sequential
        return try await engine.withRanks { [repetitions] ranks, isCancelled in
            let tokens = Self.tokens(count, vocabulary: ranks.model.geometry.vocabulary)
            return try (0...repetitions).map { _ in
                try ranks.prefill(tokens, partition: sequential ? .even : partition) { _ in
                    if isCancelled() { ranks.cancel() }
                }.duration
            }.suffix(repetitions)
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
