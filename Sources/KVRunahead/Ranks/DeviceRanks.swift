import KVCUDA
import KVFabric
import KVGGUF
import KVModel
import Synchronization

/// What the ranks on CUDA devices have there: each device's weights and KV-cache, and the ways between them.
final class DeviceRanks: Sendable {
    /// Of each rank.
    let devices: [Configuration.Device]
    private let places: [Int: Place]
    private let handoffs = Mutex<[Pair: DeviceHandoff]>([:])
    private let bytesHandedOver = Atomic<UInt64>(0)

    /// One device.
    struct Place: Sendable {
        let weights: DeviceWeights
        let cache: DeviceCache
        let kernels: DeviceKernels
    }

    private struct Pair: Hashable { let from, to: Int }

    /// What a model's weights and activations are made of: what the weights are made of, if that is one of the two.
    static func elements(_ weights: PlainWeights) -> ElementType { weights.all(are: .bf16) ? .bf16 : .f16 }

    /// Uploads the weights to every device.
    /// - Parameters:
    ///   - devices: each rank's.
    ///   - progress: told of the uploaded fraction.
    /// - Throws: `EngineError`: memory; device, with what CUDA says.
    init(
        _ model: Model, on devices: [Configuration.Device], of cuda: CUDA, context: Int, progress: (Double) -> Void
    ) throws(EngineError) {
        self.devices = devices
        let plain = PlainWeights(model.weights)
        let geometry = model.geometry
        // Every device is asked before anything is loaded on one.
        let plans = try DevicePlan.all(model, ranks: devices, context: context, on: cuda)
        for plan in plans { try plan.check() }
        let total = Double(max(1, plans.reduce(0) { $0 + $1.weights }))
        var places: [Int: Place] = [:]
        do throws(CUDAError) {
            for (turn, plan) in plans.enumerated() {
                let device = try cuda.context(plan.index)
                // Kernels first: an error of theirs comes before the long upload.
                let kernels = try DeviceKernels(
                    device, elements: Self.elements(plain), cache: .f16, headDimension: geometry.headDimension)
                let cache = try DeviceCache(geometry, capacity: context, on: device)
                let weights = try DeviceWeights(
                    plain, rotaries: geometry.rotaries, positions: context, as: Self.elements(plain), on: device
                ) { progress(Double(turn * plan.weights + $0) / total) }
                places[plan.index] = Place(weights: weights, cache: cache, kernels: kernels)
            }
        } catch { throw EngineError(error) }
        self.places = places
    }

    /// Nil for a rank on CPUs.
    func place(of rank: Int) -> Place? {
        devices[rank].index.flatMap { places[$0] }
    }

    /// The way from one rank to another, where both are on devices.
    func handoff(from: Int, to: Int) throws(CUDAError) -> DeviceHandoff? {
        guard let source = place(of: from), let target = place(of: to) else { return nil }
        return try handoffs.withLock { (handoffs) throws(CUDAError) in
            let pair = Pair(from: from, to: to)
            if let known = handoffs[pair] { return known }
            let new = try DeviceHandoff(from: source.cache, to: target.cache)
            handoffs[pair] = new
            return new
        }
    }

    func handedOver(_ bytes: Int) { bytesHandedOver.add(UInt64(bytes), ordering: .relaxed) }
    var bytesSent: UInt64 { bytesHandedOver.load(ordering: .relaxed) }

    /// Waits until no copy of an ended run is under way.
    func settle(deadline: UInt64) throws(EngineError) {
        do throws(CUDAError) {
            for handoff in handoffs.withLock({ Array($0.values) }) { try handoff.settle(deadline: deadline) }
        } catch { throw EngineError(error) }
    }
}

/// A run on a device as its rank's state sees it.
final class SupervisedRun: DeviceRun {
    private let state: RunState
    private let rank: Int
    private let device: Configuration.Device

    init(_ state: RunState, rank: Int, device: Configuration.Device) {
        self.state = state
        self.rank = rank
        self.device = device
    }

    var deadline: UInt64 { state.deadline }
    var isInterrupted: Bool { state.interrupt.isRaised }

    func failed(_ error: CUDAError, layer: Int) -> Stopped {
        if error.code != .interrupted {
            state.fail(
                EngineError(
                    error.code == .memory ? .memory : .rank, "rank \(rank) on \(device), layer \(layer): \(error)", rank: rank,
                    layer: layer))
        }
        return Stopped()
    }
}

extension EngineError {
    init(_ error: CUDAError) { self.init(error.code == .memory ? .memory : .device, error.description) }
}
