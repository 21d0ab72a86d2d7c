import XCTest

import KVModel

/// Where barriers fall: derived by hand from who writes and reads what.
final class HazardsTests: XCTestCase {
    func testTokenChainsNeedNoBarrier() {
        var hazards = Hazards()
        XCTAssertFalse(hazards.enter(.tokens, reads: .init(.hidden), writes: .init(.normed)))
        XCTAssertFalse(hazards.enter(.tokens, reads: .init(.normed), writes: .init(.normed)))
        XCTAssertFalse(hazards.enter(.tokens, reads: [.init(.key), .init(.value)], writes: .cache))
    }

    func testProductsReadWhatOthersWrote() {
        var hazards = Hazards()
        XCTAssertFalse(hazards.enter(.tokens, reads: .init(.hidden), writes: .init(.normed)))
        XCTAssertTrue(hazards.enter(.other, reads: .init(.normed), writes: .init(.query)))
        XCTAssertFalse(hazards.enter(.other, reads: .init(.normed), writes: .init(.key)))
        XCTAssertTrue(hazards.enter(.tokens, reads: [], writes: .init(.key)), "rotation needs all rows of the product")
    }

    func testOverwritingWhatOthersRead() {
        var hazards = Hazards()
        XCTAssertFalse(hazards.enter(.other, reads: .init(.normed), writes: .init(.gate)))
        XCTAssertTrue(hazards.enter(.tokens, reads: .init(.hidden), writes: .init(.normed)))
    }

    func testAnotherPieceHasOtherOwners() {
        var hazards = Hazards()
        XCTAssertFalse(hazards.enter(.tokens, reads: .init(.key), writes: .cache))
        hazards.piece()
        XCTAssertTrue(hazards.enter(.tokens, reads: .init(.hidden), writes: .init(.key)))
    }
}
