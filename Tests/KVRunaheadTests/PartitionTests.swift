import XCTest

import KVRunahead

final class PartitionTests: XCTestCase {
    /// Numbers whose sums are beyond all numbers, and those that are none.
    func testValuesFromOutside() throws {
        let large = Partition.ratios([1e308, 1e308, 1e308])
        XCTAssertEqual(try large.chunks(of: 9, ranks: 3).map(\.count), [3, 3, 3])
        XCTAssertEqual(
            try Partition.ratios([.leastNonzeroMagnitude, .leastNonzeroMagnitude]).chunks(of: 8, ranks: 2).map(\.count), [4, 4])
        for ratios in [[Double.nan, 1], [.infinity, 1], [-1, 2], [0, 0]] {
            XCTAssertThrowsError(try Partition.ratios(ratios).chunks(of: 8, ranks: 2), "\(ratios)")
        }
        for sizes in [[-1, 9], [.max, .max], [.min, 8]] {
            XCTAssertThrowsError(try Partition.tokens(sizes).chunks(of: 8, ranks: 2), "\(sizes)")
        }
    }

    func testParsing() throws {
        XCTAssertEqual(try Partition(parsing: "even"), .even)
        XCTAssertEqual(try Partition(parsing: "400,300,200"), .tokens([400, 300, 200]))
        XCTAssertEqual(try Partition(parsing: "0.4, 0.33,0.27"), .ratios([0.4, 0.33, 0.27]))
        XCTAssertEqual(try Partition(parsing: "7"), .tokens([7]))
        for text in ["", "evn", "1,,2", "a,b", "-1,2", "0.5,-0.5", "0.0,0.0", "nan,1.5", "inf,1.0", "1,2,"] {
            XCTAssertThrowsError(try Partition(parsing: text), text) { error in
                XCTAssertEqual((error as? EngineError)?.code, .request)
                XCTAssertTrue("\(error)".contains("\"\(text)\""), "\(error) does not name the value")
            }
        }
    }

    /// Every partition covers the prompt in order, whatever the rounding.
    func testChunksCoverThePrompt() throws {
        var random = SplitMix64(seed: 4)
        for _ in 0..<2000 {
            let ranks = Int.random(in: 1...64, using: &random)
            let tokens = Int.random(in: 0...20_000, using: &random)
            let ratios = (0..<ranks).map { _ in Double.random(in: 0.001...1, using: &random) }
            for partition in [Partition.even, .ratios(ratios)] {
                let chunks = try partition.chunks(of: tokens, ranks: ranks)
                XCTAssertEqual(chunks.count, ranks)
                var end = 0
                for chunk in chunks {
                    XCTAssertEqual(chunk.lowerBound, end)
                    end = chunk.upperBound
                }
                XCTAssertEqual(end, tokens)
            }
            let even = try Partition.even.chunks(of: tokens, ranks: ranks).map(\.count)
            XCTAssertLessThanOrEqual((even.max() ?? 0) - (even.min() ?? 0), 1)
        }
    }

    func testRatiosRound() throws {
        let chunks = try Partition.ratios([0.4, 0.33, 0.27]).chunks(of: 1000, ranks: 3)
        XCTAssertEqual(chunks.map(\.count), [400, 330, 270])
    }

    func testMismatches() {
        for (partition, tokens, ranks) in [
            (Partition.tokens([4, 3]), 8, 2), (.tokens([4, 3, 1]), 8, 2), (.ratios([1]), 8, 2), (.tokens([.max, .max]), 8, 2),
        ] {
            XCTAssertThrowsError(try partition.chunks(of: tokens, ranks: ranks)) { error in
                XCTAssertEqual((error as? EngineError)?.code, .request)
            }
        }
    }
}
