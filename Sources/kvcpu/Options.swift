public import ArgumentParser
import Foundation
import KVModel
public import KVRunahead

/// The model file; without `-m` the default model, where `make model` puts it.
struct ModelOptions: ParsableArguments {
    @Option(
        name: [.short, .long],
        help: """
            GGUF file (of a split model the first), or a folder of safetensors with its config.json; default: SmolLM2-135M-Instruct Q4_1 as \
            fetched by `make model`
            """)
    var model: String?
    @Option(
        help: """
            Instead of a file: a known geometry with random weights, for measurements, as llama-7b,layers=4,type=q4_0 (also width, heads, kv, \
            ffn, vocab, context, seed)
            """)
    var synthetic: String?

    func validate() throws {
        if model != nil, synthetic != nil { throw ValidationError("give -m or --synthetic, not both") }
    }

    static var defaultPath: String {
        let cache = ProcessInfo.processInfo.environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 }
        return (cache ?? NSHomeDirectory() + "/.cache") + "/kvcpu/SmolLM2-135M-Instruct.Q4_1.gguf"
    }

    func source() throws(Failure) -> ModelSource {
        if let synthetic { .synthetic(synthetic) } else { .file(try path()) }
    }

    /// The file of a command that reads or writes text.
    func path() throws(Failure) -> String {
        if let synthetic {
            throw .usage(
                "--synthetic \(synthetic): a synthetic model has no tokenizer, so that it cannot read or write text; use bench")
        }
        if let model { return model }
        guard FileManager.default.fileExists(atPath: Self.defaultPath) else {
            throw .run("the default model is not at \(Self.defaultPath): run `make model`, or give a GGUF file with -m")
        }
        return Self.defaultPath
    }
}

extension Configuration.Strategy: ExpressibleByArgument {}
extension Configuration.Link: ExpressibleByArgument {}
extension Configuration.CacheElement: ExpressibleByArgument {}
extension Configuration.Activations: ExpressibleByArgument {}
extension Configuration.RankMode: ExpressibleByArgument {}
extension Configuration.NUMA: ExpressibleByArgument {}
extension Configuration.Memory: ExpressibleByArgument {}

/// Where ranks run and memory lies.
struct PlacementOptions: ParsableArguments {
    @Option(
        help: """
            Ranks on NUMA nodes: auto; distribute: over all nodes; isolate: only the node that the process started on; numactl: the CPUs and \
            memory policy that it was started with; off: no pinning, no policy
            """)
    var numa = Configuration.NUMA.auto
    @Option(help: "The CPUs to use: 0-15 for all ranks to share out, or each rank's, 0-15|16-31")
    var cpus: String?
    @Option(
        help: """
            The weights: mirror: a copy on every node that has ranks; interleave: one, its pages on these nodes in turns; shared: one; auto: \
            shared on one node, on several mirror where that fits, else interleave
            """)
    var memory = Configuration.Memory.auto
    @Flag(name: .customLong("hugepages"), help: "Ask for huge pages for weights, KV-caches and scratch")
    var hugePages = false
    @Option(
        help: """
            Where ranks compute: cpu; cuda: all CUDA devices; cuda:0,1 or cpu,cuda:0: these, in the order of the chain; auto: all CUDA devices \
            where there are some, else cpu. Several ranks may share a device
            """)
    var device = "cpu"

    /// - Throws: `EngineError` (request) for devices that cannot be read.
    func apply(to configuration: inout Configuration) throws(EngineError) {
        configuration.devices = try Configuration.Devices(parsing: Self.devices(device))
        configuration.numa = numa
        configuration.cpus = cpus
        configuration.memory = memory
        configuration.hugePages = hugePages
    }

    /// llama.cpp's names of devices, `none` and `CUDA0,CUDA1`, in kvcpu's.
    static func devices(_ text: String) -> String {
        if text == "none" { return "cpu" }
        let names = text.split(separator: ",", omittingEmptySubsequences: false)
        guard names.allSatisfy({ $0.hasPrefix("CUDA") }) else { return text }
        return "cuda:" + names.map { $0.dropFirst(4) }.joined(separator: ",")
    }

    /// Ranks where none are asked for.
    func defaultRanks() throws(EngineError) -> Int {
        var configuration = Configuration(model: "")
        try apply(to: &configuration)
        return try configuration.defaultRanks()
    }
}

/// What run and bench alike let choose of the computation.
struct ComputingOptions: ParsableArguments {
    @Option(help: "How KV-cache segments go from rank to rank")
    var link = Configuration.Link.auto
    @Option(
        help:
            "Quantise float weights while loading: q8_0, q6_k, q5_k, q5_1, q5_0, q4_k, q4_1, q4_0, mxfp4; or make them f32, f16, bf16"
    )
    var type: String?
    @Option(help: "int8: quantised for quantised weights; f32: exact (more memory, slower)")
    var activations = Configuration.Activations.int8
    @Option(
        help:
            "Instruction set of the kernels: scalar, avx2, avxvnni, avx512, neon; default: KVCPU_ISA, else the best of this machine"
    )
    var isa: String?

