import Foundation
import KVTestSupport
import XCTest

/// `plan`, and what `run` and `bench` make of its tables.
final class PlanCommandTests: XCTestCase {
    private let small = "llama-7b,layers=2,width=256,heads=4,kv=4,ffn=512,vocab=333"

    private func plan(_ folder: String, _ arguments: [String]) throws -> Command {
        try Command(["plan", "--synthetic", small, "--plans", folder, "-t", "1", "--oversubscribe"] + arguments)
    }

    private func rows(_ command: Command) throws -> [[String: Any]] {
        XCTAssertEqual(command.status, 0, command.error)
        return try XCTUnwrap(JSONSerialization.jsonObject(with: Data(command.output.utf8)) as? [[String: Any]], command.output)
    }

    func testSearchAndUse() throws {
        let folder = try Folder()
        let plans = folder.path + "/plans"
        let arguments = ["--ranks", "2", "--lengths", "96,192", "--budget", "200ms"]
        let first = try rows(plan(plans, arguments + ["-o", "json", "--svg", folder.path]))
        XCTAssertEqual(first.map { $0["tokens"] as? Int }, [96, 192])
        for row in first {
            let sizes = try XCTUnwrap(row["sizes"] as? [Int])
            XCTAssertEqual(sizes.count, 2)
            XCTAssertEqual(sizes.reduce(0, +), row["tokens"] as? Int)
            XCTAssertGreaterThan(try XCTUnwrap(row["ttft_ms"] as? Double), 0)
        }
        for name in ["ttft-over-cut.svg", "partitions.svg"] {
            let svg = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + name))
            XCTAssertTrue(XMLCheck(svg).isWellFormed, name)
        }
        // The second search goes on from the first one's timings.
        let second = try rows(plan(plans, arguments + ["-o", "json"]))
        for (a, b) in zip(first, second) {
            XCTAssertGreaterThan(try XCTUnwrap(b["timings"] as? Int), try XCTUnwrap(a["timings"] as? Int))
        }
        let markdown = try plan(plans, arguments)
        for word in ["| 2 × 1 | 192 |", "TTFT over the first rank's share", "shares of the ranks"] {
            XCTAssertTrue(markdown.output.contains(word), markdown.output)
        }
        // Bench takes the table: its length, between its lengths; and says what is missing.
        let bench = ["bench", "--synthetic", small, "--plans", plans, "-t", "1", "--ranks", "2", "-n", "0", "-r", "1"]
        XCTAssertEqual(try Command(bench + ["-p", "96", "--partition", "searched"]).status, 0)
        XCTAssertEqual(try Command(bench + ["-p", "150,300", "--partition", "predicted"]).status, 0)
        let missing = try Command(bench + ["-p", "97", "--partition", "searched"])
        XCTAssertEqual(missing.status, 2, missing.error)
        XCTAssertTrue(missing.error.contains("kvcpu plan --ranks 2 --lengths 97"), missing.error)
        // A damaged table is named and ignored.
        let name = try XCTUnwrap(FileManager.default.contentsOfDirectory(atPath: plans).first { $0.hasSuffix(".json") })
        try "{ \"version\": 1, ".write(toFile: plans + "/" + name, atomically: true, encoding: .utf8)
        let damaged = try Command(bench + ["-p", "96"])
        XCTAssertEqual(damaged.status, 0, damaged.error)
        XCTAssertTrue(damaged.error.contains(name) && damaged.error.contains("ignored"), damaged.error)
    }

    /// Two processes fill one table at once: nothing is lost.
    func testTwoProcesses() throws {
        let folder = try Folder()
        let lengths = [["64", "96"], ["80", "112"]]
        let (model, path) = (small, folder.path)
        DispatchQueue.concurrentPerform(iterations: 2) { index in
            do {
                let command = try Command([
                    "plan", "--synthetic", model, "--plans", path, "-t", "1", "--oversubscribe", "--ranks", "2", "--lengths",
                    lengths[index].joined(separator: ","), "--budget", "300ms", "-o", "json",
                ])
                XCTAssertEqual(command.status, 0, command.error)
            } catch { XCTFail("\(error)") }
        }
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0 != ".lock" }
        XCTAssertEqual(files.count, 1, "\(files)")
        let table = try XCTUnwrap(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + files[0])))
                as? [String: Any])
        let entries = try XCTUnwrap(table["entries"] as? [[String: Any]])
        XCTAssertEqual(entries.map { $0["tokens"] as? Int }, [64, 80, 96, 112])
    }

    func testSimulate() throws {
        let folder = try Folder()
        let command = try plan(
            folder.path,
            [
                "--simulate", "--ranks", "8,16", "--lengths", "4096,8192", "--link", "10GB/s,5us", "--layers", "32", "--svg",
                folder.path,
            ])
        XCTAssertEqual(command.status, 0, command.error)
        for word in ["Simulated, not measured", "32 layers", "Link 10 GB/s, 5 µs", "| 8 | 4096 |", "| 16 | 8192 |"] {
            XCTAssertTrue(command.output.contains(word), "no \(word) in: \(command.output)")
        }
        let svg = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/simulated-speed-up.svg"))
        XCTAssertTrue(XMLCheck(svg).isWellFormed)
    }

    /// The best shape is kept, and taken where nothing else is asked for.
    func testShapes() throws {
        let folder = try Folder()
        let command = try plan(folder.path, ["--auto", "--lengths", "128"])
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.output.contains("soonest: --ranks"), command.output)
        let file = try XCTUnwrap(FileManager.default.contentsOfDirectory(atPath: folder.path).first { $0.contains("-0x0-") })
        let path = folder.path + "/" + file
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let changed = text.replacingOccurrences(
            of: "\"ranks\" : [1-9][0-9]*,", with: "\"ranks\" : 3,", options: .regularExpression)
        try changed.write(toFile: path, atomically: true, encoding: .utf8)
        let inspect = ["inspect", "--synthetic", small, "--plans", folder.path]
        XCTAssertTrue(try Command(inspect).output.contains("rank 2:"))
        XCTAssertFalse(try Command(inspect + ["--ranks", "2"]).output.contains("rank 2:"))
        XCTAssertFalse(try Command(inspect + ["--partition", "even"]).output.contains("rank 2:"))
    }

    func testBadRequests() throws {
        for (arguments, words) in [
            (["--ranks", "0"], ["--ranks is \"0\""]), (["--lengths", "x"], ["--lengths is \"x\""]),
            (["--budget", "soon"], ["--budget is \"soon\""]), (["--budget", "-1s"], ["--budget"]),
            (["--simulate", "--link", "fast"], ["link \"fast\"", "300GB/s"]), (["--link", "300GB/s"], ["--link", "--simulate"]),
            (["--simulate", "--auto"], ["give one"]), (["--layers", "4"], ["--simulate"]),
        ] {
            let command = try Command(["plan", "--synthetic", small, "--plans", "none"] + arguments)
            XCTAssertEqual(command.status, 2, "\(arguments): \(command.error)")
            for word in words { XCTAssertTrue(command.error.contains(word), "no \(word) in: \(command.error)") }
        }
    }
}

/// Whether tags of a small XML document are balanced and attributes quoted: no parser is a dependency of the tests.
private struct XMLCheck {
    let isWellFormed: Bool

    init(_ data: Data) {
        var open: [Substring] = []
        var fine = true
        let text = String(decoding: data, as: UTF8.self)
        for part in text.split(separator: "<", omittingEmptySubsequences: true) {
            guard let end = part.firstIndex(of: ">") else {
                fine = fine && part.allSatisfy(\.isWhitespace)
                continue
            }
            let tag = part[..<end]
            fine = fine && tag.filter { $0 == "\"" }.count % 2 == 0
            if tag.hasPrefix("/") {
                fine = fine && open.popLast() == tag.dropFirst()
            } else if !tag.hasSuffix("/") {
                open.append(tag.prefix { $0 != " " })
            }
        }
        isWellFormed = fine && open.isEmpty && text.hasPrefix("<svg ")
    }
}
