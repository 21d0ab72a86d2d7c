import Foundation
import KVTestSupport
import XCTest

/// `--rank-mode process` as a user meets it.
final class ProcessCommandTests: XCTestCase {
    /// A kvcpu that works for minutes with its ranks as processes, and what they are.
    private func worker(_ errors: Pipe? = nil) throws -> (process: Process, ranks: [pid_t]) {
        let process = Process()
        process.executableURL = Command.executable
        process.arguments = [
            "bench", "--synthetic", "llama3-8b,layers=24,width=256,heads=4,kv=2,ffn=512,vocab=333", "-p", "2048", "-n", "0", "-r",
            "100000", "--ranks", "2", "-t", "1", "--rank-mode", "process", "--plans", "none",
        ]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = errors ?? FileHandle.nullDevice
        try process.run()
        for _ in 0..<3000 {
            let ranks = Self.children(of: process.processIdentifier)
            // At work, not merely started: a rank has its workers' threads beside its first one and the one that shows its life.
            if ranks.count == 2, ranks.allSatisfy({ Self.threads(of: $0) >= 3 }) { return (process, ranks) }
            usleep(10_000)
        }
        process.terminate()
        throw Failure(description: "no two ranks within half a minute")
    }

    private struct Failure: Error { let description: String }

    static func children(of parent: pid_t) -> [pid_t] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { name in
            guard let pid = Int32(name), let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8),
                let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 1, fields[1] == "\(parent)"
            else { return nil }
            return pid
        }
    }

    private static func threads(of pid: pid_t) -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").count) ?? 0
    }

    /// Whether a process runs: an ended one that nobody has waited for yet does not.
    private static func runs(_ pid: pid_t) -> Bool {
        guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
        return stat.split(separator: ")").last?.split(separator: " ").first != "Z"
    }

    private func areGone(_ pids: [pid_t]) -> Bool {
        for _ in 0..<3000 {
            if !pids.contains(where: Self.runs) { return true }
            usleep(10_000)
        }
        for pid in pids { kill(pid, SIGKILL) }
        return false
    }

    /// The ranks of an engine that is killed end, too: those at work, and one that is stopped.
    func testRanksEndWithTheirEngine() throws {
        for stopped in [false, true] {
            let (process, ranks) = try worker()
            if stopped { kill(ranks[0], SIGSTOP) }
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            XCTAssertTrue(areGone(ranks), stopped ? "one stopped" : "both at work")
        }
    }

    /// A rank that is killed ends the command with one line that names it; no rank stays.
    func testAKilledRankIsNamed() throws {
        let errors = Pipe()
        let (process, ranks) = try worker(errors)
        kill(ranks[1], SIGKILL)
        let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        XCTAssertEqual(process.terminationStatus, 1)
        XCTAssertTrue(text.contains("was killed by signal 9"), text)
        XCTAssertTrue(areGone(ranks))
    }

    /// Two programs at once, each with its own ranks: both answer as one with threads.
    func testTwoAtOnce() throws {
        let model = try Command.model("llama-mha-tied-rope3")
        let arguments = [
            "-m", model, "-p", "once upon a time there was", "-n", "24", "--temp", "0", "--ignore-eos", "--ranks", "2", "-t", "1",
        ]
        let expected = try Command(arguments)
        XCTAssertEqual(expected.status, 0, expected.error)
        let group = DispatchGroup()
        nonisolated(unsafe) var results = [Command?](repeating: nil, count: 2)
        let lock = NSLock()
        for index in 0..<2 {
            DispatchQueue(label: "command").async(group: group) {
                let command = try? Command(arguments + ["--rank-mode", "process"])
                lock.withLock { results[index] = command }
            }
        }
        group.wait()
        for result in results {
            XCTAssertEqual(result?.status, 0, result?.error ?? "not run")
            XCTAssertEqual(result?.output, expected.output)
            XCTAssertTrue(result?.error.contains("2 × 1 threads in processes") ?? false, result?.error ?? "")
        }
    }

    /// Ctrl-C is for the engine: it ends the generation, and its ranks.
    func testInterrupt() throws {
        let model = try Command.standardModel()
        let command = try Command(
            ["-m", model, "-p", "Once", "--ignore-eos", "-c", "8000", "--ranks", "2", "--rank-mode", "process"],
            isInterrupted: true)
        XCTAssertEqual(command.status, 130, command.error)
        XCTAssertTrue(command.error.contains("interrupted"), command.error)
    }

    func testFlags() throws {
        for (arguments, text) in [
            (["--rank-timeout", "0"], "--rank-timeout is 0.0; it must be 0.05 to 3600"), (["--rank-mode", "gpu"], "rank-mode"),
        ] {
            let command = try Command(["bench", "--synthetic", "llama-7b,layers=1"] + arguments)
            XCTAssertEqual(command.status, 2)
            XCTAssertTrue(command.error.contains(text), command.error)
        }
        let inspect = try Command([
            "inspect", "--synthetic", "llama3-8b,layers=1,vocab=333", "--rank-mode", "process", "--rank-timeout", "0.5",
        ])
        XCTAssertTrue(inspect.output.contains("ranks are processes; one that is stopped is given up after 0.5 s"), inspect.output)
        let plan = try Command([
            "plan", "--synthetic", "llama3-8b,layers=2,width=256,heads=4,kv=2,ffn=512,vocab=333", "--lengths", "128", "--budget",
            "1s", "--plans", "none", "--rank-mode", "process", "--ranks", "2", "-t", "1", "--no-progress",
        ])
        XCTAssertEqual(plan.status, 0, plan.error)
        // What a rank is started with is no command for people: without an engine it is an argument like any other.
        let lonely = try Command(["rank-process", "0"])
        XCTAssertNotEqual(lonely.status, 0)
    }
}
