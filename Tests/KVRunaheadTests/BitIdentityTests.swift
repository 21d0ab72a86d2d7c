import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// The product's contract: logits, KV-cache and continuation are the same bits whatever ranks, threads, partition and link.
final class BitIdentityTests: XCTestCase {
    /// Even, random ones, and extremes: one-token chunks, empty chunks, everything on the last or the first rank.
    static func partitions(_ tokens: Int, ranks: Int, random count: Int, seed: UInt64) -> [Partition] {
        var random = SplitMix64(seed: seed)
        var partitions: [Partition] = [.even]
        for _ in 0..<count {
            let cuts = ([0, tokens] + (0..<ranks - 1).map { _ in Int.random(in: 0...tokens, using: &random) }).sorted()
            partitions.append(.tokens(zip(cuts, cuts.dropFirst()).map { $1 - $0 }))
        }
        let ones = [Int](repeating: 1, count: ranks - 1)
        let none = [Int](repeating: 0, count: ranks - 1)
        partitions.append(.tokens(ones + [tokens - ranks + 1]))
        partitions.append(.tokens([tokens - ranks + 1] + ones))
        partitions.append(.tokens(none + [tokens]))
        partitions.append(.tokens([tokens] + none))
        if ranks > 2 { partitions.append(.tokens([tokens / 2] + none.dropLast() + [tokens - tokens / 2])) }
        return partitions
    }

    struct Matrix {
        var ranks = [1, 2, 3, 4, 8]
        var threads = [1, 2, 3]
        var random = 20
        var links: [Configuration.Link] = [.ring, .shared]
        var caches: [Configuration.CacheElement] = [.f16, .f32]
        var steps = 16
    }

    /// Runs the whole matrix against one rank with one thread.
    func check(_ path: String, _ activations: ActivationType, tokens: [Int32], _ matrix: Matrix, kernels: String? = nil) throws {
        let model = try TestModels.model(path, activations, kernels: kernels)
        var runs = 0
        for cache in matrix.caches {
            var configuration = Configuration(model: path)
            configuration.cacheElement = cache
            configuration.threadsPerRank = 1
            let context = tokens.count + matrix.steps
            let alone = try TestModels.ranks(model, configuration, context: context)
            let expected = try RunBits(alone, tokens, partition: .even, steps: matrix.steps)
            alone.shutdown()
            XCTAssertTrue(expected.logits.contains { $0 != 0 }, "logits are all zero")
            XCTAssertTrue(expected.logits.allSatisfy { Float(bitPattern: $0).isFinite }, "logits are not finite")
            for ranks in matrix.ranks {
                for threads in matrix.threads {
                    for link in matrix.links {
                        configuration.ranks = ranks
                        configuration.threadsPerRank = threads
                        configuration.link = link
                        let team = try TestModels.ranks(model, configuration, context: context)
                        let seed = UInt64(ranks * 100 + threads * 10 + (link == .ring ? 1 : 0))
                        for partition in Self.partitions(tokens.count, ranks: ranks, random: matrix.random, seed: seed) {
                            let bits = try RunBits(team, tokens, partition: partition, steps: matrix.steps)
                            let label = "\(cache) \(ranks)×\(threads) \(link) \(partition)"
                            XCTAssertTrue(bits.logits == expected.logits, "logits differ: \(label)")
                            XCTAssertTrue(bits.cache == expected.cache, "KV-cache differs: \(label)")
                            XCTAssertEqual(bits.continuation, expected.continuation, "continuation differs: \(label)")
                            runs += 1
                        }
                        team.shutdown()
                    }
                }
            }
        }
        print("bit identity: \(runs) runs of \(path.split(separator: "/").suffix(2).joined(separator: "/")) equal one rank's")
    }

    func fixtureTokens(_ name: String) throws -> [Int32] {
        try SafetensorsFile(path: try Fixtures.require("\(name)/expected.safetensors")).integers("input_ids").map(Int32.init)
    }

