import KVFabric
package import KVGGUF
import KVModel

/// How an engine is to run a model.
public struct Configuration: Sendable {
    /// Who computes a prompt.
    public enum Strategy: String, Sendable, CaseIterable {
        /// All threads in one group, one chunk.
        case sequential
        /// KV-Runahead: chunks on ranks, KV-cache segments handed on (Cho et al. 2024, section 3).
        case runahead
        /// The paper's baseline, tensor/sequence parallelism: even chunks, keys and values of all ranks gathered by all in every layer
        /// behind a barrier, and dense attention with a mask.
        case tsp
        /// The same with attention that skips what the mask hides.
        case tspCausal = "tsp-causal"
        /// Twice as many even pieces as ranks, rank i computing pieces i and 2p - 1 - i, gathered as in `tsp-causal`: today's balanced
        /// context parallelism.
        case zigzag
    }

    /// How segments go from rank to rank.
    public enum Link: String, Sendable, CaseIterable {
        /// `shared` when all ranks are on one NUMA node, else `ring`.
        case auto
        /// Bytes are copied through a lock-free ring; each rank has its own KV-cache.
        case ring
        /// All ranks share one KV-cache; only descriptors are handed on.
        case shared
    }

    /// Element type of the KV-cache.
    public enum CacheElement: String, Sendable, CaseIterable {
        case f16, f32
    }

    /// What quantised weights are multiplied with.
    public enum Activations: String, Sendable, CaseIterable {
        /// Activations in int8, with a scale per 32.
        case int8
        /// Float activations and dequantised weights: the exact mode, more memory and slower.
        case f32
    }

    /// Where ranks run.
    public enum RankMode: String, Sendable, CaseIterable {
        /// As threads of this process.
        case thread
        /// Each as a process of its own, which may crash or be killed without taking the others along. The same bits.
        case process
    }

    /// How ranks are placed on NUMA nodes; llama.cpp's names.
    public enum NUMA: String, Sendable, CaseIterable {
        /// Ranks spread over nodes, none spans two unless it has to.
        case auto
        /// No node stays idle: where there are fewer ranks than nodes, ranks span nodes.
        case distribute
        /// Only the node that the process started on.
        case isolate
        /// The CPUs and the memory policy that the process was started with (`numactl`, `taskset`), nothing of our own.
        case numactl
        /// No pinning, no memory policy.
        case off
    }

    /// Where the weights lie.
    public enum Memory: String, Sendable, CaseIterable {
        /// `shared` on one node; on several `mirror` where that fits, else `interleave`.
        case auto
        /// A copy on every node that has ranks, embedding table included.
        case mirror
        /// One copy, its pages on the ranks' nodes in turns.
        case interleave
        /// One copy, its pages where those who packed them run.
        case shared
    }

    public var model: ModelSource
    /// Positions that the KV-cache holds; 0 = what the model was trained for.
    public var contextLength = 0
    /// Virtual ranks.
    public var ranks = 1
    /// Where ranks compute.
    public var devices = Devices.these([.cpu])
    /// Threads of each rank; nil = the CPUs there are, shared out. More than that is fitted, with a notice.
    public var threadsPerRank: Int?
    /// False: run as many threads as asked, even more than CPUs.
    public var fitsThreads = true
    public var numa = NUMA.auto
    /// The CPUs to use, instead of all: "0-15" for the ranks to share out, or each rank's, "0-15|16-31".
    public var cpus: String?
    public var memory = Memory.auto
    /// Asks for huge pages for weights, KV-caches and scratch.
    public var hugePages = false
    public var strategy = Strategy.runahead
    public var link = Link.auto
    public var partition = Partition.auto
    /// Where plan tables are kept (`kvcpu plan`); nil: nothing is read or stored.
    public var planFolder: String? = PlanStore.defaultFolder
    /// Links between ranks as slow and as noisy as a network's, for measurements; nil: as fast as the machine.
    public var throttle: LinkProfile?
    public var cacheElement = CacheElement.f16
    /// Bytes for keys and values of earlier sequences, so that prompts that begin alike are not computed anew; nil: 1 GiB, or what the model
    /// leaves of the memory; `Int.max`: all that it leaves. More than that is refused.
    public var promptMemory: Int?
    public var activations = Activations.int8
    /// A weight format's name ("q8_0"), which float matrices (F32, F16, BF16) are quantised to while they are loaded; nil: they stay.
    public var weightType: String?
    /// The kernels' instruction set, by name; nil = the best of this machine.
    public var instructionSet: String?
    /// The longest that any wait of a run may take, in seconds.
    public var waitLimit = 300.0
    /// Where logits are not finite, the prompt is computed once more to name the first layer where that appears.
    public var locatesNonFinite = false
    public var rankMode = RankMode.thread
    /// With `process`: seconds without a sign of life after which a stopped process is given up. One that merely waits for a CPU is waited for
    /// thirty times as long.
    public var silenceLimit = 1.0
    /// With `process`: the program that is started for each rank. It calls ``RankMain/runIfAsked()`` first of all, as kvcpu does; by default
    /// it is this very program, which then has to call that, too.
    public var rankExecutable = "/proc/self/exe"

    public init(_ model: ModelSource) {
        self.model = model
    }

    /// - Parameter path: the GGUF file (the first one, when split), or a folder of safetensors.
    public init(model path: String) {
        self.init(.file(path))
    }
}

/// Which model an engine runs.
public enum ModelSource: Sendable, Equatable, CustomStringConvertible {
    /// A GGUF file (the first one, when split); or a folder of safetensors as Hugging Face keeps models, or a file in it.
    case file(String)
    /// A known geometry with random weights, for measurements: `llama-7b,layers=4,type=q4_0,seed=1`. It has no tokenizer.
    case synthetic(String)

    public var description: String {
        switch self {
        case .file(let path): path
        case .synthetic(let text): "synthetic \(text)"
        }
    }

    /// The model's header.
    /// - Throws: `EngineError`: model for a file, request for a description that cannot be read.
    package func open() throws(EngineError) -> GGUFFile {
        switch self {
        case .file(let path):
            do { return try GGUFFile.open(path) } catch { throw EngineError(.model, "\(error)") }
        case .synthetic(let text):
            let synthetic: Synthetic
            do { synthetic = try Synthetic(parsing: text) } catch { throw EngineError(.request, "\(error)") }
            do { return try synthetic.header() } catch { throw EngineError(.model, "\(error)") }
        }
    }
}

/// Why an engine cannot be opened or a run did not end well. The text names the file, field and value at fault.
public struct EngineError: Error, CustomStringConvertible, Sendable, Equatable {
    public enum Code: String, Sendable, CaseIterable {
        /// The file is missing, broken or of a kind that this build cannot run.
        case model
        /// The request contradicts itself or the model (empty prompt, partition of another length, unknown token id).
        case request
        /// The prompt, or the answer so far, is longer than the context.
        case context
        /// The memory plan does not fit the machine.
        case memory
        /// The machine refused something.
        case system
        /// A rank failed or a wait passed its deadline.
        case rank
        /// What was computed are no numbers: NaN or infinite logits.
        case numbers
        /// The caller cancelled the run.
        case cancelled
        /// All ranks together computed something else than one alone.
        case verification
        /// A CUDA device, or what it takes to use one, is not there or refused something.
        case device
    }
    public let code: Code
    public let description: String
    /// Where a rank failed.
    public let rank: Int?
    public let layer: Int?

    public init(_ code: Code, _ description: String, rank: Int? = nil, layer: Int? = nil) {
        self.code = code
        self.description = description
        self.rank = rank
        self.layer = layer
    }
}
