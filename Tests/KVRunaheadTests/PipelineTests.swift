import XCTest

import KVRunahead

final class PipelineTests: XCTestCase {
    /// Costs of some machine and model.
    static func costs(layers: Int = 24, pair: Double = 2e-9) -> LayerCosts {
        var costs = LayerCosts(layers: layers, project: 2e-6, rest: 6e-6, pair: pair, rowBytes: 1024)
        costs.overhead = .init(before: 1e-5, after: 2e-5)
        costs.projectLast = 1e-6
        costs.closing = 1e-4
        return costs
    }

    /// Two ranks, two layers, worked out by hand: units of a second, overhead and link left out.
    func testChainByHand() {
        var costs = LayerCosts(layers: 2, project: 1, rest: 2, pair: 0)
        costs.projectLast = 1
        costs.closing = 5
        // Rank 0 of 4 tokens: projects until 4, rests until 12, projects until 16. Rank 1 of 2: projects until 2, receives at 4, rests until
        // 8, projects until 10, receives at 16, closes at 21.
        XCTAssertEqual(Pipeline(costs).run(.runahead, [4, 2]).seconds, 21)
        XCTAssertEqual(Pipeline(costs).run(.runahead, [4, 2]).busy, [16, 13])
        XCTAssertEqual(Pipeline(costs).run(.sequential, [4, 2]).seconds, 6 + 12 + 6 + 5)
        // Barriers: both wait for 4, then until 12 (rank 0) and 8; 16; closing.
        XCTAssertEqual(Pipeline(costs).run(.tspCausal, [4, 2]).seconds, 21)
        // A wire of 1 byte a second and a byte a row: what rank 0 sends at 4 arrives at 8, at 16 20.
        costs.rowBytes = 1
        costs.link = LinkCosts(latency: 0.5, wire: 1)
        XCTAssertEqual(Pipeline(costs).run(.runahead, [4, 2]).seconds, 25.5)
        // Copying: rank 0 sends from 4 to 8 and rests until 16, projects until 20, sends until 24; rank 1 receives until 24.
        costs.link = LinkCosts(copy: 1)
        XCTAssertEqual(Pipeline(costs).run(.runahead, [4, 2]).seconds, 29)
    }

    /// The paper's worked example, as attention alone of one layer between two: 9 tokens, 3 ranks.
    func testWorkedExample() {
        var costs = LayerCosts(layers: 2, project: 0, rest: 0, pair: 1)
        costs.triangle = 1
        let pipeline = Pipeline(costs)
        XCTAssertEqual(pipeline.run(.tsp, [3, 3, 3]).busy, [27, 27, 27])
        XCTAssertEqual(pipeline.run(.runahead, [4, 3, 2]).busy, [16, 21, 18])
        XCTAssertEqual(pipeline.run(.runahead, [4, 3, 2]).seconds, 21)
        XCTAssertEqual(pipeline.run(.runahead, [3, 3, 3]).busy, [9, 18, 27])
    }

    /// Every query also meets the positions before the prompt; behind many, equal chunks are equal work.
    func testPrefix() {
        var costs = LayerCosts(layers: 2, project: 0, rest: 0, pair: 1)
        costs.triangle = 1
        XCTAssertEqual(Pipeline(costs, prefix: 9).run(.runahead, [4, 3, 2]).busy, [4 * 13, 3 * 16, 2 * 18])
        XCTAssertEqual(Pipeline(costs, prefix: 9).run(.tsp, [3, 3, 3]).busy, [54, 54, 54])
        var shares: [Double] = []
        for prefix in [0, 1000, 4000, 16000] {
            let sizes = Pipeline(Self.costs(), prefix: prefix).modelled(4000, ranks: 2)
            XCTAssertEqual(sizes.reduce(0, +), 4000)
            XCTAssertGreaterThanOrEqual(sizes[0], sizes[1])
            shares.append(Double(sizes[0]) / 4000)
        }
        XCTAssertEqual(shares, shares.sorted(by: >))
        XCTAssertLessThan(shares[3], 0.56)
        XCTAssertGreaterThan(shares[0], 0.58)
    }

