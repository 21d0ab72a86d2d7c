import CKVLinux
import Glibc

/// How a thread waits for another: look, look again between pauses, then sleep in the kernel.
///
/// Looking is fastest and costs a core; it pays only where every waiter has a CPU of its own. So `spins` is 0 as soon
/// as workers share CPUs, where the one waited for may need this very CPU.
///
/// A neighbour that nobody knew of is another matter: who sleeps hands it the CPU, and a kernel that does not preempt for
/// a wake-up (EEVDF) lets it keep that for a whole slice, several milliseconds, at every barrier. So waiters with a CPU
/// each look for longer than the way between two barriers takes, and give up soon after. Decode beside a busy loop
/// takes 2.5 times as long as alone then, and 9 times when it sleeps at once.
package struct WaitStrategy: Sendable, Equatable {
    /// Looks before the first sleep, each followed by a pause of some 20 to 60 ns.
    package var spins: Int

    package init(spins: Int) { self.spins = max(0, spins) }

    /// For workers with a CPU each: some 100 µs, longer than the way between two jobs of decode.
    package static let spinning = WaitStrategy(spins: 2048)

    /// For workers that share CPUs: sleep at once, so that the one waited for can run.
    package static let sleeping = WaitStrategy(spins: 0)

    /// The one that suits a placement.
    package init(oversubscribed: Bool) { self = oversubscribed ? .sleeping : .spinning }

    /// The longest sleep before interrupt, deadline and peer are looked at again, in nanoseconds.
    package static let slice: UInt64 = 20_000_000

    /// Waits until the condition holds.
    ///
    /// - Parameters:
    ///   - signal: told by whoever makes the condition true.
    ///   - isReady: cheap, and looks at what it depends on with `.sequentiallyConsistent` (see ``Signal``).
    ///   - deadline: on ``MonotonicClock``.
    ///   - interrupt: nil for waits that no run is concerned with; they sleep in one piece.
    ///   - what: names the wait in the error.
    /// - Throws: `.interrupted` or `.deadline`. A raised interrupt ends even a wait whose condition holds, so that a
    ///   run stops at its next wait.
    package func wait(
        on signal: Signal, until isReady: () -> Bool, deadline: UInt64, interrupt: Interrupt?, what: StaticString
    ) throws(FabricError) {
        try wait(
            on: signal, until: isReady, deadline: deadline, interrupt: interrupt, what: what,
            slice: interrupt == nil ? .max : Self.slice, trouble: { nil })
    }

    /// The same, and looks at `trouble` once a slice: an error from it ends the wait.
    package func wait(
        on signal: Signal, until isReady: () -> Bool, deadline: UInt64, interrupt: Interrupt?, what: StaticString,
        slice: UInt64 = Self.slice, trouble: () -> FabricError?
    ) throws(FabricError) {
        let generation = interrupt?.generation ?? 0
        if let interrupt, interrupt.isRaised { throw .interrupted }
        if isReady() { return }
        for spin in 0..<spins {
            ckv_pause()
            if isReady() { return }
            if spin % 64 == 63, let interrupt, interrupt.generation != generation { throw .interrupted }
        }

        signal.enter()
        defer { signal.leave() }
        while true {
            let ticket = signal.ticket()
            if isReady() { return }
            if let interrupt, interrupt.generation != generation { throw .interrupted }
            let now = MonotonicClock.now
            if now >= deadline { throw .deadline(what.description) }
            if let error = trouble() {
                // What came before the trouble still counts.
                if isReady() { return }
                throw error
            }
            let rest = deadline == MonotonicClock.never ? .max : deadline - now
            signal.sleep(ticket, nanoseconds: min(rest, slice))
        }
    }

    /// Waits for a moment on ``MonotonicClock``: asleep, and where waiting spins, looking for its last tenth of a millisecond, by which
    /// the kernel may be late.
    ///
    /// - Throws: `.interrupted` or `.deadline`.
    package func wait(
        for time: UInt64, deadline: UInt64, interrupt: Interrupt, what: StaticString
    ) throws(FabricError) {
        let generation = interrupt.generation
        let looking: UInt64 = spins > 0 ? 100_000 : 0
        while true {
            if interrupt.isRaised || interrupt.generation != generation { throw .interrupted }
            let now = MonotonicClock.now
            if now >= time { return }
            if now >= deadline { throw .deadline(what.description) }
            let rest = min(time, deadline) - now
            if rest <= looking {
                for _ in 0..<16 { ckv_pause() }
                continue
            }
            var sleep = timespec(tv_sec: 0, tv_nsec: Int(min(rest - looking, Self.slice)))
            nanosleep(&sleep, nil)
        }
    }
}
