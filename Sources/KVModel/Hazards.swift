/// Decides where a barrier is needed between operations that split their work differently.
///
/// Where two operations split an activation alike, a worker meets only what it touched itself; every other meeting of a write with a read
/// or write of the same activation needs a barrier between. All workers run the same operations, so all decide alike.
package struct Hazards {
    package init() {}

    /// How an operation's workers part an activation.
    package enum Split {
        /// Each its tokens of the piece.
        case tokens
        /// Each its rows of the matrix that made it, which are the activation's elements.
        case rows
        /// Any other way: every worker may touch everything.
        case whole
    }

    /// A set of activations, the cache, and the tokens' choices of experts.
    package struct Resources: OptionSet {
        package let rawValue: UInt32
        package static let cache = Resources(rawValue: 1 << 31)
        package static let choices = Resources(rawValue: 1 << 30)
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package init(_ activation: Activation) { rawValue = 1 << UInt32(activation.rawValue) }
    }

    /// What was touched under each split.
    private struct Touched {
        var tokens: Resources = []
        var rows: Resources = []
        var whole: Resources = []

        mutating func note(_ resources: Resources, _ split: Split) {
            switch split {
            case .tokens: tokens.formUnion(resources)
            case .rows: rows.formUnion(resources)
            case .whole: whole.formUnion(resources)
            }
        }

        /// What other workers may have touched of a worker's part under `split`.
        func byOthers(_ split: Split) -> Resources {
            switch split {
            case .tokens: rows.union(whole)
            case .rows: tokens.union(whole)
            case .whole: tokens.union(rows).union(whole)
            }
        }
    }

    private var read = Touched()
    private var written = Touched()

    /// Notes an operation; true when a barrier must come before it.
    package mutating func enter(
        reads: Resources, _ readSplit: Split, writes: Resources, _ writeSplit: Split
    ) -> Bool {
        let conflict =
            !reads.isDisjoint(with: written.byOthers(readSplit)) || !writes.isDisjoint(with: written.byOthers(writeSplit))
            || !writes.isDisjoint(with: read.byOthers(writeSplit))
        if conflict { self = Hazards() }
        read.note(reads, readSplit)
        written.note(writes, writeSplit)
        return conflict
    }

    /// Another piece begins: its tokens are other workers' than the last piece's; rows stay whose they were.
    package mutating func piece() {
        read.whole.formUnion(read.tokens)
        written.whole.formUnion(written.tokens)
        read.tokens = []
        written.tokens = []
    }
}