    /// A sender with one slot waits until its receiver has come.
    func testLead() {
        var costs = LayerCosts(layers: 4, project: 1, rest: 0, pair: 1)
        costs.triangle = 0
        // Rank 1 attends for 4 seconds a layer (1 token behind 4), rank 0 is done with its layers at 4, 8, 12, 16.
        costs.project = 0.25
        costs.projectLast = 0.25
        let free = Pipeline(costs).run(.runahead, [4, 1]).seconds
        costs.link.lead = 1
        let bound = Pipeline(costs).run(.runahead, [4, 1]).seconds
        XCTAssertGreaterThanOrEqual(bound, free)
    }

    /// Shared cores: as many cores as ranks change nothing, one core takes the sum of all work.
    func testSharedCores() {
        var random = SplitMix64(seed: 5)
        for _ in 0..<60 {
            let ranks = Int.random(in: 1...5, using: &random)
            let sizes = (0..<ranks).map { _ in Int.random(in: 1...600, using: &random) }
            var costs = Self.costs(layers: Int.random(in: 1...8, using: &random))
            for strategy in [PipelineStrategy.runahead, .tsp, .tspCausal, .zigzag] {
                costs.link = LinkCosts(latency: 1e-6, wire: 1e-9)
                let own = Pipeline(costs).run(strategy, sizes)
                // The event-driven simulation is used from one core less on: more ranks than cores, one of them idle.
                let more = Pipeline(costs, cores: ranks + 1).run(strategy, sizes)
                XCTAssertEqual(own, more)
                costs.link = LinkCosts()
                let one = Pipeline(costs, cores: 1).run(strategy, sizes)
                if ranks > 1, strategy != .runahead || costs.layers > 1 {
                    XCTAssertLessThanOrEqual(one.seconds, one.busy.reduce(0, +) * (1 + 1e-9), "\(strategy) \(sizes)")
                    XCTAssertGreaterThanOrEqual(one.seconds, (one.busy.max() ?? 0) * (1 - 1e-9))
                    XCTAssertGreaterThan(one.seconds, Pipeline(costs).run(strategy, sizes).seconds * (1 - 1e-9))
                }
            }
        }
        // Two equal chunks without attention on one core: twice one's time, but for the closing of the last.
        var costs = LayerCosts(layers: 3, project: 1, rest: 1, pair: 0)
        costs.projectLast = 1
        XCTAssertEqual(Pipeline(costs, cores: 1).run(.runahead, [2, 2]).seconds, 2 * 10, accuracy: 1e-6)
    }

    /// A wider and slower link is never faster, and a barrier never faster than the chain.
    func testOrder() {
        let sizes = [900, 800, 700, 600]
        let costs = Self.costs(pair: 2e-8)
        var last = Pipeline(costs).run(.runahead, sizes).seconds
        // Layers are alike: without a link's time the busiest rank alone decides in both.
        XCTAssertLessThanOrEqual(last, Pipeline(costs).run(.tspCausal, sizes).seconds * (1 + 1e-12))
        var linked = costs
        linked.link = LinkCosts(latency: 1e-5, wire: 1e-9)
        XCTAssertLessThan(
            Pipeline(linked).run(.runahead, sizes).seconds, Pipeline(linked).run(.tspCausal, sizes).seconds)
        XCTAssertLessThan(Pipeline(costs).run(.tspCausal, sizes).seconds, Pipeline(costs).run(.tsp, sizes).seconds)
        for bandwidth in [100e9, 1e9, 1e8] {
            var slower = costs
            slower.link = LinkCosts(latency: 1e-6, wire: 1 / bandwidth)
            let seconds = Pipeline(slower).run(.runahead, sizes).seconds
            XCTAssertGreaterThanOrEqual(seconds, last)
            last = seconds
        }
        let bounds = Pipeline(costs).bounds(3000, ranks: 4)
        XCTAssertLessThan(bounds.ideal, bounds.staircase)
        XCTAssertLessThan(bounds.ideal, Pipeline(costs).run(.runahead, Pipeline(costs).modelled(3000, ranks: 4)).seconds)
    }

