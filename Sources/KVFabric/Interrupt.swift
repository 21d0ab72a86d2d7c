import Synchronization

/// Ends every wait of a run.
///
/// A flag plus a generation in one word, so that a waiter that sleeps while the flag is raised and taken down again
/// still learns of it. Waiters look at it between slices of sleep (``WaitStrategy/slice``): they need not be known
/// here, nor be of this process if the word lies in memory that others share.
package final class Interrupt: @unchecked Sendable {
    // Sendable by hand for the pointer: what it points to is atomic.
    private let lines: Lines
    /// Lowest bit: raised. The others: how often it was raised.
    private let word: SharedWord64

    /// - Parameter lines: one; nil: of its own, for this process.
    package init(in lines: Lines? = nil) {
        self.lines = lines ?? Lines(1)
        word = self.lines.base.word64(at: 0)
    }

    package var isRaised: Bool { word.pointee.load(ordering: .acquiring) & 1 == 1 }

    /// How often it has been raised.
    package var generation: UInt64 { word.pointee.load(ordering: .acquiring) >> 1 }

    /// From any thread, any number of times.
    package func raise() {
        var seen = word.pointee.load(ordering: .relaxed)
        while seen & 1 == 0 {
            let (done, now) = word.pointee.compareExchange(
                expected: seen, desired: (seen &+ 2) | 1, ordering: .acquiringAndReleasing)
            if done { return }
            seen = now
        }
    }

    /// Takes the flag down for the next run.
    package func reset() { word.pointee.bitwiseAnd(~1, ordering: .acquiringAndReleasing) }
}