    @Option(
        help:
            "Slows the links down to a network's: bandwidth=10GB/s,latency=5us,jitter=1us,bursts=20%,burst=200us,seed=1 (any of them)"
    )
    var throttle: String?
    @Flag(help: "Locks all memory once the model is loaded, so that nothing of it is swapped out")
    var mlock = false
    @OptionGroup var placement: PlacementOptions

    @OptionGroup var mode: RankOptions

    /// - Throws: `EngineError` naming what cannot be read.
    func apply(to configuration: inout Configuration) throws(EngineError) {
        try Configuration.check(isa: isa)
        configuration.link = link
        configuration.activations = activations
        configuration.instructionSet = isa
        mode.apply(to: &configuration)
        try placement.apply(to: &configuration)
        configuration.weightType = type
        configuration.throttle = try throttle.map { text throws(EngineError) in try LinkProfile(parsing: text) }
    }
}

/// Where ranks run.
struct RankOptions: ParsableArguments {
    @Option(help: "thread: ranks are threads of this process; process: each is a process of its own")
    var rankMode = Configuration.RankMode.thread
    @Option(
        parsing: .unconditional,
        help: "With --rank-mode process: seconds without a sign of life after which a stopped rank is given up; default: 1")
    var rankTimeout: Double?

    func validate() throws {
        guard let rankTimeout else { return }
        guard (0.05...3600).contains(rankTimeout) else {
            throw ValidationError("--rank-timeout is \(rankTimeout); it must be 0.05 to 3600")
        }
        guard rankMode == .process else { throw ValidationError("--rank-timeout belongs to --rank-mode process") }
    }

    func apply(to configuration: inout Configuration) {
        configuration.rankMode = rankMode
        if let rankTimeout { configuration.silenceLimit = rankTimeout }
    }
}

/// Where plan tables are kept.
struct PlanOptions: ParsableArguments {
    @Option(
        name: .customLong("plans"),
        help: "Folder of the plan tables; default: KVCPU_PLANS, else ~/.cache/kvcpu/plans; none: no tables")
    var folder: String?

    var isOff: Bool { folder == "none" }

    func apply(to configuration: inout Configuration) {
        if let folder { configuration.planFolder = folder == "none" ? nil : folder }
    }
}

/// The element type of the KV-cache, which keys and values share.
struct CacheTypeOptions: ParsableArguments {
    @Option(help: "Element type of the KV-cache: f16 or f32; default: f16")
    var cacheType: Configuration.CacheElement?
    @Option(
        name: [.customLong("cache-type-k"), .customLong("ctk", withSingleDash: true)],
        help: "The same under llama.cpp's name for keys; values have it too")
    var cacheTypeK: Configuration.CacheElement?
    @Option(
        name: [.customLong("cache-type-v"), .customLong("ctv", withSingleDash: true)],
        help: "The same under llama.cpp's name for values; keys have it too")
    var cacheTypeV: Configuration.CacheElement?

    /// Nil where none was asked for.
    var element: Configuration.CacheElement? { cacheType ?? cacheTypeK ?? cacheTypeV }

    func validate() throws {
        let types = Set([cacheType, cacheTypeK, cacheTypeV].compactMap { $0?.rawValue })
        guard types.count < 2 else {
            throw ValidationError(
                "--cache-type is \(types.sorted().joined(separator: " and ")): keys and values have the same type")
        }
    }
}

extension Configuration {
    /// - Throws: `EngineError` (request) naming the instruction sets there are, where the one asked for is none of them.
    static func check(isa: String?) throws(EngineError) {
        guard let isa else { return }
        do { _ = try Kernels.choose(named: isa) } catch { throw EngineError(.request, "--isa: \(error)") }
    }

    /// Says so where links are to be slow and there are none.
    func noteThrottle() {
        if throttle != nil, ranks == 1 { Terminal.note("--throttle has no effect: there is one rank, and no link") }
    }
}

