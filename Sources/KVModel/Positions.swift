/// The absolute positions of a rank's tokens, ascending: one run of them, or two with a gap between (zigzag).
///
/// The tokens of a chunk are counted from 0 over both runs.
package struct Positions: Sendable, Equatable {
    package let first: Range<Int>
    /// Empty where there is one run.
    package let second: Range<Int>

    package init(_ run: Range<Int>) {
        first = run
        second = run.upperBound..<run.upperBound
    }

    /// Two runs in order; where they touch, or one is empty, they are one.
    package init(_ early: Range<Int>, _ late: Range<Int>) {
        if late.isEmpty {
            self.init(early)
        } else if early.isEmpty {
            self.init(late)
        } else if early.upperBound == late.lowerBound {
            self.init(early.lowerBound..<late.upperBound)
        } else {
            self.init(first: early, second: late)
        }
    }

    private init(first: Range<Int>, second: Range<Int>) {
        self.first = first
        self.second = second
    }

    package func shifted(by offset: Int) -> Positions {
        Positions(
            first: first.lowerBound + offset..<first.upperBound + offset,
            second: second.lowerBound + offset..<second.upperBound + offset)
    }

    package var count: Int { first.count + second.count }
    package var isEmpty: Bool { first.isEmpty }
    package var lowerBound: Int { first.lowerBound }
    /// Behind the last position.
    package var upperBound: Int { second.upperBound }

    /// The position of the chunk's token.
    package subscript(token: Int) -> Int {
        token < first.count ? first.lowerBound + token : second.lowerBound + (token - first.count)
    }
}
