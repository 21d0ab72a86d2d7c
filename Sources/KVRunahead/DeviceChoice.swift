package import KVCUDA
import Synchronization

extension Configuration {
    /// Where a rank computes.
    public enum Device: Hashable, Sendable, CustomStringConvertible {
        case cpu
        case cuda(Int)

        public var description: String {
            switch self {
            case .cpu: "cpu"
            case .cuda(let index): "cuda:\(index)"
            }
        }
    }

    /// Which devices the ranks are shared out over, in order: neighbours in the chain lie on one device or on neighbours.
    public enum Devices: Equatable, Sendable, CustomStringConvertible {
        /// At least one.
        case these([Device])
        /// All CUDA devices.
        case cuda
        /// All CUDA devices where there are some, else the CPU.
        case auto

        /// Reads `cpu`, `auto`, `cuda`, or a list as `cuda:0,1,2` or `cpu,cuda:0`.
        /// - Throws: `EngineError` (request) naming what cannot be read.
        public init(parsing text: String) throws(EngineError) {
            switch text {
            case "auto": self = .auto
            case "cuda": self = .cuda
            default:
                var devices: [Device] = []
                for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                    // Digits alone continue a list of CUDA devices.
                    let number = part.hasPrefix("cuda:") ? part.dropFirst(5) : part
                    if part == "cpu" {
                        devices.append(.cpu)
                    } else if let index = Int(number), (0..<1024).contains(index),
                        part.hasPrefix("cuda:") || devices.last?.index != nil
                    {
                        devices.append(.cuda(index))
                    } else {
                        throw EngineError(
                            .request, "the device is \"\(text)\"; it must be cpu, auto, cuda, or a list as cuda:0,1 or cpu,cuda:0")
                    }
                }
                self = .these(devices)
            }
        }

        public var description: String {
            switch self {
            case .these(let devices): devices.map(\.description).joined(separator: ",")
            case .cuda: "cuda"
            case .auto: "auto"
            }
        }
    }

    /// Ranks where none are asked for: one for each device of several; on CPUs one per last-level cache.
    /// - Throws: `EngineError` (device) where CUDA is asked for and not there.
    public func defaultRanks() throws(EngineError) -> Int {
        let devices = try DeviceChoice(devices).devices
        return devices == [.cpu] ? Self.defaultRanks(numa: numa, cpus: cpus) : devices.count
    }
}

extension Configuration {
    /// - Throws: `EngineError` (request): what ranks on CUDA devices cannot do.
    func checkDevices() throws(EngineError) {
        func refuse(_ what: String) throws(EngineError) {
            throw EngineError(.request, "\(what) is not for CUDA devices (--device \(devices))")
        }
        if rankMode == .process { try refuse("--rank-mode process") }
        if strategy != .runahead, strategy != .sequential { try refuse("strategy \(strategy.rawValue)") }
        if cacheElement != .f16 { try refuse("a KV-cache of \(cacheElement.rawValue)") }
        if throttle != nil { try refuse("--throttle") }
    }
}

extension Configuration.Device {
    /// Of a CUDA device; nil for the CPUs.
    var index: Int? { if case .cuda(let index) = self { index } else { nil } }
}

/// What is asked for, as it can be had.
package struct DeviceChoice: Sendable {
    package let devices: [Configuration.Device]
    /// They are all that the machine has, of which ranks may leave some out; else each was asked for.
    private let isAll: Bool
    /// Nil where all is computed by CPUs.
    package let cuda: CUDA?
    /// Why CUDA's devices are not used, where they were to be if there are any.
    let notice: String?

    /// CUDA's libraries, opened once.
    private static let opened = Mutex<CUDA?>(nil)

    private static func open() throws(CUDAError) -> CUDA {
        try opened.withLock { (cuda) throws(CUDAError) in
            if let cuda { return cuda }
            let new = try CUDA.open()
            cuda = new
            return new
        }
    }

    /// - Throws: `EngineError` (device): a device that is not there, or why CUDA cannot be used.
    package init(_ asked: Configuration.Devices) throws(EngineError) {
        if case .these(let devices) = asked, !devices.contains(where: { $0.index != nil }) {
            guard devices == [.cpu] else {
                throw EngineError(.request, "the device is \(asked): CPU ranks need naming only beside CUDA devices")
            }
            self.init(devices: devices, isAll: false, cuda: nil, notice: nil)
            return
        }
        let cuda: CUDA
        do { cuda = try Self.open() } catch {
            guard asked == .auto else { throw EngineError(.device, "--device \(asked): \(error)") }
            self.init(devices: [.cpu], isAll: true, cuda: nil, notice: "no CUDA device is used, the CPU computes: \(error)")
            return
        }
        guard case .these(let devices) = asked else {
            self.init(devices: cuda.devices.map { .cuda($0.index) }, isAll: true, cuda: cuda, notice: nil)
            return
        }
        for case .cuda(let index) in devices where !cuda.devices.indices.contains(index) {
            throw EngineError(
                .device, "--device \(asked): there is no CUDA device \(index); there are \(cuda.devices.count), the first is cuda:0"
            )
        }
        self.init(devices: devices, isAll: false, cuda: cuda, notice: nil)
    }

    private init(devices: [Configuration.Device], isAll: Bool, cuda: CUDA?, notice: String?) {
        self.devices = devices
        self.isAll = isAll
        self.cuda = cuda
        self.notice = notice
    }

    /// The hardware of ranks' devices, each once, in their order.
    /// - Parameter ranks: each rank's device.
    func names(_ ranks: [Configuration.Device]) -> [String] {
        let names = ranks.map { device in
            device.index.flatMap { index in cuda?.devices.first { $0.index == index }?.name }.map { "cuda \($0)" } ?? "cpu"
        }
        return names.isEmpty ? ["cpu"] : names.indices.filter { names.firstIndex(of: names[$0]) == $0 }.map { names[$0] }
    }

    /// Each rank's device: as many ranks on each, neighbours together.
    /// - Throws: `EngineError` (request) where more devices were asked for than there are ranks.
    package func shared(by ranks: Int) throws(EngineError) -> [Configuration.Device] {
        let devices = isAll ? Array(devices.prefix(ranks)) : devices
        guard ranks >= devices.count else {
            throw EngineError(
                .request,
                "\(devices.count) devices for \(ranks) rank\(ranks == 1 ? "" : "s"): each device needs one (--ranks, --device)")
        }
        return (0..<ranks).map { devices[$0 * devices.count / ranks] }
    }

    /// How many ranks with a device each there may be.
    package var rankCounts: ClosedRange<Int> { (isAll ? 1 : devices.count)...devices.count }
}
