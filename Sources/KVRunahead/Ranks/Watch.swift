import KVFabric
import Synchronization

/// How far each rank has come, and that it lives, for whoever watches it from another process.
final class Watch: @unchecked Sendable {
    // Sendable by hand for pointers: what they point to is atomic.
    private let lines: Lines

    /// - Parameter lines: one for each rank.
    init(in lines: Lines) { self.lines = lines }

    /// The layer that a rank has begun, counted from 1; 0: none of the run at hand.
    func layer(_ rank: Int) -> SharedWord32 { (lines.base + rank * CacheLine.bytes).word32(at: 0) }

    /// 1 once a rank's process has come.
    func came(_ rank: Int) -> SharedWord32 { (lines.base + rank * CacheLine.bytes).word32(at: 4) }

    /// When a rank's process was last at work (`MonotonicClock`); 0: it has not begun.
    func beat(_ rank: Int) -> SharedWord64 { (lines.base + rank * CacheLine.bytes).word64(at: 8) }

    /// Between runs.
    func reset(ranks: Int) {
        for rank in 0..<ranks { layer(rank).pointee.store(0, ordering: .relaxed) }
    }
}
