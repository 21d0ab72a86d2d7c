/// What the ranks of one prefill computed and exchanged, counted where it happens: the paper's figures, by rank and layer.
public struct Accounting: Sendable, Equatable {
    /// One rank's work; dot products of queries and keys are those of one query head.
    public struct Work: Sendable, Equatable {
        /// Queries times the keys that the rank holds when it attends: the paper's count.
        public var rectangle = 0
        /// Pairs of a query and a key that it sees.
        public var causal = 0
        /// Dot products computed: the rectangle in dense attention, else those seen (to the width of a kernel's tile).
        public var scores = 0
        /// Rows of keys and rows of values sent to other ranks, counted also when only a descriptor was.
        public var rows = 0

        static func + (a: Work, b: Work) -> Work {
            Work(
                rectangle: a.rectangle + b.rectangle, causal: a.causal + b.causal, scores: a.scores + b.scores,
                rows: a.rows + b.rows)
        }
    }

    /// [rank][layer]. The last layer of a generation has less: there only the prompt's last token attends.
    public let work: [[Work]]

    /// Every rank's work in one layer.
    public func layer(_ layer: Int) -> [Work] { work.map { $0.indices.contains(layer) ? $0[layer] : Work() } }

    /// Every rank's work in all layers.
    public var total: [Work] { work.map { $0.reduce(Work(), +) } }
}
