import Foundation
import KVFabric
import XCTest

import KVRunahead

/// Values of the library's users: typed errors, whatever the numbers are.
final class OutsideValuesTests: XCTestCase {
    private let model = ModelSource.synthetic("llama-7b,layers=2,width=64,heads=2,ffn=64,vocab=64")

    private func refused(_ what: String, line: UInt = #line, _ change: (inout Configuration) -> Void) {
        var configuration = Configuration(model)
        configuration.contextLength = 64
        change(&configuration)
        XCTAssertThrowsError(try Opening(configuration), what, line: line) {
            XCTAssertTrue($0 is EngineError, "\(what): \($0)", line: line)
        }
    }

    func testConfigurations() {
        for number in [Int.max, .min, -1] {
            refused("ranks \(number)") { $0.ranks = number }
            refused("threads \(number)") { $0.threadsPerRank = number }
            refused("context \(number)") { $0.contextLength = number }
        }
        for number in [Int.min, -1, .max - 1] { refused("prompt memory \(number)") { $0.promptMemory = number } }
        for number in [Double.nan, .infinity, -.infinity, -1, 0, 1e300] {
            refused("wait limit \(number)") { $0.waitLimit = number }
            refused("silence limit \(number)") { $0.silenceLimit = number }
        }
        for number in [Double.nan, -1, 1e300] {
            for field in [\LinkProfile.latency, \.jitter, \.bursts, \.burst] {
                refused("throttle \(field) \(number)") {
                    var profile = LinkProfile()
                    profile[keyPath: field] = number
                    $0.throttle = profile
                }
            }
        }
        for cpus in ["0-999999999999", "0-99999999999999999999", "-1", "1-0", ""] { refused("cpus \(cpus)") { $0.cpus = cpus } }
    }

    func testGenerationOptions() {
        func refused(_ change: (inout GenerationOptions) -> Void, line: UInt = #line) {
            var options = GenerationOptions()
            change(&options)
            XCTAssertThrowsError(try options.validate(), line: line) {
                XCTAssertEqual(($0 as? EngineError)?.code, .request, "\($0)", line: line)
            }
        }
        for number in [Double.nan, .infinity, -1] {
            refused { $0.sampling.temperature = number }
            refused { $0.sampling.topP = number }
            refused { $0.sampling.minP = number }
            refused { $0.sampling.repeatPenalty = number }
        }
        for number in [-1, Int.min] {
            refused { $0.maximumTokens = number }
            refused { $0.sampling.topK = number }
            refused { $0.sampling.repeatLast = number }
        }
        // What is large and means something.
        var options = SamplingOptions()
        (options.topK, options.repeatLast, options.temperature) = (.max, .max, 1e300)
        XCTAssertNoThrow(try options.validate())
        var sampler = Sampler(options, history: [1, 2])
        let id = [1, 2, 3].withUnsafeBufferPointer { sampler.next($0) }
        XCTAssertTrue(0..<3 ~= id)
    }

    /// Without a seed the draws differ from run to run; with one they do not.
    func testSeeds() {
        func draws(_ seed: UInt64?) -> [Int32] {
            var options = SamplingOptions()
            (options.seed, options.temperature, options.topK, options.topP, options.minP) = (seed, 1, 0, 1, 0)
            var sampler = Sampler(options)
            let logits = [Float](repeating: 0, count: 1000)
            return (0..<20).map { _ in logits.withUnsafeBufferPointer { sampler.next($0) } }
        }
        XCTAssertEqual(draws(3), draws(3))
        // 1000 to the 20th power are as many.
        XCTAssertNotEqual(draws(nil), draws(nil))
    }

    /// Costs that a damaged table may hold plan no chunks, and do no harm.
    func testDamagedCosts() {
        for number in [.leastNonzeroMagnitude, 1e-300, 1e12, 1e300, .infinity, .nan, -1] {
            for pair in [0, .leastNonzeroMagnitude, 1e300, 1e-9] {
                let model = CostModel(perToken: number, perPair: pair)
                XCTAssertEqual(model.sizes(of: 100, ranks: 3).reduce(0, +), 100, "\(number) \(pair)")
            }
        }
    }
}
