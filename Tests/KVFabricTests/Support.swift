import Foundation
import KVFabric
import XCTest

/// A deadline that no test meets unless something hangs.
var patience: UInt64 { MonotonicClock.deadline(after: 60) }

/// Runs the body on `count` threads of their own, all at once, and waits for their end.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for index in 0..<count {
        group.enter()
        let thread = Thread {
            body(index)
            group.leave()
        }
        thread.start()
    }
    group.wait()
}

/// Errors and findings that threads leave for the test that started them.
final class Findings: @unchecked Sendable {
    private let lock = NSLock()
    private var texts: [String] = []

    func add(_ text: String) { lock.withLock { texts.append(text) } }

    var all: [String] { lock.withLock { texts } }

    /// Runs the body and keeps its error.
    func record(_ what: String, _ body: () throws -> Void) {
        do { try body() } catch { add("\(what): \(error)") }
    }
}

func assertThrows(
    _ expected: FabricError, file: StaticString = #filePath, line: UInt = #line, _ body: () throws -> Void
) {
    XCTAssertThrowsError(try body(), file: file, line: line) { error in
        XCTAssertEqual(error as? FabricError, expected, file: file, line: line)
    }
}

/// SplitMix64: seeded, so that a failure can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
