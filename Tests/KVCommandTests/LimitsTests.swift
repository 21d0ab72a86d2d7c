import Foundation
import KVTestSupport
import XCTest

/// Processes that the system lets have little: errors within seconds, never a hang or a signal.
final class LimitsTests: XCTestCase {
    /// Runs kvcpu behind some words of a shell.
    private func run(_ before: String, _ arguments: [String], input: String? = nil) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", before + "; exec \"$@\"", "bash", Command.executable.path] + arguments
        let pipe = Pipe()
        let standardInput = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        process.standardInput = input == nil ? FileHandle.nullDevice : standardInput
        try process.run()
        // A command that hangs is killed, so that the test fails instead of hanging too.
        let watchdog = DispatchWorkItem { kill(process.processIdentifier, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + 240, execute: watchdog)
        if let input {
            DispatchQueue.global().async {
                standardInput.fileHandleForWriting.write(Data(input.utf8))
                try? standardInput.fileHandleForWriting.close()
            }
        }
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        watchdog.cancel()
        let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        return (status, String(decoding: data, as: UTF8.self))
    }

    private func model() throws -> String { try Fixtures.require("../cases/prompt-cache/a.gguf") }

    func testFewDescriptors() throws {
        for count in [4, 5, 6, 7] {
            let (status, output) = try run("ulimit -n \(count)", ["-m", try model(), "-p", "abc", "-n", "2"])
            XCTAssertEqual(status, 1, "\(count): \(output)")
            XCTAssertTrue(output.contains("files"), output)
        }
    }

    /// Root may start as many threads as it likes, so it becomes somebody else, where it may.
    func testFewThreads() throws {
        let arguments = ["-m", try model(), "-p", "abc", "-n", "2", "-t", "2"]
        let executable = Command.executable.path
        guard getuid() == 0 else {
            let (status, output) = try run("ulimit -u 1", arguments)
            XCTAssertEqual(status, 1, output)
            XCTAssertTrue(output.contains("threads") && output.contains("ulimit -u"), output)
            return
        }
        let nobody = "setpriv --reuid 61234 --regid 61234 --clear-groups"
        let isPossible = try run("\(nobody) test -x '\(executable)' && \(nobody) test -r '\(try model())' && exit 3; exit 4", [])
            .status
        guard isPossible == 3 else { throw XCTSkip("another user may not read the build's folder") }
        for (count, mode) in [(1, "thread"), (3, "thread"), (6, "thread"), (8, "process")] {
            let ranks = mode == "process" ? ["--rank-mode", mode, "--ranks", "2", "-t", "1"] : []
            let (status, output) = try run(
                "ulimit -c 0; exec \(nobody) bash -c 'ulimit -u \(count); exec \"$@\"' bash \"$@\"", arguments + ranks)
            XCTAssertEqual(status, 1, "\(count): \(output)")
            // Of a process that cannot be started at all, the system's own reason.
            XCTAssertTrue(output.contains("can be started") || output.contains("Resource temporarily unavailable"), output)
        }
    }

    func testLittleAddressSpace() throws {
        // What the libraries leave: the loader or the program says that there is none; a larger one works.
        let (status, output) = try run("ulimit -v 120000", ["-m", try model(), "-p", "abc", "-n", "2"])
        XCTAssertTrue([0, 1, 127].contains(status), "\(status): \(output)")
        XCTAssertEqual(try run("ulimit -v 8000000", ["-m", try model(), "-p", "abc", "-n", "2"]).status, 0)
    }

    /// A control group of 160 MiB (version 1 or 2), where this machine lets one be made.
    private func group() throws -> (folder: String, events: String) {
        let name = "kvcpu-test-\(getpid())"
        for (root, limit, events) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
            ("/sys/fs/cgroup", "memory.max", "memory.events"),
        ] {
            let folder = "\(root)/\(name)"
            guard mkdir(folder, 0o755) == 0 else { continue }
            if (try? "\(160 << 20)".write(toFile: "\(folder)/\(limit)", atomically: false, encoding: .utf8)) != nil {
                return (folder, "\(folder)/\(events)")
            }
            rmdir(folder)
        }
        throw XCTSkip("no control group can be made here")
    }

    /// Fifty conversations, each of which is kept for later as far as there is room: the group's limit is never met.
    func testFiftyTurnsInALittleGroup() throws {
        let model = try Command.standardModel()
        let (folder, events) = try group()
        defer { rmdir(folder) }
        let words = ["river", "moon", "green", "quick", "stone", "window", "light", "machine"]
        let turns = (0..<50).map { turn in
            "/clear\n\(turn) " + (0..<40).map { words[(turn * 31 + $0 * ($0 + turn)) % words.count] }.joined(separator: " ") + "\n"
        }
        let (status, output) = try run(
            "echo $$ > \(folder)/cgroup.procs",
            ["chat", "-m", model, "-c", "256", "-n", "1", "--temp", "0", "--no-progress"], input: turns.joined())
        XCTAssertEqual(status, 0, output)
        XCTAssertTrue(output.contains("earlier prompts are kept in"), output)
        let text = try String(contentsOfFile: events, encoding: .utf8)
        XCTAssertTrue(text.contains("oom_kill 0"), text)
    }
}