    func testLinkParsing() throws {
        XCTAssertEqual(try LinkCosts(parsing: "300GB/s").wire, 1 / 300e9, accuracy: 1e-20)
        let link = try LinkCosts(parsing: "800 MB/s, 5us")
        XCTAssertEqual(link.wire, 1 / 800e6, accuracy: 1e-18)
        XCTAssertEqual(link.latency, 5e-6, accuracy: 1e-12)
        for text in ["", "fast", "0GB/s", "-1GB/s", "10GB/s,", "10GB/s,5", "10GB/s,1us,2us", "infGB/s"] {
            XCTAssertThrowsError(try LinkCosts(parsing: text), text) {
                XCTAssertTrue("\($0)".contains("\"\(text)\""), "\($0)")
            }
        }
    }
}

final class ModelledPartitionTests: XCTestCase {
    /// Lengths 1 to 20,000, ranks 1 to 64: chunks cover the prompt, never grow from rank to rank, and are never predicted slower than even.
    func testPlanLaws() {
        var random = SplitMix64(seed: 21)
        var cases = [(1, 1), (1, 64), (63, 64), (64, 64), (65, 64), (20_000, 64), (20_000, 2), (2, 2), (127, 8), (20_000, 1)]
        for _ in 0..<90 {
            cases.append((Int.random(in: 1...20_000, using: &random), Int.random(in: 1...64, using: &random)))
        }
        for (tokens, ranks) in cases {
            var costs = PipelineTests.costs(
                layers: Int.random(in: 1...6, using: &random), pair: Double.random(in: 0...2e-8, using: &random))
            costs.link = LinkCosts(
                latency: Double.random(in: 0...1e-5, using: &random), copy: Bool.random(using: &random) ? 1e-10 : 0, lead: 2)
            let pipeline = Pipeline(costs)
            let sizes = pipeline.modelled(tokens, ranks: ranks)
            XCTAssertEqual(sizes.count, ranks)
            XCTAssertEqual(sizes.reduce(0, +), tokens)
            XCTAssertGreaterThanOrEqual(sizes.last ?? -1, 0)
            XCTAssertTrue(zip(sizes, sizes.dropFirst()).allSatisfy { $0 >= $1 }, "\(tokens) × \(ranks): \(sizes)")
            let even = pipeline.run(.runahead, Partition.even(tokens, ranks: ranks)).seconds
            XCTAssertLessThanOrEqual(pipeline.run(.runahead, sizes).seconds, even, "\(tokens) × \(ranks)")
        }
    }

    /// No cut of two ranks is simulated noticeably faster.
    func testTwoRanksAgainstAllCuts() {
        for (tokens, pair) in [(1024, 1e-9), (4096, 4e-9), (3001, 2e-8), (300, 0)] {
            let pipeline = Pipeline(PipelineTests.costs(pair: pair))
            let best = (1..<tokens).map { pipeline.run(.runahead, [$0, tokens - $0]).seconds }.min() ?? 0
            let modelled = pipeline.run(.runahead, pipeline.modelled(tokens, ranks: 2)).seconds
            XCTAssertLessThan(modelled / best, 1.008, "\(tokens)")
        }
    }

    /// Long chunks are whole tiles, but for what is left.
    func testTiles() {
        let sizes = Pipeline(PipelineTests.costs()).modelled(4099, ranks: 4)
        XCTAssertEqual(sizes.filter { $0 % Pipeline.tile != 0 }.count, 1, "\(sizes)")
    }

