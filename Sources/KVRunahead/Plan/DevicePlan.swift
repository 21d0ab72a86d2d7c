import KVCUDA
import KVFabric
import KVModel

/// What a configuration takes of one CUDA device's memory, known before anything is loaded.
package struct DevicePlan: Sendable {
    package let device: Configuration.Device
    package let name: String
    /// Bytes: of the weights and angles, of the KV-cache, of its ranks' scratch.
    package let weights: Int
    package let cache: Int
    package let scratch: Int
    package let free: Int

    package var total: Int { weights + cache + scratch }

    /// - Parameter ranks: that share the device.
    /// - Throws: `CUDAError` where the device does not say how much is free.
    init(_ model: Model, ranks: Int, context positions: Int, on context: DeviceContext) throws(CUDAError) {
        let geometry = model.geometry
        device = .cuda(context.device.index)
        name = context.device.name
        weights = DeviceWeights.bytes(of: PlainWeights(model.weights), rotaries: geometry.rotaries, positions: positions)
        cache = KVCache.bytes(geometry, type: .f16, capacity: positions)
        scratch = ranks * CUDAOperations.bytes(geometry, chunk: positions)
        free = try context.memory().free
    }

    package var text: String {
        let parts =
            "weights \(MemoryPlan.text(weights)), KV-cache \(MemoryPlan.text(cache)), scratch \(MemoryPlan.text(scratch))"
        return "\(device) (\(name)) needs \(MemoryPlan.text(total)) (\(parts)) and has \(MemoryPlan.text(free)) free"
    }

    /// - Throws: `EngineError` (memory) with the plan.
    func check() throws(EngineError) {
        guard total > free else { return }
        throw EngineError(.memory, "\(text); a smaller context (-c) or fewer ranks on it take less")
    }
}

extension Opening {
    /// Of each device that ranks are on.
    /// - Throws: `EngineError` (device).
    package func devicePlans() throws(EngineError) -> [DevicePlan] {
        guard let cuda = devices.cuda else { return [] }
        let ranks = try devices.shared(by: placement.ranks.count)
        var plans: [DevicePlan] = []
        do {
            for device in Set(ranks).sorted(by: { "\($0)" < "\($1)" }) {
                guard case .cuda(let index) = device else { continue }
                plans.append(
                    try DevicePlan(
                        model, ranks: ranks.count { $0 == device }, context: contextLength, on: try cuda.context(index)))
            }
        } catch { throw DeviceRanks.error(error) }
        return plans
    }
}
