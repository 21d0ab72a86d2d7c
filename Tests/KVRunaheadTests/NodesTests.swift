import KVFabric
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// The same bits whatever copies of the weights there are and whatever caches decode reads.
final class NodesTests: XCTestCase {
    /// Logits and cache after a prompt and after each of some decoded tokens.
    private struct Trace: Equatable {
        var logits: [[UInt32]] = []
        var cache: [UInt8] = []

        init(_ ranks: Ranks, _ prompt: [Int32], partition: Partition, strategy: Configuration.Strategy? = nil, steps: Int) throws {
            _ = try ranks.prefill(prompt, strategy: strategy, partition: partition)
            logits.append(ranks.logits.map(\.bitPattern))
            for step in 0..<steps {
                try ranks.decode(Int32((step * 31 + 7) % ranks.model.geometry.vocabulary))
                logits.append(ranks.logits.map(\.bitPattern))
            }
            let kv = try ranks.cache
            for layer in 0..<kv.geometry.layers {
                cache.append(contentsOf: kv.keys(layer, 0..<ranks.length))
                cache.append(contentsOf: kv.values(layer, 0..<ranks.length))
            }
        }
    }

    private func prompt(_ model: Model, _ count: Int) -> [Int32] {
        (0..<count).map { Int32(($0 * 7919 + 13) % model.geometry.vocabulary) }
    }

    /// Ranks on CPUs of this machine, spread over nodes that it may not have.
    private func placement(_ ranks: Int, threads: Int, nodes: Int) -> Placement {
        let cpus = Topology.read().allowed
        return Placement(
            ranks: (0..<ranks).map { rank in
                .init(cpus: (0..<threads).map { cpus[(rank * threads + $0) % cpus.count] }, node: rank % nodes)
            }, oversubscribed: true, notes: [])
    }

    func testACopyOnEveryNodeGivesTheSameBits() throws {
        for (name, activations) in [
            ("llama-gqa", ActivationType.int8), ("q-llama-q8_0", .int8), ("q-llama-q8_0", .float), ("falcon-7b", .int8),
        ] {
            let model = try TestModels.model(TestModels.fixture(name), activations)
            let prompt = prompt(model, 30)
            var configuration = Configuration(model: "")
            configuration.memory = .shared
            let alone = try TestModels.ranks(model, configuration, context: 48, placement: placement(1, threads: 1, nodes: 1))
            let expected = try Trace(alone, prompt, partition: .even, steps: 6)
            alone.shutdown()
            XCTAssertEqual(alone.copies.all.count, 1)
            for memory in [Configuration.Memory.auto, .mirror, .interleave, .shared] {
                configuration.ranks = 3
                configuration.memory = memory
                let placement = placement(3, threads: 2, nodes: 2)
                let ranks = try Ranks(
                    model: model, configuration: configuration, placement: placement, contextLength: 48, progress: { _ in })
                defer { ranks.shutdown() }
                let isMirrored = memory == .auto || memory == .mirror
                XCTAssertEqual(ranks.copies.all.count, isMirrored ? 2 : 1)
                XCTAssertEqual(ranks.link, .ring)
                for partition in [Partition.even, .tokens([1, 0, 29]), .tokens([20, 10, 0])] {
                    XCTAssertTrue(
                        try Trace(ranks, prompt, partition: partition, steps: 6) == expected,
                        "\(name) \(activations) \(memory) \(partition)")
                }
                if isMirrored {
                    // Byte for byte what another node's workers packed.
                    let (a, b) = (ranks.copies.all[0].region, ranks.copies.all[1].region)
                    XCTAssertNotEqual(a.base, b.base)
                    XCTAssertEqual(a.bytes, b.bytes)
                    XCTAssertEqual(memcmp(a.base, b.base, a.bytes), 0)
                    XCTAssertEqual(a.bytes, model.weights.bytes + model.weights.tableBytes)
                }
            }
        }
    }

    /// One rank whose workers are on two nodes reads two copies.
    func testWorkersOfOneRankReadTheirNodes() throws {
        let model = try TestModels.model(TestModels.fixture("llama-gqa"), .int8)
        let prompt = prompt(model, 20)
        let configuration = Configuration(model: "")
        let cpus = Topology.read().allowed
        var placement = placement(1, threads: 2, nodes: 1)
        let one = try TestModels.ranks(model, configuration, context: 32, placement: placement)
        let expected = try Trace(one, prompt, partition: .even, steps: 4)
        one.shutdown()
        placement.ranks = [.init(cpus: [cpus[0], cpus[cpus.count - 1]], node: 0, workerNodes: [0, 1])]
        let two = try TestModels.ranks(model, configuration, context: 32, placement: placement)
        defer { two.shutdown() }
        XCTAssertEqual(two.copies.copies(of: 0), [0, 1])
        XCTAssertTrue(try Trace(two, prompt, partition: .even, steps: 4) == expected)
    }

