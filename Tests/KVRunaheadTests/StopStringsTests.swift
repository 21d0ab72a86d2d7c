import XCTest

@testable import KVRunahead

/// Texts that end an answer are never shown, not even in part.
final class StopStringsTests: XCTestCase {
    /// What is shown of pieces, and whether a stop was found.
    private func shown(_ stops: [String], _ pieces: [String]) -> (pieces: [String], isFound: Bool) {
        var strings = StopStrings(stops)
        var result: [String] = []
        for piece in pieces where !strings.isFound { result.append(strings.append(piece)) }
        if !strings.isFound { result.append(strings.finish("")) }
        return (result, strings.isFound)
    }

    func testHeldBackUntilItCannotBeOne() {
        var result = shown(["User:"], ["Hello ", "Us", "e", "ful", " User", ": x"])
        XCTAssertEqual(result.pieces, ["Hello ", "", "", "Useful", " ", ""])
        XCTAssertTrue(result.isFound)
        result = shown(["User:"], ["an ", "Use"])
        XCTAssertEqual(result.pieces, ["an ", "", "Use"])
        XCTAssertFalse(result.isFound)
        // A beginning within a beginning.
        result = shown(["aab"], ["aaa", "b", "c"])
        XCTAssertEqual(result.pieces, ["a", ""])
        XCTAssertTrue(result.isFound)
        result = shown(["é", "\n\n"], ["e\u{301}", "\n", "x", "é!"])
        XCTAssertEqual(result.pieces.joined(), "e\u{301}\nx", "bytes, not characters that look alike")
        XCTAssertTrue(result.isFound)
        XCTAssertEqual(shown([], ["a", "b"]).pieces.joined(), "ab")
    }
}
