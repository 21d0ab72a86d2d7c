import Foundation
import XCTest

import KVFabric

/// What the system lets a process have is asked before it is needed.
final class ProcessLimitsTests: XCTestCase {
    func testThreads() throws {
        XCTAssertNoThrow(try ProcessLimits.require(threads: 8, for: "a test"))
        XCTAssertNoThrow(try ProcessLimits.require(threads: 0, for: "a test"))
    }
}