    func testGroupedQueryFixture() throws {
        try check(TestModels.fixture("llama-gqa"), .int8, tokens: fixtureTokens("llama-gqa"), Matrix())
    }

    func testMultiHeadFixture() throws {
        try check(
            TestModels.fixture("llama-mha-tied-rope3"), .int8, tokens: fixtureTokens("llama-mha-tied-rope3"), Matrix())
    }

    /// What the other architectures bring: windows, soft caps, norms of queries and keys and behind blocks, experts, other rotary embeddings;
    /// each with several partitions of 1, 2, 3 and 5 ranks, and with every strategy.
    func testArchitectures() throws {
        let names = ["mistral-swa", "mixtral", "qwen2", "qwen2moe", "qwen3", "gemma2", "gemma3", "phi3", "gptneox", "olmo2"]
        for name in names {
            let tokens = try fixtureTokens(name)
            var matrix = Matrix()
            matrix.ranks = [1, 2, 3, 5]
            matrix.threads = [2]
            matrix.random = 3
            matrix.links = [.shared]
            matrix.caches = [.f16]
            matrix.steps = 6
            try check(TestModels.fixture(name), .int8, tokens: tokens, matrix)

            try checkStrategies(TestModels.model(TestModels.fixture(name), .int8), name, tokens)
        }
    }

    /// Experts of one layer, and matrices of one input, in formats that take float and int8 inputs.
    func testMixedFormats() throws {
        let folder = Fixtures.repository.appendingPathComponent("Tests/Fixtures/reference/mixed-experts").path
        let tokens = try SafetensorsFile(path: "\(folder)/expected.safetensors").integers("input_ids").map(Int32.init)
        var matrix = Matrix()
        matrix.ranks = [1, 2, 3]
        matrix.threads = [1, 3]
        matrix.random = 3
        matrix.links = [.shared]
        matrix.caches = [.f32]
        matrix.steps = 4
        try check("\(folder)/model.gguf", .int8, tokens: tokens, matrix)
        try checkStrategies(TestModels.model("\(folder)/model.gguf", .int8), "mixed-experts", tokens)
    }

    private func checkStrategies(_ model: Model, _ name: String, _ tokens: [Int32]) throws {
        var configuration = Configuration(model: "")
        configuration.cacheElement = .f32
        configuration.threadsPerRank = 1
        configuration.link = .ring
        let alone = try TestModels.ranks(model, configuration, context: tokens.count + 6)
        let expected = try RunBits(alone, tokens, strategy: .sequential, steps: 6)
        XCTAssertTrue(expected.logits.allSatisfy { Float(bitPattern: $0).isFinite }, name)
        XCTAssertGreaterThan(Set(expected.logits).count, 100, name)
        alone.shutdown()
        for ranks in [2, 3, 5] {
            configuration.ranks = ranks
            configuration.threadsPerRank = ranks == 2 ? 3 : 1
            let team = try TestModels.ranks(model, configuration, context: tokens.count + 6)
            for strategy in Configuration.Strategy.allCases {
                let bits = try RunBits(team, tokens, strategy: strategy, steps: 6)
                XCTAssertTrue(bits == expected, "\(name): \(ranks) ranks, \(strategy)")
            }
            team.shutdown()
        }
    }

