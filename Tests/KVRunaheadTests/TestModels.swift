import Foundation
import KVFabric
import KVGGUF
import KVModel
import KVTestSupport
import Synchronization
import XCTest

import KVRunahead

/// Models that the tests run: small fixtures of the repository, and the default model where it is cached (always in CI).
enum TestModels {
    static func fixture(_ name: String) throws -> String { try Fixtures.require("\(name)/model.gguf") }

    /// The default model's path.
    /// - Throws: `XCTSkip` where it is not cached and this is not CI.
    static func standard() throws -> String {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache"
        let path = cache + "/kvcpu/SmolLM2-135M-Instruct.Q4_1.gguf"
        if FileManager.default.fileExists(atPath: path) { return path }
        if environment["CI"] == "true" {
            XCTFail("the default model is missing at \(path): make model")
        }
        throw XCTSkip("the default model is not at \(path): make model")
    }

    /// Ranks on one already read model: weights are packed by the first and shared by the next.
    /// - Parameter placement: by this machine unless given.
    static func ranks(
        _ model: Model, _ configuration: Configuration, context: Int, placement: Placement? = nil
    ) throws -> Ranks {
        let placement =
            placement
            ?? Placement.plan(
                topology: Topology.read(), ranks: configuration.ranks, threadsPerRank: configuration.threadsPerRank, fit: false)
        let known = last.withLock { $0 }
        let ranks = try Ranks(
            model: model, weights: known?.weights === model.weights ? known : nil, configuration: configuration,
            placement: placement, contextLength: context, progress: { _ in })
        last.withLock { $0 = ranks.weights }
        return ranks
    }

    private static let last = Mutex<WeightCopy?>(nil)

    static func model(_ path: String, _ activations: ActivationType, kernels: String? = nil) throws -> Model {
        try model(.file(path), activations, kernels: kernels)
    }

    static func model(_ source: ModelSource, _ activations: ActivationType, kernels: String? = nil) throws -> Model {
        try Model(try source.open(), kernels: try Kernels.choose(named: kernels), activations: activations)
    }
}

/// The bits of one run: what every strategy must agree on.
struct RunBits: Equatable {
    var logits: [UInt32]
    var cache: [UInt8]
    var continuation: [Int32]

    /// Prefills, then decodes `steps` tokens greedily.
    init(
        _ ranks: Ranks, _ tokens: [Int32], strategy: Configuration.Strategy? = nil, partition: Partition? = nil, steps: Int
    ) throws {
        _ = try ranks.prefill(tokens, strategy: strategy, partition: partition)
        try self.init(of: ranks, tokens.count, steps: steps)
    }

    /// Of a prompt of so many tokens that is computed.
    init(of ranks: Ranks, _ count: Int, steps: Int) throws {
        logits = ranks.logits.map(\.bitPattern)
        cache = []
        let kv = try ranks.cache
        for layer in 0..<kv.geometry.layers {
            cache.append(contentsOf: kv.keys(layer, 0..<count))
            cache.append(contentsOf: kv.values(layer, 0..<count))
        }
        continuation = []
        var sampler = Sampler(.greedy)
        for _ in 0..<steps {
            let id = sampler.next(ranks.logits)
            continuation.append(id)
            try ranks.decode(id)
        }
    }
}
