import Foundation
import KVTestSupport
import XCTest

/// `paper` on a tiny model: a report from results, gone on with where it ended.
final class PaperCommandTests: XCTestCase {
    private let tiny = "llama-7b,layers=2,width=256,heads=4,kv=4,ffn=512,vocab=333"

    private func paper(_ folder: String, _ arguments: [String] = []) throws -> Command {
        try Command(
            [
                "paper", "--synthetic", tiny, "-o", folder, "--ranks", "2", "-t", "1", "--oversubscribe", "--lengths",
                "128,192,256",
                "--rounds", "1", "--budget", "100ms", "--geometries", tiny + ",seed=2", "--variant", tiny, "--layers", "2",
            ] + arguments)
    }

    private func lines(_ folder: String) throws -> [String] {
        try String(contentsOfFile: folder + "/paper/results.jsonl", encoding: .utf8).split(separator: "\n").map(String.init)
    }

    func testReport() throws {
        let folder = try Folder()
        let done = try paper(folder.path)
        XCTAssertEqual(done.status, 0, done.error)
        let text = try String(contentsOfFile: folder.path + "/PAPER.md", encoding: .utf8)
        for word in [
            "## TTFT by context length and ranks (measured)", "## Partitions and the lower bounds (measured)",
            "## Compute, wait and exchange of each rank (measured)", "## Bandwidth (measured)", "## Noise (measured)",
            "## Multi-head, grouped-query and multi-query attention (measured)", "## Memory per rank",
            "(simulated)", "KVR-E", "KVR-S", "KVR-P", "KVR-M", "1.42×", "1.63×",
        ] {
            XCTAssertTrue(text.contains(word), "no \(word) in: \(text)")
        }
        // KVR-P has neighbours at the middle length only.
        let rows = text.split(separator: "\n").filter { $0.contains("| KVR-P |") && $0.contains(" / ") }
        XCTAssertEqual(rows.map { $0.hasPrefix("| 192 | 2 |") }, [true], "\(rows)")
        // Every figure that the text shows is there, and says what it is.
        var shown = 0
        for part in text.components(separatedBy: "](paper/").dropFirst() {
            let name = String(part.prefix { $0 != ")" })
            let svg = try String(contentsOfFile: folder.path + "/paper/" + name, encoding: .utf8)
            XCTAssertTrue(svg.contains("measured"), name)
            XCTAssertEqual(name.contains("simulated"), svg.contains("imulated"), name)
            shown += 1
        }
        XCTAssertGreaterThanOrEqual(shown, 8)
    }

    /// What is measured is not measured again, a line that was cut off is.
    func testResumes() throws {
        let folder = try Folder()
        let some = ["--experiments", "search,context"]
        XCTAssertEqual(try paper(folder.path, some).status, 0)
        let first = try lines(folder.path)
        // Three searches, three lengths alone, three on two ranks.
        XCTAssertEqual(first.count, 9)
        let report = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/PAPER.md"))
        let again = try paper(folder.path, some)
        XCTAssertEqual(again.status, 0, again.error)
        XCTAssertEqual(try lines(folder.path), first)
        XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/PAPER.md")), report)
        let whole = try String(contentsOfFile: folder.path + "/paper/results.jsonl", encoding: .utf8)
        try String(whole.dropLast(100)).write(
            toFile: folder.path + "/paper/results.jsonl", atomically: true, encoding: .utf8)
        let resumed = try paper(folder.path, some)
        XCTAssertEqual(resumed.status, 0, resumed.error)
        XCTAssertTrue(resumed.error.contains("1 of 9 lines cannot be read"), resumed.error)
        let healed = try lines(folder.path)
        XCTAssertEqual(healed.count, 10)
        XCTAssertEqual(Array(healed.prefix(8)), Array(first.prefix(8)))
        // A report of part of the results; nothing is measured.
        XCTAssertEqual(try paper(folder.path, ["--report"]).status, 0)
        XCTAssertEqual(try lines(folder.path), healed)
        XCTAssertEqual(try paper(folder.path, some + ["--restart"]).status, 0)
        XCTAssertEqual(try lines(folder.path).count, 9)
    }

    func testBadRequests() throws {
        let folder = try Folder()
        for (arguments, word) in [
            (["--experiments", "context"], "search"), (["--experiments", "other"], "\"other\""),
            (["--rounds", "0"], "--rounds is 0"),
            (["--variant", "nothing"], "\"nothing\""), (["--layers", "0"], "--layers is 0"),
        ] {
            let command = try paper(folder.path, arguments)
            XCTAssertEqual(command.status, 2, "\(arguments): \(command.error)")
            XCTAssertTrue(command.error.contains(word), "no \(word) in: \(command.error)")
        }
        let none = try paper(folder.path, ["--report"])
        XCTAssertEqual(none.status, 1, none.error)
        XCTAssertTrue(none.error.contains("no results yet"), none.error)
    }
}