    /// Quantised experts and a prompt of more than one piece, with all instruction sets and both kinds of activations.
    func testQuantisedExperts() throws {
        let sizes = "layers=2,width=256,heads=8,kv=2,ffn=256,vocab=300"
        let tokens = (0..<270).map { Int32(($0 * 7919 + 13) % 300) }
        for name in ["mixtral-8x7b,\(sizes),type=q4_0", "qwen3-30b-a3b,\(sizes),type=q4_k", "gemma2-2b,\(sizes),type=q8_0"] {
            var expected: RunBits?
            for kernels in Kernels.supported.reversed() {
                let model = try TestModels.model(.synthetic(name), .int8, kernels: kernels.name)
                if kernels.name == Kernels.supported[0].name { try checkStrategies(model, name, tokens) }
                var configuration = Configuration(model: "")
                configuration.ranks = 2
                configuration.threadsPerRank = 2
                let team = try TestModels.ranks(model, configuration, context: 64)
                let bits = try RunBits(team, Array(tokens.prefix(40)), steps: 4)
                XCTAssertTrue(bits == expected ?? bits, "\(name): \(kernels.name)")
                expected = expected ?? bits
                team.shutdown()
            }
            // The same weights with float activations differ by their rounding alone.
            let model = try TestModels.model(.synthetic(name), .float)
            var configuration = Configuration(model: "")
            configuration.threadsPerRank = 1
            configuration.ranks = 2
            let exact = try RunBits(TestModels.ranks(model, configuration, context: 64), Array(tokens.prefix(40)), steps: 0)
            let pairs = zip(exact.logits.map { Float(bitPattern: $0) }, (expected?.logits ?? []).map { Float(bitPattern: $0) })
            let size = exact.logits.reduce(Float(0)) { $0 + Float(bitPattern: $1) * Float(bitPattern: $1) }
            let error = pairs.reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
            print("\(name): relative error of int8 \((error / size).squareRoot())")
            XCTAssertLessThan(error, size * 0.01, name)
            XCTAssertGreaterThan(error, 0)
        }
    }

    func testFalconFixtures() throws {
        for name in ["falcon-7b", "falcon-40b"] {
            try check(TestModels.fixture(name), .int8, tokens: fixtureTokens(name), Matrix(random: 6))
        }
    }

    func testQuantisedFixture() throws {
        let tokens = try fixtureTokens("q-llama-q8_0")
        for activations in ActivationType.allCases {
            try check(TestModels.fixture("q-llama-q8_0"), activations, tokens: tokens, Matrix())
        }
    }

    /// The default model on a 300-token prompt. In a debug build its kernels are unoptimised, so that only a sample of the matrix fits.
    func testDefaultModel() throws {
        let text = try String(contentsOfFile: Fixtures.require("smollm2/prompt.txt"), encoding: .utf8)
        let path = try TestModels.standard()
        let engine = try Engine(Configuration(model: path))
        let tokens = Array((try engine.tokenize(text + " " + text)).prefix(300))
        XCTAssertEqual(tokens.count, 300)
        var matrix = Matrix()
        #if DEBUG
            matrix.ranks = [3]
            matrix.threads = [2]
            matrix.random = 1
            matrix.caches = [.f16]
            matrix.steps = 2
            try check(path, .int8, tokens: Array(tokens.prefix(140)), matrix)
        #else
            try check(path, .int8, tokens: tokens, matrix)
        #endif
    }

    /// Prompts shorter than the ranks leave some without work.
    func testShortPrompts() throws {
        let tokens = try fixtureTokens("llama-gqa")
        for count in 1...5 {
            var matrix = Matrix()
            matrix.ranks = [count]
            matrix.threads = [1]
            matrix.random = 3
            try check(TestModels.fixture("llama-gqa"), .int8, tokens: Array(tokens.prefix(count)), matrix)
            let model = try TestModels.model(TestModels.fixture("llama-gqa"), .int8)
            var configuration = Configuration(model: "")
            configuration.threadsPerRank = 1
            let alone = try RunBits(
                TestModels.ranks(model, configuration, context: 64), Array(tokens.prefix(count)), partition: .even, steps: 4)
            configuration.ranks = 8
            let eight = try RunBits(
                TestModels.ranks(model, configuration, context: 64), Array(tokens.prefix(count)), partition: .even, steps: 4)
            XCTAssertEqual(alone, eight)
        }
    }

