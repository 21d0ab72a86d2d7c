import XCTest

import KVModel

/// Where barriers fall: derived by hand from who writes and reads what.
final class HazardsTests: XCTestCase {
    /// A matrix product: reads all of its input, writes each worker's rows.
    private func product(_ hazards: inout Hazards, _ input: Activation, _ output: Activation) -> Bool {
        hazards.enter(reads: .init(input), .whole, writes: .init(output), .rows)
    }

    private func alike(
        _ hazards: inout Hazards, _ split: Hazards.Split, _ reads: Hazards.Resources, _ writes: Hazards.Resources
    ) -> Bool {
        hazards.enter(reads: reads, split, writes: writes, split)
    }

    func testChainsOfOneSplitNeedNoBarrier() {
        for split in [Hazards.Split.tokens, .rows] {
            var hazards = Hazards()
            XCTAssertFalse(alike(&hazards, split, .init(.hidden), .init(.normed)))
            XCTAssertFalse(alike(&hazards, split, .init(.normed), .init(.normed)))
            XCTAssertFalse(alike(&hazards, split, [.init(.key), .init(.value)], .cache))
        }
        var hazards = Hazards()
        XCTAssertFalse(alike(&hazards, .whole, [], .init(.attended)))
        XCTAssertTrue(alike(&hazards, .whole, .init(.attended), []), "every worker may read what another wrote")
    }

    func testProductsReadWhatOthersWrote() {
        var hazards = Hazards()
        XCTAssertFalse(alike(&hazards, .tokens, .init(.hidden), .init(.normed)))
        XCTAssertTrue(product(&hazards, .normed, .query))
        XCTAssertFalse(product(&hazards, .normed, .key))
        XCTAssertFalse(alike(&hazards, .rows, [], .init(.key)), "rows stay with their worker")
        XCTAssertTrue(alike(&hazards, .tokens, [], .init(.key)), "a token's rotation needs all rows of the product")
        XCTAssertTrue(alike(&hazards, .whole, .init(.key), []))
    }

    func testOverwritingWhatOthersRead() {
        var hazards = Hazards()
        XCTAssertFalse(product(&hazards, .normed, .gate))
        XCTAssertTrue(alike(&hazards, .tokens, .init(.hidden), .init(.normed)))
    }

    /// What every worker computes for itself is nobody else's business, but what it reads is.
    func testReplicas() {
        var hazards = Hazards()
        XCTAssertFalse(product(&hazards, .gate, .hidden))
        XCTAssertTrue(alike(&hazards, .whole, .init(.hidden), []))
        XCTAssertFalse(hazards.enter(reads: [], .whole, writes: .init(.gate), .rows))
        XCTAssertTrue(product(&hazards, .gate, .hidden))
    }

    func testAnotherPieceHasOtherOwners() {
        var hazards = Hazards()
        XCTAssertFalse(alike(&hazards, .tokens, .init(.key), .cache))
        hazards.piece()
        XCTAssertTrue(alike(&hazards, .tokens, .init(.hidden), .init(.key)))
        XCTAssertFalse(alike(&hazards, .rows, [], .init(.query)))
        hazards.piece()
        XCTAssertFalse(alike(&hazards, .rows, [], .init(.query)), "rows are the same in every piece")
    }
}
