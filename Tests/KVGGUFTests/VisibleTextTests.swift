import KVGGUF
import XCTest

final class VisibleTextTests: XCTestCase {
    func testControlsAreShown() {
        for (text, shown) in [
            ("plain, äöü, 漢字, 👩‍👩‍👧\n\tb", "plain, äöü, 漢字, 👩‍👩‍👧\n\tb"), ("\u{1B}]0;x\u{7}", "\\u001b]0;x\\u0007"),
            ("a\0b", "a\\u0000b"), ("\u{7F}\u{80}\u{9B}31m\u{9F}\u{A0}", "\\u007f\\u0080\\u009b31m\\u009f\u{A0}"),
            ("one\r\ntwo\rthree\r", "one\ntwo\\u000dthree\\u000d"), ("\u{8}\u{B}\u{C}", "\\u0008\\u000b\\u000c"),
            ("e\u{301}\u{1B}\u{301}", "e\u{301}\\u001b\u{301}"), ("", ""),
        ] {
            for bidi in [true, false] {
                XCTAssertEqual(Array(text.visible(bidi: bidi).utf8), Array(shown.utf8), text.debugDescription)
            }
        }
    }

    func testOrderOfCharactersIsKept() {
        let turned = "a\u{202E}b\u{2066}c\u{200F}d\u{61C}e\u{2028}"
        XCTAssertEqual(turned.visible(), "a\\u202eb\\u2066c\\u200fd\\u061ce\u{2028}")
        XCTAssertEqual(turned.visible(bidi: false), turned)
    }

    /// Every single control, and no other character of the first planes.
    func testAllScalars() {
        let controls = Set(0..<0x20).subtracting([9, 10]).union(0x7F...0x9F)
        for value in UInt32(0)...0x3FFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let text = "a\(scalar)b"
            XCTAssertEqual(text.visible(bidi: false) != text, controls.contains(Int(value)), "\(value)")
        }
    }
}
