import CKVLinux

/// The clock of every deadline: nanoseconds of CLOCK_MONOTONIC, the same for all processes of the machine.
package enum MonotonicClock {
    package static var now: UInt64 { ckv_monotonic_ns() }

    /// The moment this many seconds from now; ``never`` if that is beyond the clock's range. NaN counts as 0.
    package static func deadline(after seconds: Double) -> UInt64 {
        let nanoseconds = max(0, seconds) * 1e9
        guard nanoseconds < Double(UInt64.max / 2) else { return never }
        return now &+ UInt64(nanoseconds)
    }

    /// A deadline that does not come: only for waits that something else is sure to end.
    package static let never = UInt64.max
}
