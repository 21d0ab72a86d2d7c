import Foundation
import KVFabric
import KVGGUF
import KVModel

extension Configuration.Link: Codable {}
extension Configuration.CacheElement: Codable {}
extension Configuration.Activations: Codable {}
extension Configuration.Memory: Codable {}

/// What a rank's process is told when it starts: enough to lay out the same memory as its engine has, and to find the same model.
struct Blueprint: Codable, Equatable {
    struct Group: Codable, Equatable {
        var cpus: [Int]
        var node: Int?
        var workerNodes: [Int?]
    }

    var version = Engine.version
    /// One of the two.
    var file: String?
    var synthetic: String?
    /// Of the model's file when the engine was opened, so that another one in its place is noticed.
    var identity: String
    /// Its parts, as the engine's process holds them open.
    var openFiles: [String: String] = [:]
    var activations: Configuration.Activations
    var weightType: String?
    var instructionSet: String
    var groups: [Group]
    var isOversubscribed: Bool
    var isPinned: Bool
    var budget: Int
    var memory: Configuration.Memory
    var hugePages: Bool
    var contextLength: Int
    var link: Configuration.Link
    var cacheElement: Configuration.CacheElement
    var waitLimit: Double
    var throttle: LinkProfile?
    var needs: Needs

    init(_ plan: Station.Plan, _ configuration: Configuration, model: Model, needs: Needs) {
        switch configuration.model {
        case .file(let path):
            file = URL(fileURLWithPath: model.file.folder ?? path).path
            identity = model.file.identity
            openFiles = model.file.openFiles
        case .synthetic(let text):
            synthetic = text
            identity = ""
        }
        activations = configuration.activations
        weightType = configuration.weightType
        instructionSet = model.weights.kernels.name
        groups = plan.placement.ranks.map { Group(cpus: $0.cpus, node: $0.node, workerNodes: $0.workerNodes) }
        isOversubscribed = plan.placement.oversubscribed
        isPinned = plan.placement.isPinned
        budget = plan.placement.budget
        memory = plan.memory
        hugePages = plan.hugePages
        contextLength = plan.contextLength
        link = plan.link
        cacheElement = plan.cacheElement
        waitLimit = plan.waitLimit
        throttle = plan.throttle
        self.needs = needs
    }

    var plan: Station.Plan {
        var placement = Placement(
            ranks: groups.map { .init(cpus: $0.cpus, node: $0.node, workerNodes: $0.workerNodes) },
            oversubscribed: isOversubscribed,
            budget: budget, notes: [])
        placement.isPinned = isPinned
        return Station.Plan(
            placement: placement, contextLength: contextLength, link: link, memory: memory, hugePages: hugePages,
            cacheElement: cacheElement, waitLimit: waitLimit, throttle: throttle)
    }

    /// The model of the blueprint, its header read anew.
    /// - Throws: `EngineError` (model) also when it is not the same any more.
    func model() throws(EngineError) -> Model {
        OpenFiles.use(openFiles)
        let header = try (file.map { ModelSource.file($0) } ?? .synthetic(synthetic ?? "")).open()
        guard header.identity == identity else {
            throw EngineError(.model, "\(header.path): the file has changed since the engine was opened")
        }
        do {
            return try Model(
                header, kernels: try Kernels.choose(named: instructionSet),
                activations: activations == .int8 ? .int8 : .float, type: weightType.flatMap { TensorType(named: $0) })
        } catch { throw EngineError(.model, error.description) }
    }

    // MARK: In memory that ranks share

    private static let magic: UInt64 = 0x3147_4b4e_4152_4b21  // "!KRANKG1" as little-endian bytes

    private static func coder() -> (encoder: JSONEncoder, decoder: JSONDecoder) {
        let encoder = JSONEncoder()
        let decoder = JSONDecoder()
        // A bandwidth without a limit.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return (encoder, decoder)
    }

    /// Takes the first parts of a memory file: the blueprint, and what is watched of each rank.
    func write(to file: MemoryFile) throws(EngineError) -> Watch {
        do {
            let bytes = try Self.coder().encoder.encode(self)
            let head = try file.next(Self.headBytes)
            let body = try file.next(bytes.count)
            UnsafeMutableRawBufferPointer(start: body.pointer, count: body.count).copyBytes(from: bytes)
            head.pointer.storeBytes(of: UInt64(bytes.count), toByteOffset: 8, as: UInt64.self)
            head.pointer.storeBytes(of: UInt64(groups.count), toByteOffset: 16, as: UInt64.self)
            head.pointer.storeBytes(of: Self.magic, as: UInt64.self)
            return Watch(in: Lines(of: try file.next(groups.count * CacheLine.bytes)))
        } catch { throw EngineError(.system, "memory that ranks share: \(error)") }
    }

    private static let headBytes = 64

    /// Reads what `write` wrote.
    static func read(from file: MemoryFile) throws(EngineError) -> (blueprint: Blueprint, watch: Watch) {
        do {
            let head = try file.next(headBytes)
            guard head.pointer.load(as: UInt64.self) == magic else {
                throw FabricError.invalid(field: "magic of the ranks' memory", value: "\(head.pointer.load(as: UInt64.self))")
            }
            let count = head.pointer.load(fromByteOffset: 8, as: UInt64.self)
            let ranks = head.pointer.load(fromByteOffset: 16, as: UInt64.self)
            let body = try file.next(Int(clamping: count))
            let watch = Watch(in: Lines(of: try file.next(Int(clamping: ranks) * CacheLine.bytes)))
            let bytes = Data(bytes: body.pointer, count: body.count)
            let blueprint = try coder().decoder.decode(Blueprint.self, from: bytes)
            guard blueprint.version == Engine.version, blueprint.groups.count == Int(clamping: ranks) else {
                throw FabricError.invalid(field: "version of the ranks' engine", value: blueprint.version)
            }
            return (blueprint, watch)
        } catch { throw EngineError(.system, "memory that ranks share: \(error)") }
    }
}
