import Foundation
import XCTest

/// `--log-level`, `--log-format`, `--verify`, and runs beside each other, as a user sees them.
final class LogCommandTests: XCTestCase {
    private func arguments(_ more: String...) throws -> [String] {
        ["-m", try Command.model("llama-mha-tied-rope3"), "-p", "Once upon a time", "-n", "8", "--temp", "0", "--ignore-eos"]
            + ["--ranks", "2", "-t", "1", "--oversubscribe"] + more
    }

    func testJSONLines() throws {
        let run = try Command(arguments("--log-format", "json", "--log-level", "debug", "--stats", "none"))
        XCTAssertEqual(run.status, 0, run.error)
        var events: [String: [String: Any]] = [:]
        for line in run.error.split(separator: "\n") where !line.contains("debug build") {
            let object = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], String(line))
            XCTAssertNotNil(object["time"])
            XCTAssertEqual(object["label"] as? String, "kvcpu")
            events[try XCTUnwrap(object["message"] as? String)] = object
        }
        let finished = try XCTUnwrap(events["request finished"], run.error)
        XCTAssertEqual(finished["level"] as? String, "info")
        let metadata = try XCTUnwrap(finished["metadata"] as? [String: Any])
        XCTAssertEqual(metadata["generated_tokens"] as? Int, 8)
        XCTAssertEqual((metadata["partition"] as? [Int])?.count, 2)
        XCTAssertGreaterThan(try XCTUnwrap(metadata["ttft_ms"] as? Double), 0)
        XCTAssertEqual((metadata["rank_wait_ms"] as? [Double])?.count, 2)
        XCTAssertEqual(events["opened"]?["level"] as? String, "info")
        XCTAssertEqual(events["request began"]?["level"] as? String, "debug")
    }

    func testJSONErrors() throws {
        let run = try Command(["-m", "/nowhere \"quoted\".gguf", "-p", "x", "--log-format", "json"])
        XCTAssertEqual(run.status, 1)
        let lines = run.error.split(separator: "\n").filter { !$0.contains("debug build") }
        XCTAssertFalse(lines.isEmpty)
        for line in lines {
            let object = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], String(line))
            XCTAssertEqual(object["level"] as? String, "error")
        }
        XCTAssertTrue(run.error.contains("/nowhere \\\"quoted\\\".gguf"), run.error)
    }

    func testTextAndTheUsualQuiet() throws {
        let quiet = try Command(arguments("--stats", "none"))
        XCTAssertFalse(quiet.error.contains("request finished"), quiet.error)
        let told = try Command(arguments("--stats", "none", "--log-level", "info"))
        XCTAssertEqual(told.status, 0)
        XCTAssertEqual(told.output, quiet.output)
        let line = try XCTUnwrap(told.error.split(separator: "\n").first { $0.contains("request finished") }, told.error)
        XCTAssertTrue(line.contains("ttft_ms=") && line.contains("stop_reason=length"), String(line))
        XCTAssertFalse(told.error.contains("request began"))
        XCTAssertEqual(try Command(arguments("--log-level", "loud")).status, 2)
    }

    func testVerify() throws {
        let run = try Command(arguments("--verify"))
        XCTAssertEqual(run.status, 0, run.error)
        let pattern = "verified: [0-9]+ positions × 2 layers, logits equal"
        XCTAssertNotNil(run.error.range(of: pattern, options: .regularExpression), run.error)
        XCTAssertEqual(run.output, try Command(arguments()).output)
        let json = try Command(arguments("--verify", "--stats", "json"))
        XCTAssertTrue(json.error.contains("\"verified\":true"), json.error)
    }

    /// Two processes at once answer as one does alone.
    func testTwoProcessesAtOnce() throws {
        let alone = try Command(arguments("--stats", "json"))
        XCTAssertEqual(alone.status, 0, alone.error)
        let group = DispatchGroup()
        let arguments = try arguments("--stats", "json")
        nonisolated(unsafe) var runs: [Command?] = [nil, nil]
        let lock = NSLock()
        for index in 0..<2 {
            DispatchQueue(label: "process \(index)").async(group: group) {
                let run = try? Command(arguments)
                lock.withLock { runs[index] = run }
            }
        }
        group.wait()
        func hashes(_ run: Command) throws -> [String] {
            let line = try XCTUnwrap(run.error.split(separator: "\n").last { $0.hasPrefix("{") }, run.error)
            let object = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            return try ["logits_sha256", "kv_sha256"].map { try XCTUnwrap(object[$0] as? String) }
        }
        for run in runs {
            let run = try XCTUnwrap(run)
            XCTAssertEqual(run.status, 0, run.error)
            XCTAssertEqual(run.output, alone.output)
            XCTAssertEqual(try hashes(run), try hashes(alone))
        }
    }
}