    /// Noisy samples of known costs lead back to them; samples that tell little, to the model's shape.
    func testFit() throws {
        var random = SplitMix64(seed: 3)
        let costs = PipelineTests.costs()
        // 4,000 keys cost as much as the rest of a layer.
        let shape = LayerShape(layers: 24, rowBytes: 1024, tokensPerPair: 8000)
        func sample(_ n: Int, _ prefix: Int) -> LayerSample {
            let noise = Double.random(in: 0.99...1.01, using: &random)
            let tokens = Double(n)
            return LayerSample(
                tokens: n, prefix: prefix, before: noise * (1e-5 + 2e-6 * tokens),
                after: noise * (2e-5 + 6e-6 * tokens + 2e-9 * tokens * (Double(prefix) + tokens / 2)),
                beforeLast: 1e-5 + 1e-6 * tokens,
                send: prefix == 0 ? 1e-6 + 1e-10 * tokens * 1024 : nil)
        }
        let samples = [64, 256, 1024, 2048].flatMap { [sample($0, 0), sample($0, $0)] }
        let fitted = try XCTUnwrap(LayerCosts(fitting: samples, shape: shape, copies: true))
        XCTAssertEqual(fitted.project, costs.project, accuracy: 0.02 * costs.project)
        XCTAssertEqual(fitted.rest, costs.rest, accuracy: 0.03 * costs.rest)
        XCTAssertEqual(fitted.pair, costs.pair, accuracy: 0.04 * costs.pair)
        XCTAssertEqual(fitted.projectLast, costs.projectLast, accuracy: 0.05 * costs.projectLast)
        XCTAssertEqual(fitted.link.copy, 1e-10, accuracy: 1e-12)
        XCTAssertEqual(fitted.link.lead, 2)
        // Of one run of two ranks: without a constant, but not far off.
        let pair = try XCTUnwrap(
            LayerCosts(fitting: [sample(1024, 0), sample(1024, 1024)], shape: shape, copies: false))
        XCTAssertEqual(pair.rest, costs.rest, accuracy: 0.1 * costs.rest)
        XCTAssertEqual(pair.pair, costs.pair, accuracy: 0.2 * costs.pair)
        // Attention that takes ten times what its multiplications say is believed where long chunks tell it.
        let slow = LayerShape(layers: 24, rowBytes: 1024, tokensPerPair: 40_000)
        let told = try XCTUnwrap(LayerCosts(fitting: samples, shape: slow, copies: false))
        XCTAssertEqual(told.pair, costs.pair, accuracy: 0.04 * costs.pair)
        XCTAssertNil(LayerCosts(fitting: [], shape: shape, copies: false))
        // Short chunks, a slower CPU for the first one, longer chunks that take less: a multiplication is about as quick in attention.
        var slower = [sample(64, 0), sample(64, 64)]
        slower[0].before *= 1.4
        slower[0].after *= 1.4
        let falling = [64, 256, 1024].map { LayerSample(tokens: $0, prefix: 0, before: 1 / Double($0), after: 1 / Double($0)) }
        for samples in [[sample(64, 0)], slower, falling] {
            let guessed = try XCTUnwrap(LayerCosts(fitting: samples, shape: shape, copies: false), "\(samples)")
            XCTAssertTrue(guessed.isSensible, "\(samples)")
            XCTAssertEqual(guessed.pair * shape.tokensPerPair / (guessed.project + guessed.rest), 1, accuracy: 0.5, "\(samples)")
        }
        // Of two samples of one chunk the lesser times count.
        var merged = [LayerSample(tokens: 8, prefix: 0, before: 2, after: 3, send: 1)]
        merged.merge(LayerSample(tokens: 8, prefix: 0, before: 1, after: 4, beforeLast: 5))
        merged.merge(LayerSample(tokens: 8, prefix: 8, before: 9, after: 9))
        XCTAssertEqual(merged.first, LayerSample(tokens: 8, prefix: 0, before: 1, after: 3, beforeLast: 5, send: 1))
        XCTAssertEqual(merged.count, 2)
    }
}
