/// What one run computes.
package struct Job: @unchecked Sendable {
    // Sendable by hand for pointers to the caller's memory, which stays until the run has ended; logits are written by one rank each.
    /// The absolute positions of the chunk's tokens.
    package var positions = Positions(0..<0)
    /// Keys that the rank holds when it attends: up to its chunk's end, or all of the prompt's.
    package var keys = 0
    /// True: of all these keys the scores are computed and masked, as dense baselines do. The same bits.
    package var isDense = false
    /// Token ids from the first position on.
    package var tokens: UnsafePointer<Int32>?
    package var logits = Logits.none
    /// One token behind a sequence: nobody asks for its times.
    package var isDecode = false

    package enum Logits {
        /// Keys and values only.
        case none
        /// Of the chunk's last token, into the arena.
        case last
        /// Of all tokens, each to its position's row of [positions, vocabulary] floats.
        case all(UnsafeMutablePointer<Float>)
    }

    package init() {}
}

extension Job {
    /// What attention of some tokens of the chunk computes, with a window of so many keys (0: all).
    package func work(_ piece: Range<Int>, window: Int) -> AttentionWork {
        let rectangle = piece.count * keys
        var causal = 0
        for token in piece {
            let seen = positions[token] + 1
            causal += window > 0 ? min(window, seen) : seen
        }
        return AttentionWork(rectangle: rectangle, causal: causal, scores: isDense ? rectangle : causal)
    }
}

/// Operations that one worker of a rank runs one job after another with.
package protocol Computation: Operations {
    /// Sets the next run up.
    func prepare(_ job: Job)
    /// Runs the job: calls `forward`, or repeats what an equal job's call has asked for; returns when all of it is done.
    func compute(_ forward: () throws(Stopped) -> Void) throws(Stopped)
}
