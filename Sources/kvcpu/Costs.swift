import KVRunahead

extension Ranks {
    /// What tokens and links cost here, from a few timed chunks.
    ///
    /// Timed anew, up to three times in all, where they tell nothing: a neighbour that comes or goes in their middle spoils them.
    /// - Throws: `Failure` when they never do; `EngineError`.
    func costs(limit: Double = Ranks.calibrationLimit, _ isCancelled: () -> Bool) throws -> LayerCosts {
        for _ in 0..<3 {
            if let costs = try calibrate(limit: limit, progress: { _ in if isCancelled() { cancel() } }) { return costs }
        }
        throw Failure.run("the timings of a few chunks did not tell what tokens cost; run again on a quieter machine")
    }
}
