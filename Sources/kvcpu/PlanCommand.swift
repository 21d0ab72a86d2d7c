import ArgumentParser
import Foundation
import KVFabric
import KVGGUF
import KVModel
import KVRunahead

enum PlanFormat: String, CaseIterable, ExpressibleByArgument {
    case md, json
}

struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Searches the fastest partitions by measuring, and keeps them for run and bench; or simulates other machines.",
        discussion: """
            For each number of ranks and each length: hierarchical grid search over the cuts, from the even and the modelled one. What was \
            measured is kept, so that a search that was ended goes on where it was. Ctrl-C ends it.
            """)

    @OptionGroup var model: ModelOptions
    @Option(help: "Numbers of ranks; default: 2, or one per last-level cache")
    var ranks: String?
    @Option(name: [.customShort("t"), .customLong("threads-per-rank")], help: "Threads of each rank, fitted to the CPUs there are")
    var threadsPerRank: Int?
    @Flag(help: "Run as many threads as asked, even more than CPUs")
    var oversubscribe = false
    @Option(help: "Prompt lengths")
    var lengths = "512,1024,2048,4096"
    @Option(help: "Time for measuring, shared out by length: 60s, 500ms, 10m")
    var budget = "60s"
    @Option(help: "auto, ring or shared; with --simulate also a bandwidth and a latency: 300GB/s,5us")
    var link = "auto"
    @Option(name: [.customLong("cache-type"), .customLong("ctk", withSingleDash: true)], help: "Element type of the KV-cache")
    var cacheType = Configuration.CacheElement.f16
    @Option(help: "int8 or f32")
    var activations = Configuration.Activations.int8
    @Option(help: "Instruction set of the kernels")
    var isa: String?
    @OptionGroup var mode: RankOptions
    @OptionGroup var placement: PlacementOptions
    @OptionGroup var plans: PlanOptions
    @Option(name: [.short, .long], help: "md or json")
    var output = PlanFormat.md
    @Option(help: "Folder for figures: TTFT over the cut, shares over the length, or simulated speed-ups")
    var svg: String?
    @Flag(help: "Measure nothing but a few chunks on this machine, and simulate --ranks ranks of as many threads on --link")
    var simulate = false
    @Option(help: "With --simulate: layers of the simulated model, of which the measured one may have fewer")
    var layers: Int?
    @Flag(help: "Measure which ranks × threads answer the longest of --lengths soonest; run then takes these")
    var auto = false
    @Flag(help: "Compare the simulator with measured runs of 1 to 4 ranks")
    var check = false
    @Flag(help: "No progress bar")
    var noProgress = false

    func validate() throws {
        if [simulate, auto, check].filter({ $0 }).count > 1 {
            throw ValidationError("--simulate, --auto and --check are different tasks: give one")
        }
        if layers != nil, !simulate { throw ValidationError("--layers belongs to --simulate") }
        if let layers, !(1...100_000).contains(layers) { throw ValidationError("--layers is \(layers); it must be 1 to 100000") }
        if let threadsPerRank, !(1...1024).contains(threadsPerRank) {
            throw ValidationError("--threads-per-rank is \(threadsPerRank); it must be 1 to 1024")
        }
        _ = try Self.integers(lengths, "--lengths", least: 2)
        if simulate { try checkSimulated() }
        if let ranks { _ = try Self.integers(ranks, "--ranks", least: 1, most: 1024) }
        _ = try Self.seconds(budget)
        if !simulate { _ = try linkKind() }
    }

    /// What a simulation takes grows with ranks × layers.
    private func checkSimulated() throws {
        let most = 65_536
        let ranks = try ranks.map { try Self.integers($0, "--ranks", least: 1) } ?? []
        if let many = ranks.first(where: { $0 > most }) {
            throw ValidationError("--ranks \(many) is more than can be simulated, which is \(most)")
        }
        let layers = layers ?? 1
        guard layers <= LayerCosts.mostLayers, layers * (ranks.max() ?? 1) <= 1 << 22 else {
            throw ValidationError(
                "--layers \(layers) with \(ranks.max() ?? 1) ranks is more than can be simulated: layers × ranks is \(1 << 22) at most"
            )
        }
    }

    func run() async throws {
        try Configuration.check(isa: isa)
        try checkOutputs()
        if simulate {
            try await PlanSimulation(self).run()
        } else if auto {
            try await PlanShapes(self).run()
        } else if check {
            try await PlanCheck(self).run()
        } else {
            try await PlanSearch(self).run()
        }
    }

    /// Finds folders that cannot be written before the work.
    private func checkOutputs() throws {
        let tables = simulate || check || plans.isOff ? nil : plans.folder ?? PlanStore.defaultFolder
        for folder in [svg, tables].compactMap(\.self) {
            do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
                throw Failure.run("\(folder): the folder cannot be made: \(systemReason(error))")
            }
            try OutputFile.check(folder + "/partitions.svg")
        }
    }

    // MARK: Values

    func lengthList() throws -> [Int] { try Array(Set(Self.integers(lengths, "--lengths", least: 2))).sorted() }

    func rankList() throws -> [Int] {
        try ranks.map { try Self.integers($0, "--ranks", least: 1) } ?? [max(2, placement.defaultRanks())]
    }

    func linkKind() throws -> Configuration.Link {
        guard let kind = Configuration.Link(rawValue: link) else {
            throw ValidationError("--link is \"\(link)\"; it must be auto, ring or shared (a bandwidth only with --simulate)")
        }
        return kind
    }

    /// The engine's configuration for one number of ranks.
    func configuration(ranks: Int, context: Int) throws -> Configuration {
        var configuration = Configuration(try model.source())
        configuration.contextLength = context
        configuration.ranks = ranks
        configuration.threadsPerRank = threadsPerRank
        configuration.fitsThreads = !oversubscribe
        configuration.link = (try? linkKind()) ?? .auto
        configuration.cacheElement = cacheType
        configuration.activations = activations
        configuration.instructionSet = isa
        try placement.apply(to: &configuration)
        configuration.partition = .even
        mode.apply(to: &configuration)
        plans.apply(to: &configuration)
        return configuration
    }

    static func integers(_ text: String, _ flag: String, least: Int, most: Int = 1 << 24) throws -> [Int] {
        let values = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard !values.isEmpty, values.allSatisfy({ (least...most).contains($0 ?? least - 1) }) else {
            throw ValidationError("\(flag) is \"\(text)\"; it must be numbers of \(least) to \(most), apart by commas")
        }
        return values.compactMap { $0 }
    }

    /// "60s", "500ms", "10m", "1h" or plain seconds.
    static func seconds(_ text: String) throws -> Double {
        for (unit, factor) in [("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("", 1)] where text.hasSuffix(unit) {
            if let number = Double(text.dropLast(unit.count)), number > 0, number * factor <= 30 * 86400 { return number * factor }
        }
        throw ValidationError("--budget is \"\(text)\"; it must be a time as 60s, 500ms or 10m, of 30 days at most")
    }

    /// Runs work on an engine's queue until it is done or Ctrl-C is pressed.
    static func interruptible<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
        let task = Task { try await body() }
        let interruption = Interruption { task.cancel() }
        defer { _ = interruption }
        return try await task.value
    }

    /// Writes a figure into the folder of --svg.
    func write(_ svg: String, _ name: String) throws {
        guard let folder = self.svg else { return }
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try OutputFile.write(svg, to: folder + "/" + name)
        } catch let error as OutputError { throw error } catch {
            throw Failure.run("\(folder)/\(name): cannot be written: \(systemReason(error))")
        }
        Terminal.note("wrote \(folder)/\(name)")
    }

    static func json(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) + "\n" } ?? "null\n"
    }
}