    /// Every strategy gives one rank's bits: on one set of ranks in turns, with prompts shorter than the ranks and longer than a block of
    /// keys, and over slow links.
    func testStrategies() throws {
        for (name, activations) in [("llama-gqa", ActivationType.int8), ("q-llama-q8_0", .int8), ("q-llama-q8_0", .float)] {
            let model = try TestModels.model(TestModels.fixture(name), activations)
            let vocabulary = model.geometry.vocabulary
            let prompt = (0..<300).map { Int32(($0 * 7919 + 13) % vocabulary) }
            for cache in Configuration.CacheElement.allCases {
                var configuration = Configuration(model: "")
                configuration.cacheElement = cache
                configuration.threadsPerRank = 1
                let lengths = activations == .int8 ? [1, 2, 3, 4, 5, 7, 9, 64, 300] : [5, 140]
                let alone = try TestModels.ranks(model, configuration, context: 304)
                let expected = try lengths.map { try RunBits(alone, Array(prompt.prefix($0)), steps: 4) }
                alone.shutdown()
                for ranks in [1, 2, 3, 5] {
                    for link in [Configuration.Link.ring, .shared] {
                        configuration.ranks = ranks
                        configuration.threadsPerRank = ranks == 2 ? 3 : 1
                        configuration.link = link
                        configuration.throttle = nil
                        // Once in a while as over a network.
                        if ranks == 3 {
                            configuration.throttle = try LinkProfile(parsing: "bandwidth=1GB/s,jitter=20us,bursts=20%")
                        }
                        let team = try TestModels.ranks(model, configuration, context: 304)
                        for (length, expected) in zip(lengths, expected) {
                            for strategy in Configuration.Strategy.allCases {
                                let bits = try RunBits(team, Array(prompt.prefix(length)), strategy: strategy, steps: 4)
                                let label = "\(name) \(cache) \(ranks) \(link) \(strategy) \(length) tokens"
                                XCTAssertTrue(bits.logits == expected.logits, "logits differ: \(label)")
                                XCTAssertTrue(bits.cache == expected.cache, "KV-cache differs: \(label)")
                                XCTAssertEqual(bits.continuation, expected.continuation, "continuation differs: \(label)")
                            }
                        }
                        team.shutdown()
                    }
                }
            }
        }
    }

    /// The logits of all tokens, which zigzag computes in two runs, lie where one rank puts them.
    func testAllLogits() throws {
        let model = try TestModels.model(TestModels.fixture("llama-gqa"), .int8)
        let vocabulary = model.geometry.vocabulary
        let prompt = (0..<41).map { Int32(($0 * 31 + 5) % vocabulary) }
        var configuration = Configuration(model: "")
        configuration.ranks = 3
        configuration.threadsPerRank = 2
        let team = try TestModels.ranks(model, configuration, context: 64)
        defer { team.shutdown() }
        func logits(_ strategy: Configuration.Strategy) throws -> [UInt32] {
            var logits = [Float](repeating: .nan, count: prompt.count * vocabulary)
            try logits.withUnsafeMutableBufferPointer {
                _ = try team.prefill(prompt, strategy: strategy, allLogits: $0.baseAddress)
            }
            return logits.map(\.bitPattern)
        }
        let expected = try logits(.sequential)
        XCTAssertTrue(expected.allSatisfy { Float(bitPattern: $0).isFinite })
        for strategy in Configuration.Strategy.allCases { XCTAssertTrue(try logits(strategy) == expected, "\(strategy)") }
    }

    /// Every instruction set of this machine gives the scalar reference's bits.
    func testInstructionSets() throws {
        for name in ["llama-gqa", "q-llama-q8_0", "falcon-7b", "falcon-40b", "gemma2", "qwen2moe"] {
            let tokens = try fixtureTokens(name)
            var reference: RunBits?
            for kernels in Kernels.supported.reversed() {
                let model = try TestModels.model(TestModels.fixture(name), .int8, kernels: kernels.name)
                var configuration = Configuration(model: "")
                configuration.ranks = 2
                configuration.threadsPerRank = 1
                let ranks = try TestModels.ranks(model, configuration, context: tokens.count + 8)
                for strategy in Configuration.Strategy.allCases {
                    let bits = try RunBits(ranks, tokens, strategy: strategy, steps: 8)
                    if let reference { XCTAssertTrue(bits == reference, "\(name): \(kernels.name) \(strategy) differs") }
                    reference = reference ?? bits
                }
            }
        }
    }
}
