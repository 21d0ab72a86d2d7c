import Foundation
import XCTest

@testable import kvcpu

/// Prompts in the encodings that editors write.
final class TextInputTests: XCTestCase {
    private let text = "Grüße, 世界 🌍"

    func testByteOrderMarks() throws {
        for (mark, encoding) in [
            ([0xEF, 0xBB, 0xBF], String.Encoding.utf8), ([0xFF, 0xFE], .utf16LittleEndian), ([0xFE, 0xFF], .utf16BigEndian),
            ([0xFF, 0xFE, 0, 0], .utf32LittleEndian), ([0, 0, 0xFE, 0xFF], .utf32BigEndian), ([], .utf8),
        ] as [([UInt8], String.Encoding)] {
            let bytes = try mark + XCTUnwrap(text.data(using: encoding))
            XCTAssertEqual(try TextInput.decode(bytes, from: "f"), text, "\(encoding)")
        }
        // Bytes that are read as such stay as they are, byte order mark included.
        XCTAssertEqual(try TextInput.utf8Bytes([0xEF, 0xBB, 0xBF, 0x61], from: "f"), [0xEF, 0xBB, 0xBF, 0x61])
        XCTAssertEqual(try TextInput.utf8Bytes([0xFF, 0xFE, 0x61, 0], from: "f"), [0x61])
    }

    func testErrorsNameEncodingAndOffset() throws {
        for (bytes, words) in [
            (Array("caf".utf8) + [0xE9, 0x20], ["f: not UTF-8", "0xE9", "offset 3"]),
            ([0xEF, 0xBB, 0xBF, 0x61, 0x80], ["not UTF-8", "offset 4"]),
            ([0xFF, 0xFE, 0x61, 0, 0x00, 0xD8, 0x62, 0], ["not UTF-16, little-endian", "offset 4"]),
            ([0xFE, 0xFF, 0, 0x61, 0], ["not UTF-16, big-endian", "offset 4"]),
            ([0xFF, 0xFE, 0, 0, 0, 0, 0x11, 0], ["not UTF-32, little-endian", "offset 4"]),
        ] as [([UInt8], [String])] {
            XCTAssertThrowsError(try TextInput.decode(bytes, from: "f")) { error in
                for word in words { XCTAssertTrue((error as? Failure)?.message.contains(word) ?? false, "\(word): \(error)") }
            }
        }
    }
}
