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
    /// Hidden rows are looked through behind every layer for values that are no numbers (see `Arena.faultyLayer`). Slower.
    package var locates = false
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

/// A chunk's tokens, some at a time.
package struct Pieces: Sendable {
    private let size: Int
    /// Tokens (of the chunk) still worked on.
    private var tokens = 0..<0
    /// Those of the current piece.
    package private(set) var piece = 0..<0

    /// - Parameter size: the most tokens of a piece.
    package init(of size: Int) { self.size = size }

    package var count: Int { (tokens.count + size - 1) / size }

    /// Goes on with these tokens alone; there is no piece yet.
    package mutating func keep(_ tokens: Range<Int>) { self.tokens = tokens }

    package mutating func begin(_ index: Int) {
        let first = tokens.lowerBound + index * size
        piece = first..<min(first + size, tokens.upperBound)
    }
}

/// Operations that one worker of a rank runs one job after another with.
package protocol Computation: Operations {
    var job: Job { get }
    var chunk: Pieces { get set }
    /// Sets the next run up.
    func prepare(_ job: Job)
    /// Runs the job: calls `forward`, or repeats what an equal job's call has asked for; returns when all of it is done.
    func compute(_ forward: () throws(Stopped) -> Void) throws(Stopped)
}

extension Computation {
    package var pieces: Int { chunk.count }
    /// Tokens of the chunk.
    package var piece: Range<Int> { chunk.piece }

    package var prunesLastLayer: Bool {
        if case .all = job.logits { false } else { true }
    }

    package func keepLogitsTokens() {
        switch job.logits {
        case .all: break
        case .last: chunk.keep(job.positions.count - 1..<job.positions.count)
        case .none: chunk.keep(0..<0)
        }
    }
}
