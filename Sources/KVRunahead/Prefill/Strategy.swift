package import KVModel

extension Configuration.Strategy {
    /// True where ranks exchange keys and values with all others in every layer, and cut prompts evenly.
    package var gathers: Bool {
        switch self {
        case .sequential, .runahead: false
        case .tsp, .tspCausal, .zigzag: true
        }
    }

    /// Each rank's positions of a prompt, some perhaps empty.
    /// - Throws: `EngineError` (request) where the partition does not suit the strategy, the ranks or the prompt.
    package func positions(
        of tokens: Int, ranks: Int, partition: Partition, planned: [Int]?
    ) throws(EngineError) -> [Positions] {
        try check(partition)
        switch self {
        case .sequential:
            return [Positions(0..<tokens)] + [Positions](repeating: Positions(tokens..<tokens), count: ranks - 1)
        case .runahead, .tsp, .tspCausal:
            return try partition.chunks(of: tokens, ranks: ranks, planned: planned).map { Positions($0) }
        case .zigzag:
            // A cheap early piece and a dear late one for everyone.
            let pieces = try Partition.even.chunks(of: tokens, ranks: 2 * ranks)
            return (0..<ranks).map { Positions(pieces[$0], pieces[2 * ranks - 1 - $0]) }
        }
    }

    /// - Throws: `EngineError` (request) naming both where the strategy only knows even chunks.
    package func check(_ partition: Partition) throws(EngineError) {
        guard gathers, partition != .even, partition != .auto else { return }
        let text =
            switch partition {
            case .tokens(let sizes): sizes.map(String.init).joined(separator: ",")
            case .ratios(let ratios): ratios.map { "\($0)" }.joined(separator: ",")
            default: "\(partition)"
            }
        throw EngineError(
            .request, "strategy \(rawValue) cuts prompts evenly; the partition \(text) is for the strategy runahead")
    }
}
