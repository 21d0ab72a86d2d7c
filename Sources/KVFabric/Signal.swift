import CKVLinux
import Synchronization

/// A place to sleep: wakes its sleepers when told that something has changed.
///
/// Two 32-bit words in memory owned by someone else: a *sequence* (the futex word) and the number of *sleepers*.
/// Telling costs one load while nobody sleeps, and a system call otherwise.
///
/// No wake-up is lost, because of four accesses in the one order that all sequentially consistent accesses have:
/// the teller stores the change (1) and then loads `sleepers` (2); the sleeper adds itself to `sleepers` (3) and then
/// loads the change (4). If 2 does not see 3, then 4 comes after 1 and sees the change, so nobody sleeps. If 2 does
/// see 3, the sequence moves on, and a futex asleep on the old sequence wakes, or never falls asleep.
/// So the condition has to be stored, and looked at, with `.sequentiallyConsistent`.
package struct Signal: @unchecked Sendable {
    // Sendable by hand for pointers: what they point to is atomic.
    package static let bytes = 8

    private let sequence: SharedWord32
    private let sleepers: SharedWord32
    private let isShared: Bool

    /// - Parameters:
    ///   - memory: 8 zeroed bytes, aligned to 8.
    ///   - isShared: sleepers may be in other processes.
    package init(at memory: UnsafeMutableRawPointer, isShared: Bool) {
        sequence = memory.word32(at: 0)
        sleepers = memory.word32(at: 4)
        self.isShared = isShared
    }

    /// Wakes all sleepers; to be called after the change was stored.
    package func notify() {
        guard sleepers.pointee.load(ordering: .sequentiallyConsistent) != 0 else { return }
        sequence.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        ckv_futex_wake_all(sequence, isShared ? 1 : 0)
    }

    /// From here to `leave` the tellers know of this sleeper.
    func enter() { sleepers.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent) }
    func leave() { sleepers.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent) }

    /// What `sleep` compares with; to be taken before the condition is looked at.
    func ticket() -> UInt32 { sequence.pointee.load(ordering: .sequentiallyConsistent) }

    /// Sleeps until told, unless that has happened since the ticket was taken; at most this long.
    func sleep(_ ticket: UInt32, nanoseconds: UInt64) {
        ckv_futex_wait(sequence, ticket, nanoseconds, isShared ? 1 : 0)
    }
}
