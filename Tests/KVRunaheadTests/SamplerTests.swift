import XCTest

import KVRunahead

final class SamplerTests: XCTestCase {
    private let logits: [Float] = [1, 4, 3, 2, 4, 0]

    private func draws(_ options: SamplingOptions, history: [Int32] = [], count: Int = 4000) -> [Int32: Double] {
        var sampler = Sampler(options, history: history)
        var counts: [Int32: Double] = [:]
        logits.withUnsafeBufferPointer { buffer in
            for _ in 0..<count { counts[sampler.next(buffer), default: 0] += 1 / Double(count) }
        }
        return counts
    }

    private func plain(temperature: Double = 1) -> SamplingOptions {
        var options = SamplingOptions()
        options.temperature = temperature
        options.topK = 0
        options.topP = 1
        options.minP = 0
        options.seed = 7
        return options
    }

    func testGreedyTakesTheFirstOfTheLikeliest() {
        XCTAssertEqual(draws(.greedy, count: 3), [1: 1.0])
    }

    /// Frequencies follow the softmax, computed here apart.
    func testFrequenciesFollowSoftmax() {
        for temperature in [0.5, 1, 2] {
            let weights = logits.map { exp(Double($0) / temperature) }
            let total = weights.reduce(0, +)
            let counts = draws(plain(temperature: temperature), count: 40_000)
            for id in logits.indices {
                XCTAssertEqual(counts[Int32(id)] ?? 0, weights[id] / total, accuracy: 0.015, "id \(id), temperature \(temperature)")
            }
        }
    }

    func testTopK() {
        var options = plain(temperature: 5)
        options.topK = 3
        XCTAssertEqual(Set(draws(options).keys), [1, 2, 4])
    }

    func testTopP() {
        // Softmax: ids 1 and 4 hold 0.387 each, id 2 0.142: two reach 0.7, three reach 0.8.
        var options = plain()
        options.topP = 0.7
        XCTAssertEqual(Set(draws(options).keys), [1, 4])
        options.topP = 0.8
        XCTAssertEqual(Set(draws(options).keys), [1, 2, 4])
    }

    func testMinP() {
        // Relative to the likeliest: e^-1 = 0.37, e^-2 = 0.14.
        var options = plain(temperature: 3)
        options.minP = 0.3
        XCTAssertEqual(Set(draws(options).keys), [1, 2, 4])
        options.minP = 0.1
        XCTAssertEqual(Set(draws(options).keys), [1, 2, 3, 4])
    }

    func testRepeatPenalty() {
        var options = SamplingOptions.greedy
        options.repeatPenalty = 2
        options.repeatLast = 1
        // 1 and 4 lead by turns, as the last one's logit is halved.
        var sampler = Sampler(options, history: [1])
        let ids = logits.withUnsafeBufferPointer { buffer in (0..<4).map { _ in sampler.next(buffer) } }
        XCTAssertEqual(ids, [4, 1, 4, 1])
    }

    func testSeedDecides() {
        var first = Sampler(plain(temperature: 3))
        var second = Sampler(plain(temperature: 3))
        var other = plain(temperature: 3)
        other.seed = 8
        var third = Sampler(other)
        logits.withUnsafeBufferPointer { buffer in
            let a = (0..<50).map { _ in first.next(buffer) }
            XCTAssertEqual(a, (0..<50).map { _ in second.next(buffer) })
            XCTAssertNotEqual(a, (0..<50).map { _ in third.next(buffer) })
        }
    }

    func testBadOptionsAreNamed() {
        var options = SamplingOptions()
        options.topP = 1.5
        XCTAssertThrowsError(try options.validate()) { XCTAssertTrue("\($0)".contains("top-p is 1.5")) }
        options = SamplingOptions()
        options.temperature = -1
        XCTAssertThrowsError(try options.validate()) { XCTAssertTrue("\($0)".contains("temperature is -1")) }
    }

    /// SplitMix64's published first values for seed 1234567.
    func testRandomNumbers() {
        var random = SplitMix64(seed: 1_234_567)
        XCTAssertEqual(random.next(), 6_457_827_717_110_365_317)
        XCTAssertEqual(random.next(), 3_203_168_211_198_807_973)
    }
}
