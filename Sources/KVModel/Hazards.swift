/// Decides where a barrier is needed between operations that split their work differently.
///
/// Operations split by tokens give a worker the same tokens each time, so a chain of them needs none; every other meeting of a write
/// with a read or write of the same activation does. All workers run the same operations, so all decide alike.
package struct Hazards {
    package init() {}
    package enum Split { case tokens, other }

    /// A set of activations, and the cache.
    package struct Resources: OptionSet {
        package let rawValue: UInt32
        package static let cache = Resources(rawValue: 1 << 31)
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        package init(_ activation: Activation) { rawValue = 1 << UInt32(activation.rawValue) }
    }

    private var tokensRead: Resources = []
    private var tokensWritten: Resources = []
    private var otherRead: Resources = []
    private var otherWritten: Resources = []

    /// Notes an operation; true when a barrier must come before it.
    package mutating func enter(_ split: Split, reads: Resources, writes: Resources) -> Bool {
        var touched = otherWritten
        var read = otherRead
        if split == .other {
            touched.formUnion(tokensWritten)
            read.formUnion(tokensRead)
        }
        let conflict =
            !reads.isDisjoint(with: touched) || !writes.isDisjoint(with: touched) || !writes.isDisjoint(with: read)
        if conflict { self = Hazards() }
        switch split {
        case .tokens:
            tokensRead.formUnion(reads)
            tokensWritten.formUnion(writes)
        case .other:
            otherRead.formUnion(reads)
            otherWritten.formUnion(writes)
        }
        return conflict
    }

    /// Another piece begins: its tokens are other workers' than the last piece's.
    package mutating func piece() {
        otherRead.formUnion(tokensRead)
        otherWritten.formUnion(tokensWritten)
        tokensRead = []
        tokensWritten = []
    }
}
