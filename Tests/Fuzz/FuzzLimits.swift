/// What one input may take. CPU time counts, so that a busy machine is no hang; so does a wait that never ends.
enum FuzzLimits {
    static let cpuSeconds = 10.0
    static let waitSeconds = 60.0
    /// Bytes in memory.
    static let memory = 2 << 30
}
