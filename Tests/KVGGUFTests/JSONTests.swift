import KVGGUF
import XCTest

/// Expected values are those of Python's json module.
final class JSONTests: XCTestCase {
    private func read(_ text: String) throws -> JSONValue { try read(Array(text.utf8)) }
    private func read(_ bytes: [UInt8]) throws -> JSONValue {
        try bytes.withUnsafeBytes { bytes throws(JSONSyntaxError) in try JSONValue(bytes) }
    }

    func testValues() throws {
        XCTAssertEqual(
            try read(" {\"a\" : [1, -2.5e3, true, false, null, \"\"], \"b\": {}, \"c\": []}\n"),
            .object([
                "a": .array([.integer(1), .float(-2500), .bool(true), .bool(false), .null, .string("")]), "b": .object([:]),
                "c": .array([]),
            ]))
        XCTAssertEqual(try read(#""a\"\\\/\n\t\u00e9\ud83d\ude00\ud83dx""#), .string("a\"\\/\n\té😀\u{FFFD}x"))
        XCTAssertEqual(try read("9223372036854775807"), .integer(.max))
        XCTAssertEqual(try read("9223372036854775808"), .float(0x1p63))
        XCTAssertEqual(try read("1e400"), .float(.infinity))
        // Of keys that come twice the last counts; a byte order mark is none of the text.
        XCTAssertEqual(try read("\u{FEFF}{\"a\": 1, \"a\": 2}"), .object(["a": .integer(2)]))
    }

    /// As Python writes them.
    func testNumbersThatAreNone() throws {
        XCTAssertEqual(try read("[Infinity, -Infinity]"), .array([.float(.infinity), .float(-.infinity)]))
        guard case .float(let value) = try read("NaN") else { return XCTFail("no float") }
        XCTAssertTrue(value.isNaN)
    }

    func testErrors() {
        let cases: [(text: String, line: Int, column: Int, reason: String)] = [
            ("", 1, 1, "missing"), ("{\n  \"a\": ?}", 2, 8, "expected a value"), ("[1 2]", 1, 4, "','"), ("{\"a\" 1}", 1, 6, "':'"),
            ("[1]\n\n x", 3, 2, "follows"), ("[\"abc", 1, 2, "no end"), ("{\"a\": 1,\n \"b\": 1.2.3}", 2, 7, "1.2.3"),
            ("[1,]", 1, 4, "expected a value"), ("{\"a\": 1,}", 1, 9, "string"), (#"["\x"]"#, 1, 3, "escape"),
            (#"["\u12g4"]"#, 1, 7, "hexadecimal"), ("[+1]", 1, 2, "expected a value"), ("[tru]", 1, 2, "expected a value"),
            (String(repeating: "[", count: 1 << 20), 1, 201, "deep"),
            (String(repeating: "{\"a\":", count: 1 << 18), 1, 1001, "deep"),
        ]
        for (text, line, column, reason) in cases {
            XCTAssertThrowsError(try read(text), String(text.prefix(40))) { error in
                guard let error = error as? JSONSyntaxError else { return XCTFail("\(error)") }
                XCTAssertEqual([error.line, error.column], [line, column], "\(text.prefix(40)): \(error)")
                XCTAssertTrue(error.reason.contains(reason), "\(text.prefix(40)): \(error)")
            }
        }
        XCTAssertThrowsError(try read([0x22, 0xFF, 0x22])) { XCTAssertTrue("\($0)".contains("UTF-8"), "\($0)") }
    }

    /// Many values are refused before memory is short.
    func testManyValues() throws {
        func read(_ text: String) throws -> JSONValue {
            try Array(text.utf8).withUnsafeBytes { bytes throws(JSONSyntaxError) in try JSONValue(bytes, maximumValues: 4) }
        }
        XCTAssertNoThrow(try read("[0, [0]]"))
        XCTAssertThrowsError(try read("[0, [0, 0]]")) { XCTAssertTrue("\($0)".contains("more than 4 values"), "\($0)") }
    }

    func testCheckedIntegers() {
        XCTAssertEqual(Int(checking: -2.9), -2)
        XCTAssertEqual(Int(checking: 0x1p62), 1 << 62)
        for value in [Double.nan, .infinity, -.infinity, 0x1p63, 1e30, -1e30] { XCTAssertNil(Int(checking: value)) }
        XCTAssertNil(Int.max.multiplied(by: 2))
        XCTAssertNil(Int.max.added(to: 1))
        XCTAssertEqual(3.multiplied(by: 4)?.added(to: 1), 13)
    }
}
