import Foundation
import KVTestSupport
import XCTest

/// Escape sequences of files and models: a terminal shows them and obeys none; a pipe gets what the model wrote.
final class EscapeTests: XCTestCase {
    /// The texts of 256 tokens (bytes by their names) become colour changes, and the model's name one, too.
    private func model(_ folder: Folder) throws -> String {
        var data = try Data(contentsOf: URL(fileURLWithPath: Command.model("llama-gqa")))
        func replace(_ old: String, _ new: String) throws {
            XCTAssertEqual(old.utf8.count, new.utf8.count)
            data.replaceSubrange(try XCTUnwrap(data.range(of: Data(old.utf8)), old), with: Data(new.utf8))
        }
        try replace("llama-gqa", "\u{1B}[31mRED\u{7}")
        for byte in 0..<256 { try replace("<0x\(String(format: "%02X", byte))>", "\u{1B}[\(String(format: "%03d", byte))m") }
        // Types behind the array's own: bytes (6) become normal tokens (1).
        let key = try XCTUnwrap(data.range(of: Data("tokenizer.ggml.token_type".utf8)))
        for id in 3..<259 { data[key.upperBound + 16 + 4 * id] = 1 }
        return try folder.write("escapes.gguf", data)
    }

    func testAnswers() throws {
        let folder = try Folder()
        let arguments = [
            "-m", try model(folder), "-p", "abc", "-n", "24", "--temp", "0", "--ignore-eos", "--stats", "none", "--no-progress",
        ]
        let piped = try Command(arguments)
        XCTAssertEqual(piped.status, 0, piped.error)
        let escapes = piped.output.utf8.filter { $0 == 0x1B }.count
        XCTAssertGreaterThan(escapes, 5, piped.output)
        for (more, raw) in [([], 0), (["--raw"], escapes)] {
            let terminal = try PseudoTerminal(arguments + more)
            XCTAssertEqual(try terminal.end(), 0)
            XCTAssertEqual(terminal.shown.filter { $0 == 0x1B }.count, raw)
            let text = String(decoding: terminal.shown, as: UTF8.self)
            XCTAssertEqual(text.components(separatedBy: "\\u001b[").count - 1, escapes - raw, text)
        }
    }

    func testReportsAndMessages() throws {
        let folder = try Folder()
        let model = try model(folder)
        for more in [[], ["--all"], ["--tensors"]] {
            let inspect = try Command(["inspect", "-m", model] + more)
            XCTAssertEqual(inspect.status, 0, inspect.error)
            XCTAssertFalse(inspect.output.utf8.contains(0x1B))
            XCTAssertTrue(inspect.output.contains("\\u001b[31mRED\\u0007"), inspect.output)
        }
        let name = "\u{1B}[2J\u{9B}31m\u{202E}.gguf"
        for more in [[], ["--log-format", "json"], ["--log-level", "trace"]] {
            let absent = try Command(["-m", folder.path + "/" + name, "-p", "x"] + more)
            XCTAssertEqual(absent.status, 1)
            for scalar in ["\u{1B}", "\u{9B}", "\u{202E}"] as [Unicode.Scalar] {
                XCTAssertFalse(absent.error.unicodeScalars.contains(scalar), absent.error.debugDescription)
            }
            XCTAssertTrue(absent.error.contains("\\u001b[2J\\u009b31m\\u202e.gguf"), absent.error)
        }
        let flag = try Command(["--no-\u{1B}[31m", "x"])
        XCTAssertEqual(flag.status, 2)
        XCTAssertFalse(flag.error.utf8.contains(0x1B), flag.error)
    }
}
