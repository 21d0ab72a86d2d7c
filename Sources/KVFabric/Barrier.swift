import Synchronization

/// Holds `count` workers until all have come.
///
/// A count of arrivals and a generation, on lines of their own. What any worker wrote before it came is visible to all
/// after they left: arrivals are acquire-release read-modify-writes on one word, so the last to come has seen
/// everyone's writes, and the new generation, stored with release and loaded with acquire (as part of sequentially
/// consistent accesses), hands them to the others. Never allocates.
package final class Barrier: @unchecked Sendable {
    // Sendable by hand for the pointer: what it points to is atomic words, everything else is constant.
    package let count: Int
    private let strategy: WaitStrategy
    /// Line 0 arrivals, line 1 generation and signal.
    private let lines: Lines
    private let arrived: SharedWord32
    private let generation: SharedWord32
    private let signal: Signal

    /// Cache lines that a barrier takes.
    package static let lines = 2

    /// - Parameter lines: ``lines`` of them, where the workers are of several processes; nil: of its own, for this one.
    package init(count: Int, wait strategy: WaitStrategy, in lines: Lines? = nil) {
        self.count = max(1, count)
        self.strategy = strategy
        self.lines = lines ?? Lines(Self.lines)
        let base = self.lines.base
        arrived = base.word32(at: 0)
        generation = base.word32(at: CacheLine.bytes)
        signal = Signal(at: base + CacheLine.bytes + 8, isShared: self.lines.isShared)
    }

    /// Returns when all have come.
    ///
    /// - Throws: `.interrupted` or `.deadline`; from then on the barrier lacks an arrival and lets nobody through until
    ///   ``reset()``. Whoever gives up on a deadline should raise the interrupt, so that the others need not wait for
    ///   theirs.
    package func wait(_ interrupt: Interrupt, deadline: UInt64) throws(FabricError) {
        if interrupt.isRaised { throw .interrupted }
        let mine = generation.pointee.load(ordering: .acquiring)
        let (_, arrivals) = arrived.pointee.wrappingAdd(1, ordering: .acquiringAndReleasing)
        if Int(arrivals) == count {
            // Nobody comes before the generation moves on, so the order of these two matters and no more.
            arrived.pointee.store(0, ordering: .relaxed)
            generation.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
            signal.notify()
            return
        }
        try strategy.wait(
            on: signal, until: { self.generation.pointee.load(ordering: .sequentiallyConsistent) != mine },
            deadline: deadline, interrupt: interrupt, what: "barrier")
    }

    /// Forgets the arrivals that an interrupted run left. Only while nobody waits.
    package func reset() { arrived.pointee.store(0, ordering: .releasing) }
}
