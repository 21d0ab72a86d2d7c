import KVFabric
import XCTest

final class CPUListTests: XCTestCase {
    func testReads() {
        let cases: [(String, [Int])] = [
            ("0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11]), ("0", [0]), ("", []), ("\n", []), ("5-5\n", [5]),
            ("7,1, 3", [1, 3, 7]), ("1-2,2-3", [1, 2, 3]), ("65535", [65_535]),
        ]
        for (text, ids) in cases { XCTAssertEqual(CPUList(text)?.ids, ids, text) }
    }

    func testRefuses() {
        for text in [
            "a", "1-", "-1", "3-1", "1,,2", ",", "1,", "1-2-3", "0x1", "1 2", "65536", "1.0", "٣", "+1",
            "99999999999999999999", "0-65536",
        ] {
            XCTAssertNil(CPUList(text), text)
        }
    }

    func testWrites() {
        XCTAssertEqual(CPUList([0, 1, 2, 3, 8, 10, 11]).description, "0-3,8,10-11")
        XCTAssertEqual(CPUList([4, 1, 6]).description, "1,4,6")
        XCTAssertEqual(CPUList([Int]()).description, "")
    }

    func testWhatIsWrittenReadsBack() {
        var generator = SeededGenerator(state: 1)
        for _ in 0..<200 {
            let list = CPUList(
                (0..<Int.random(in: 0...20, using: &generator)).map { _ in
                    Int.random(in: 0...30, using: &generator)
                })
            XCTAssertEqual(CPUList(list.description), list)
        }
    }
}