    /// Decode over the ranks' own caches: prompts that end in the middle of a block of keys and on its border, chunks of all sizes, more
    /// tokens than to the next block, every strategy, fewer workers than ranks.
    func testDecodeOverSeveralCaches() throws {
        for (name, count) in [("llama-gqa", 5), ("llama-gqa", 100), ("llama-gqa", 256), ("q-llama-q8_0", 250), ("falcon-40b", 120)]
        {
            let model = try TestModels.model(TestModels.fixture(name), .int8)
            let steps = 42
            let prompt = prompt(model, count)
            var configuration = Configuration(model: "")
            let context = count + steps
            let alone = try TestModels.ranks(model, configuration, context: context, placement: placement(1, threads: 1, nodes: 1))
            let expected = try Trace(alone, prompt, partition: .even, steps: steps)
            alone.shutdown()
            configuration.link = .ring
            for (ranks, threads) in [(2, 1), (3, 1), (5, 1), (2, 2)] {
                configuration.ranks = ranks
                let team = try TestModels.ranks(
                    model, configuration, context: context, placement: placement(ranks, threads: threads, nodes: 1))
                defer { team.shutdown() }
                let all = BitIdentityTests.partitions(count, ranks: ranks, random: 1, seed: UInt64(ranks + count))
                for partition in ranks == 3 ? all : Array(all.prefix(2)) {
                    XCTAssertTrue(
                        try Trace(team, prompt, partition: partition, steps: steps) == expected,
                        "\(name) \(ranks)×\(threads) \(count) tokens \(partition)")
                }
                for strategy in count == 100 && ranks == 3 ? Configuration.Strategy.allCases : [] {
                    XCTAssertTrue(
                        try Trace(team, prompt, partition: .even, strategy: strategy, steps: steps) == expected,
                        "\(name) \(ranks)×\(threads) \(count) tokens \(strategy)")
                }
            }
        }
    }

    /// The proof of a real engine: all as planned, on any machine; and it sees what is not.
    func testProof() throws {
        let model = try TestModels.model(TestModels.fixture("llama-gqa"), .int8)
        var configuration = Configuration(model: "")
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        configuration.link = .ring
        let real = try TestModels.ranks(model, configuration, context: 300)
        defer { real.shutdown() }
        let proof = try real.proof(tokens: 100, steps: 3)
        XCTAssertEqual(proof.off, [])
        XCTAssertEqual(proof.pagesOffNode, 0)
        XCTAssertEqual(proof.promptTokens, 128)
        XCTAssertEqual(proof.ranks.count, 2)
        if Topology.read().allowed.count > 1 { XCTAssertNotEqual(proof.ranks[0].workers[0].asked, proof.ranks[1].workers[0].asked) }

        // Rank 1 is planned for a node that is not there.
        var placement = Placement.plan(topology: Topology.read(), ranks: 2, threadsPerRank: 1)
        placement.ranks[0] = .init(cpus: placement.ranks[0].cpus, node: placement.ranks[0].node ?? 0)
        placement.ranks[1] = .init(cpus: placement.ranks[1].cpus, node: 1000)
        let wrong = try TestModels.ranks(model, configuration, context: 300, placement: placement)
        defer { wrong.shutdown() }
        let found = try wrong.proof(tokens: 100, steps: 3)
        guard found.ranks.contains(where: { !$0.memory.isEmpty }) else { throw XCTSkip("\(found.notes)") }
        XCTAssertTrue(
            found.off.contains {
                $0.hasPrefix("rank 1: 100 % of its weight pages are on node ") && $0.hasSuffix("(planned: node 1000)")
            },
            "\(found.off)")
        XCTAssertFalse(found.off.contains { $0.hasPrefix("rank 0") }, "\(found.off)")
        XCTAssertTrue(found.notes.contains { $0.contains("node 1000") }, "\(found.notes)")
        XCTAssertGreaterThan(found.pagesOffNode, 0)
    }
}
