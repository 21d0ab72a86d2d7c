import Foundation
import KVTestSupport
import XCTest

/// What the program says that it reads, and what README.md says.
final class FormatsCommandTests: XCTestCase {
    func testReadmeHasTheTable() throws {
        let command = try Command(["formats"])
        XCTAssertEqual(command.status, 0, command.error)
        let readme = try String(contentsOf: Fixtures.repository.appendingPathComponent("README.md"), encoding: .utf8)
        XCTAssertTrue(readme.contains("\n\n" + command.output + "\n"), "README.md: put the output of `kvcpu formats` in")
        XCTAssertTrue(command.output.contains("Q3_K") && command.output.contains("llama"), command.output)
    }

    func testJSON() throws {
        let command = try Command(["formats", "-o", "json"])
        let object = try JSONDecoder().decode([String: [String]].self, from: Data(command.output.utf8))
        XCTAssertTrue(try XCTUnwrap(object["weights"]).contains("MXFP4"))
        XCTAssertTrue(try XCTUnwrap(object["type"]).contains("Q8_0"))
        XCTAssertTrue(try XCTUnwrap(object["safetensors"]).contains("LlamaForCausalLM"))
        XCTAssertEqual(try Command(["formats", "-o", "xml"]).status, 2)
    }
}
