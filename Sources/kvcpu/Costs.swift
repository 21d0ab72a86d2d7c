import KVRunahead

extension Ranks {
    /// What tokens and links cost here, from a few timed chunks.
    /// - Throws: `Failure` where the model has one layer; `EngineError`.
    func costs(limit: Double = Ranks.calibrationLimit, _ isCancelled: () -> Bool) throws -> LayerCosts {
        guard let costs = try calibrate(limit: limit, progress: { _ in if isCancelled() { cancel() } }) else {
            throw Failure.run("what tokens cost cannot be timed on one layer")
        }
        return costs
    }
}
