import KVGGUF
import XCTest

import KVModel

/// Which experts a token gets, and what of a mixture's file is refused.
final class ExpertsTests: XCTestCase {
    private func choose(_ scores: [Float], _ used: Int, renormalises: Bool) -> [ExpertChoice] {
        var chosen = [ExpertChoice](repeating: ExpertChoice(expert: -1, weight: .nan), count: used)
        ExpertRoutes.choose(scores, of: scores.count, used: used, renormalises: renormalises, into: &chosen)
        return chosen
    }

    /// By score; of equal ones the first. Weights by hand: scores of ln 4, ln 2, ln 1 … have shares of 4, 2, 1.
    func testChoice() {
        let ln2: Float = 0.693147182
        let scores = [0, ln2, 2 * ln2, 0, ln2]
        for used in 1...5 {
            let shares: [Double] = [4, 2, 2, 1, 1]
            for renormalises in [true, false] {
                let chosen = choose(scores, used, renormalises: renormalises)
                XCTAssertEqual(chosen.map(\.expert), Array([2, 1, 4, 0, 3].prefix(used)))
                let sum = renormalises ? shares.prefix(used).reduce(0, +) : 10
                for (choice, share) in zip(chosen, shares) { XCTAssertEqual(Double(choice.weight), share / sum, accuracy: 1e-6) }
            }
        }
    }

    /// Scores that are no numbers, or all one, still name experts once each.
    func testFaultyScores() {
        let equal = [Float](repeating: 3, count: 6)
        for scores in [[Float](repeating: .nan, count: 6), [.infinity, -.infinity, .nan, 1, 1, 1], equal] {
            let chosen = choose(scores, 4, renormalises: true)
            XCTAssertEqual(Set(chosen.map(\.expert)).count, 4)
            XCTAssertTrue(chosen.allSatisfy { (0..<6).contains($0.expert) })
        }
        XCTAssertEqual(choose(equal, 4, renormalises: true).map(\.expert), [0, 1, 2, 3])
    }
}
