import Foundation
import KVRunahead

/// Plan tables on disk: whatever is in them, a prompt's logits are those of even chunks, or the request is refused.
struct PlanTableTarget: FuzzTarget {
    static let name = "plan-table"
    private let model: String
    private let table: (name: String, document: JSONDocument)
    private let shape: (name: String, document: JSONDocument)
    private let mutation: JSONMutation
    private let expected: [Int: [Float]]
    private static let lengths = [1, 2, 12, 24, 40]

    init(_ context: TargetContext) throws {
        let models = try context.corpus.paths(ending: ".gguf", limit: 200_000)
        guard let model = models.first(where: { $0.contains("/llama/") }) ?? models.first else { throw Fault("no small model") }
        self.model = model
        let folder = context.folder + "/plans"
        var configuration = Self.configuration(model, plans: folder)
        let engine = try Engine(configuration)
        let path = try engine.withRanksBlocking { ranks in
            guard let store = ranks.planner.store, let key = ranks.planner.key else { throw Fault("the planner has no store") }
            var costs = LayerCosts(layers: 2, project: 1e-6, rest: 3e-6, pair: 1e-9, rowBytes: 64)
            costs.closing = 1e-6
            costs.link = LinkCosts(latency: 1e-6, copy: 1e-10, wire: 1e-10, lead: 2)
            try store.update(key) { table in
                table.costs = costs
                table.isCalibrated = true
                for tokens in [12, 24] {
                    table.set(
                        .init(tokens: tokens, sizes: [tokens - 4, 4], seconds: 0.01, even: 0.02, modelled: 0.015, isSettled: true))
                    table.add(.init(sizes: [tokens - 4, 4], seconds: [0.01, 0.011]))
                }
            }
            return store.path(key)
        }
        table = try Self.read(path)
        let before = Set(try FileManager.default.contentsOfDirectory(atPath: folder))
        configuration.ranks = 1
        configuration.partition = .auto
        try PlanShape(ranks: 2, threadsPerRank: 1).keep(for: configuration)
        guard let added = try FileManager.default.contentsOfDirectory(atPath: folder).first(where: { !before.contains($0) }) else {
            throw Fault("the shape's table was not written")
        }
        shape = try Self.read(folder + "/" + added)
        mutation = JSONMutation(learning: [table.document, shape.document])
        var expected: [Int: [Float]] = [:]
        for length in Self.lengths { expected[length] = try Self.logits(engine, length, .even) }
        self.expected = expected
    }

    private static func read(_ path: String) throws -> (String, JSONDocument) {
        guard let document = JSONDocument(try Corpus.read(path)) else { throw Fault("\(path) is no JSON") }
        return ((path as NSString).lastPathComponent, document)
    }

    private static func configuration(_ model: String, plans: String) -> Configuration {
        var configuration = Configuration(model: model)
        configuration.contextLength = 64
        configuration.ranks = 2
        configuration.threadsPerRank = 1
        configuration.fitsThreads = false
        configuration.planFolder = plans
        configuration.waitLimit = 30
        return configuration
    }

    private static func logits(_ engine: Engine, _ length: Int, _ partition: Partition) throws -> [Float] {
        try engine.withRanksBlocking { ranks in
            _ = try ranks.prefill((0..<length).map { Int32($0 * 5 % 60) }, partition: partition)
            return Array(ranks.logits)
        }
    }

    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String {
        let isShape = random.oneIn(4)
        let (name, original) = isShape ? shape : table
        var document = original
        for _ in 0...random.below(3) { mutation.apply(to: &document, &random) }
        var bytes = document.serialised()
        if random.oneIn(8) { ByteMutation.apply(to: &bytes, &random) }
        try Corpus.write(bytes, to: folder + "/" + name)
        var configuration = Self.configuration(model, plans: folder)
        if isShape {
            configuration.ranks = 1
            configuration.threadsPerRank = nil
            guard let shape = PlanShape.find(for: configuration) else { return "no shape" }
            guard (1...1024).contains(shape.ranks), (1...1024).contains(shape.threadsPerRank) else {
                throw Fault("\(shape.ranks) ranks of \(shape.threadsPerRank) threads are taken")
            }
            return "a shape"
        }
        let engine = try Engine(configuration)
        let length = random.pick(Self.lengths)
        let partition = random.pick([Partition.auto, .searched, .predicted, .modelled])
        let logits = try Self.logits(engine, length, partition)
        guard let expected = expected[length], logits.elementsEqual(expected, by: { $0.bitPattern == $1.bitPattern }) else {
            throw Fault("the logits of \(length) tokens by partition \(partition) are not those of even chunks")
        }
        return engine.information.notices.contains { $0.contains("plan table") } ? "table ignored" : "the same bits"
    }
}
