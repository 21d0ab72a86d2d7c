import ArgumentParser
import Foundation
import KVFabric
import KVRunahead

struct PaperCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "paper",
        abstract: "The KV-Runahead paper's experiments at this machine's scale, as a report with tables and figures.",
        discussion: """
            Writes PAPER.md and paper/*.svg. Every finished case is appended to paper/results.jsonl, so that an interrupted run goes on where \
            it was; the report is written from these results alone.
            """)

    @OptionGroup var model: ModelOptions
    @Flag(help: "Shorter prompts, fewer rounds: under ten minutes on two quiet cores")
    var quick = false
    @Flag(help: "Forget the results of earlier runs")
    var restart = false
    @Flag(help: "Measure nothing: write the report from the results there are")
    var report = false
    @Option(name: [.short, .long], help: "Folder of the report")
    var output = "Benchmarks"
    @Option(help: "Which to run, apart by commas: \(PaperExperiment.allCases.map(\.rawValue).joined(separator: ", "))")
    var experiments: String?
    @Option(help: "Numbers of ranks; default: 2, 4 and 8, as far as there are CPUs")
    var ranks: String?
    @Option(
        name: [.customShort("t"), .customLong("threads-per-rank")], help: "Threads of each rank; default: an eighth of the CPUs")
    var threadsPerRank: Int?
    @Flag(help: "Run as many threads as asked, even more than CPUs")
    var oversubscribe = false
    @Option(help: "Prompt lengths of the experiment over lengths; default: 1024 to 8192, --quick to 4096")
    var lengths: String?
    @Option(help: "Rounds of every case; medians count; default: 5, --quick 3")
    var rounds: Int?
    @Option(help: "Time of the searches of one number of ranks; default: 5m, --quick 40s")
    var budget: String?
    @Option(help: "Geometries that are measured with few layers and simulated with --layers, apart by ;")
    var geometries = "llama-7b,layers=3,type=q4_0;falcon-7b,layers=3,type=q4_0"
    @Option(help: "Geometry of the comparison of multi-head, grouped-query and multi-query attention")
    var variant = "llama-7b,layers=4,width=1024,heads=16,ffn=2816,vocab=4096,type=q4_0"
    @Option(help: "Layers of the simulated models of --geometries")
    var layers = 32
    @Option(help: "Instruction set of the kernels")
    var isa: String?
    @Flag(help: "No progress bar")
    var noProgress = false

    func validate() throws {
        if let ranks { _ = try PlanCommand.integers(ranks, "--ranks", least: 2, most: 1024) }
        if let lengths { _ = try PlanCommand.integers(lengths, "--lengths", least: 8) }
        if let budget { _ = try PlanCommand.seconds(budget) }
        if let rounds, !(1...1000).contains(rounds) { throw ValidationError("--rounds is \(rounds); it must be 1 to 1000") }
        if let threadsPerRank, !(1...1024).contains(threadsPerRank) {
            throw ValidationError("--threads-per-rank is \(threadsPerRank); it must be 1 to 1024")
        }
        guard (1...1024).contains(layers) else { throw ValidationError("--layers is \(layers); it must be 1 to 1024") }
        _ = try chosen()
    }

    /// The experiments to run, in the order in which they build on each other.
    func chosen() throws -> [PaperExperiment] {
        guard let experiments else { return PaperExperiment.allCases }
        let names = experiments.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        for name in names where PaperExperiment(rawValue: name) == nil {
            let all = PaperExperiment.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--experiments has \"\(name)\"; it must be of \(all)")
        }
        return PaperExperiment.allCases.filter { names.contains($0.rawValue) }
    }

    func run() async throws {
        let plan = try PaperPlan(self)
        let (folder, restart, report, progress) = (output, restart, report, !noProgress)
        // One for all: Ctrl-C between two runs counts too.
        let results = try await PlanCommand.interruptible {
            let store = try PaperStore(folder: folder + "/paper", restart: restart)
            let measuring = PaperMeasuring(plan: plan, store: store, progress: progress)
            if !report { try await measuring.run() }
            return try plan.cases.compactMap { store.find($0, try measuring.key($0)) }
        }
        let written = try PaperReport(plan: plan, results: results, folder: output).write()
        for path in written { Terminal.note("wrote \(path)") }
    }
}

/// What the options amount to: sizes, and the cases of the experiments in order.
struct PaperPlan: Sendable {
    let source: ModelSource
    let threads: Int
    let oversubscribe: Bool
    let ranks: [Int]
    let lengths: [Int]
    let rounds: Int
    let searchBudget: Double
    /// Of the experiments on links, on attention, and on large geometries.
    let linkTokens, variantTokens, largeTokens: Int
    /// Seconds of calibrating a large geometry.
    let calibration: Double
    let geometries: [String]
    let variants: [(name: String, model: String)]
    let layers: Int
    let isa: String?
    let quick: Bool
    private(set) var cases: [PaperCase] = []

    init(_ command: PaperCommand) throws {
        let cpus = Topology.read().budget
        source = try command.model.source()
        let threads = command.threadsPerRank ?? max(1, cpus / 8)
        self.threads = threads
        oversubscribe = command.oversubscribe
        let fitting = [2, 4, 8].filter { $0 * threads <= cpus }
        ranks = try command.ranks.map { try Array(Set(PlanCommand.integers($0, "--ranks", least: 2))).sorted() } ?? fitting
        quick = command.quick
        lengths =
            try command.lengths.map { try Array(Set(PlanCommand.integers($0, "--lengths", least: 8))).sorted() }
            ?? (quick ? [1024, 2048, 4096] : [1024, 2048, 4096, 8192])
        rounds = command.rounds ?? (quick ? 3 : 5)
        searchBudget = try command.budget.map(PlanCommand.seconds) ?? (quick ? 40 : 300)
        let usual = lengths[lengths.count / 2]
        linkTokens = min(usual, quick ? 1024 : 4096)
        variantTokens = min(usual, quick ? 2048 : 4096)
        largeTokens = min(lengths[lengths.count - 1], quick ? 2048 : 8192)
        calibration = quick ? 10 : 30
        geometries = command.geometries.split(separator: ";").map(String.init)
        variants = try PaperExperiment.variants(command.variant)
        layers = command.layers
        isa = command.isa
        guard !ranks.isEmpty else {
            throw Failure.usage("the paper's experiments need two ranks at least; here is one CPU: --ranks 2 --oversubscribe")
        }
        cases = try command.chosen().flatMap { $0.cases(self) }
    }

    func configuration(_ item: PaperCase, throttle: String?) throws(EngineError) -> Configuration {
        var configuration = Configuration(item.model)
        configuration.contextLength = item.tokens
        configuration.ranks = item.ranks
        configuration.threadsPerRank = threads
        configuration.fitsThreads = !oversubscribe
        configuration.partition = .even
        // The user's own tables stay as they are.
        configuration.planFolder = nil
        configuration.instructionSet = isa
        configuration.throttle = try throttle.map { text throws(EngineError) in try LinkProfile(parsing: text) }
        return configuration
    }
}
