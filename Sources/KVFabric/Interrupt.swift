import Synchronization

/// Ends every wait of a run.
///
/// A flag plus a generation in one word, so that a waiter that sleeps while the flag is raised and taken down again
/// still learns of it. Waiters look at it between slices of sleep (``WaitStrategy/slice``): they need not be known
/// here.
package final class Interrupt: Sendable {
    /// Lowest bit: raised. The others: how often it was raised.
    private let word = Atomic<UInt64>(0)

    package init() {}

    package var isRaised: Bool { word.load(ordering: .acquiring) & 1 == 1 }

    /// How often it has been raised.
    package var generation: UInt64 { word.load(ordering: .acquiring) >> 1 }

    /// From any thread, any number of times.
    package func raise() {
        var seen = word.load(ordering: .relaxed)
        while seen & 1 == 0 {
            let (done, now) = word.compareExchange(
                expected: seen, desired: (seen &+ 2) | 1, ordering: .acquiringAndReleasing)
            if done { return }
            seen = now
        }
    }

    /// Takes the flag down for the next run.
    package func reset() { word.bitwiseAnd(~1, ordering: .acquiringAndReleasing) }
}