/// How the engine runs.
struct EngineOptions: ParsableArguments {
    @Option(
        name: [.customShort("c"), .customLong("ctx-size")], parsing: .unconditional,
        help: "Positions of the KV-cache; 0: what the model was trained for")
    var contextSize = 0
    @Option(parsing: .unconditional, help: "Virtual ranks; default: one per last-level cache")
    var ranks: Int?
    @Option(
        name: [.customShort("t"), .customLong("threads-per-rank")], parsing: .unconditional,
        help: "Threads of each rank, fitted to the CPUs there are; default: all, shared out")
    var threadsPerRank: Int?
    @Flag(help: "Run as many threads as asked, even more than CPUs")
    var oversubscribe = false
    @Option(help: "auto, even, searched, predicted, modelled, tokens of each rank (400,300,200) or ratios (0.4,0.33,0.27)")
    var partition = "auto"
    @OptionGroup var plans: PlanOptions
    @Option(
        help:
            "Who computes the prompt: runahead; sequential; or the rivals tsp (dense all-gather), tsp-causal and zigzag, which cut evenly"
    )
    var strategy = Configuration.Strategy.runahead
    @OptionGroup var computing: ComputingOptions
    @OptionGroup var log: LogOptions
    @OptionGroup var cacheTypes: CacheTypeOptions

    func validate() throws {
        if let ranks, !(1...1024).contains(ranks) { throw ValidationError("--ranks is \(ranks); it must be 1 to 1024") }
        if let threadsPerRank, !(1...1024).contains(threadsPerRank) {
            throw ValidationError("--threads-per-rank is \(threadsPerRank); it must be 1 to 1024")
        }
        guard (0...Int(Int32.max)).contains(contextSize) else {
            throw ValidationError("--ctx-size is \(contextSize); it must be 0 to \(Int32.max)")
        }
    }

    /// - Throws: `EngineError` when the partition cannot be read.
    func configuration(_ model: ModelSource) throws -> Configuration {
        var configuration = Configuration(model)
        configuration.contextLength = contextSize
        configuration.threadsPerRank = threadsPerRank
        configuration.fitsThreads = !oversubscribe
        configuration.strategy = strategy
        try computing.apply(to: &configuration)
        configuration.ranks = try ranks ?? configuration.defaultRanks()
        configuration.noteThrottle()
        configuration.partition = try Partition(parsing: partition)
        plans.apply(to: &configuration)
        configuration.cacheElement = cacheTypes.element ?? .f16
        // What `plan --auto` found, where nothing else is asked for.
        if ranks == nil, threadsPerRank == nil, configuration.cpus == nil, configuration.partition == .auto,
            configuration.strategy == .runahead,
            let shape = PlanShape.find(for: configuration, notices: Terminal.note)
        {
            configuration.ranks = shape.ranks
            configuration.threadsPerRank = shape.threadsPerRank
        }
        return configuration
    }
}

/// Where the prompt comes from.
struct PromptOptions: ParsableArguments {
    @Option(name: [.short, .long], help: "The prompt")
    var prompt: String?
    @Option(name: [.short, .long], help: "A file with the prompt; - for standard input")
    var file: String?

    func validate() throws {
        if prompt != nil, file != nil { throw ValidationError("give -p or -f, not both") }
    }

    /// The prompt's bytes: from -p, -f, or standard input when that is no terminal; UTF-16 and UTF-32 with a byte order mark as UTF-8.
    /// - Parameter limit: of bytes, for what is read.
    func bytes(limit: Int = Input.textLimit) throws(Failure) -> [UInt8] {
        try TextInput.utf8Bytes(try read(limit: limit), from: sourceName)
    }

    private func read(limit: Int) throws(Failure) -> [UInt8] {
        if let prompt {
            Input.noteUnread("-p")
            return Array(prompt.utf8)
        }
        if let file, file != "-" {
            Input.noteUnread("-f")
            return try Input.read(file, limit: limit)
        }
        guard file == "-" || !Terminal.inputIsTerminal else {
            throw .usage("no prompt: give -p TEXT or -f FILE, or pipe it in")
        }
        return try Input.read("-", limit: limit)
    }

    private var sourceName: String { prompt != nil ? "-p" : file == nil || file == "-" ? "standard input" : file ?? "" }

    /// The prompt as text, not empty, without a byte order mark.
    /// - Parameter limit: as for `bytes`.
    func text(limit: Int = Input.textLimit) throws(Failure) -> String {
        let text = try TextInput.decode(try read(limit: limit), from: sourceName)
        guard !text.isEmpty else { throw .usage("the prompt is empty") }
        return text
    }

    /// Offset of the first byte that belongs to no valid UTF-8 sequence.
    static func firstInvalid(_ bytes: [UInt8]) -> Int {
        // The longest valid prefix, by bisection: prefixes that only end within a character count as valid.
        func isValid(_ count: Int) -> Bool {
            (0...3).contains { count >= $0 && String(validating: bytes[..<(count - $0)], as: UTF8.self) != nil }
        }
        var low = 0
        var high = bytes.count
        while low < high {
            let middle = (low + high + 1) / 2
            if isValid(middle) { low = middle } else { high = middle - 1 }
        }
        while low > 0, String(validating: bytes[..<low], as: UTF8.self) == nil { low -= 1 }
        return low
    }
}
