import KVCUDA
import KVFabric
import KVModel

/// What a configuration takes of one CUDA device's memory, known before anything is loaded.
package struct DevicePlan: Sendable {
    let index: Int
    let name: String
    /// Bytes: of the weights and angles, of the KV-cache, of its ranks' scratch.
    package let weights: Int
    package let cache: Int
    package let scratch: Int
    package let free: Int

    package var total: Int { weights + cache + scratch }

    /// Of each device that ranks are on.
    /// - Parameter ranks: each one's device.
    /// - Throws: `EngineError` (device) where one cannot be used, or does not say how much is free.
    static func all(
        _ model: Model, ranks: [Configuration.Device], context: Int, on cuda: CUDA
    ) throws(EngineError) -> [DevicePlan] {
        var plans: [DevicePlan] = []
        do throws(CUDAError) {
            for index in Set(ranks.compactMap(\.index)).sorted() {
                plans.append(
                    try DevicePlan(
                        model, ranks: ranks.count { $0.index == index }, context: context, on: try cuda.context(index)))
            }
        } catch { throw EngineError(error) }
        return plans
    }

    private init(_ model: Model, ranks: Int, context positions: Int, on context: DeviceContext) throws(CUDAError) {
        let geometry = model.geometry
        index = context.device.index
        name = context.device.name
        weights = DeviceWeights.bytes(of: PlainWeights(model.weights), rotaries: geometry.rotaries, positions: positions)
        cache = KVCache.bytes(geometry, type: .f16, capacity: positions)
        scratch = ranks * CUDAOperations.bytes(geometry, chunk: positions)
        free = try context.memory().free
    }

    package var text: String {
        let parts =
            "weights \(MemoryPlan.text(weights)), KV-cache \(MemoryPlan.text(cache)), scratch \(MemoryPlan.text(scratch))"
        return
            "\(Configuration.Device.cuda(index)) (\(name)) needs \(MemoryPlan.text(total)) (\(parts)) and has \(MemoryPlan.text(free)) free"
    }

    /// - Throws: `EngineError` (memory) with the plan.
    func check() throws(EngineError) {
        guard total > free else { return }
        throw EngineError(.memory, "\(text); a smaller context (-c) or fewer ranks on it take less")
    }
}

extension Opening {
    /// Of each device that ranks are on.
    /// - Throws: `EngineError` (request, device).
    package func devicePlans() throws(EngineError) -> [DevicePlan] {
        guard let cuda = devices.cuda else { return [] }
        let ranks = try devices.shared(by: placement.ranks.count)
        return try DevicePlan.all(model, ranks: ranks, context: contextLength, on: cuda)
    }
}
