import CKVLinux
import Glibc
import Synchronization

/// One side of a ring as the other side sees it: who it is, whether it has closed, when it last showed a sign of life.
/// Written by that side alone.
struct RingParty: @unchecked Sendable {
    // Sendable by hand for pointers into shared memory: what changes there is atomic words, the rest is constant.
    private let role: String
    private let pid: SharedWord32
    private let closed: SharedWord32
    private let startTime: SharedWord64
    private let heartbeat: SharedWord64

    init(at memory: UnsafeMutableRawPointer, role: String) {
        self.role = role
        pid = memory.word32(at: 0)
        closed = memory.word32(at: 4)
        startTime = memory.word64(at: 8)
        heartbeat = memory.word64(at: 16)
    }

    /// Takes the role for this process; there is one producer and one consumer in a ring's life.
    func claim() throws(FabricError) {
        beat()
        let me = UInt32(bitPattern: getpid())
        let (taken, owner) = pid.pointee.compareExchange(expected: 0, desired: me, ordering: .acquiringAndReleasing)
        guard taken else { throw .busy("the ring's role of \(role), held by process \(owner),") }
        startTime.pointee.store(ckv_process_start_time(getpid()), ordering: .releasing)
    }

    /// Takes the role over from whoever had it. The two sides settle when, as between runs.
    func take() {
        beat()
        // No start time while the process changes: see `trouble`.
        startTime.pointee.store(0, ordering: .sequentiallyConsistent)
        pid.pointee.store(UInt32(bitPattern: Self.me.pid), ordering: .sequentiallyConsistent)
        startTime.pointee.store(Self.me.startTime, ordering: .releasing)
    }

    /// Once a process: its start time comes from a file.
    private static let me = (pid: getpid(), startTime: ckv_process_start_time(getpid()))

    func beat() { heartbeat.pointee.store(MonotonicClock.now, ordering: .relaxed) }

    func close() { closed.pointee.store(1, ordering: .sequentiallyConsistent) }

    var isClosed: Bool { closed.pointee.load(ordering: .sequentiallyConsistent) != 0 }

    var closedError: FabricError { .peerGone("the \(role) closed the ring") }

    /// Why nothing more is to be expected of this side, or nil. A side that has not come yet is waited for.
    /// - Parameter silence: nanoseconds without a heartbeat after which it counts as dead; nil: however long.
    func trouble(silence: UInt64?) -> FabricError? {
        let started = startTime.pointee.load(ordering: .acquiring)
        let owner = Int32(bitPattern: pid.pointee.load(ordering: .acquiring))
        guard owner != 0 else { return nil }
        // The same before and after: the two belong together, nobody is taking the role over.
        let isSettled = started != 0 && startTime.pointee.load(ordering: .acquiring) == started
        if owner != getpid(), isSettled, ckv_process_start_time(owner) != started {
            return .peerGone("the \(role), process \(owner), ended")
        }
        let beat = heartbeat.pointee.load(ordering: .relaxed)
        let now = MonotonicClock.now
        if let silence, now > beat, now - beat > silence {
            return .peerGone("no sign of life from the \(role) for \((now - beat) / 1_000_000) ms")
        }
        return nil
    }
}
