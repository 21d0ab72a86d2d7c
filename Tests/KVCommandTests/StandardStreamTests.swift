import Foundation
import KVTestSupport
import XCTest

/// Standard input, output and error as a shell may hand them over: closed, folders, pipes, full devices.
final class StandardStreamTests: XCTestCase {
    private func run(_ shell: String, _ more: String..., model: String = "llama-gqa") throws -> Command {
        try Command(["-m", Command.model(model), "--temp", "0", "-n", "4", "--stats", "none"] + more, shell: shell)
    }

    func testClosedStreams() throws {
        let folder = try Folder()
        let input = try run("exec \"$@\" <&-")
        XCTAssertEqual(input.status, 1)
        XCTAssertTrue(input.error.contains("standard input: Bad file descriptor"), input.error)
        let folderAsInput = try run("exec \"$@\" < \(folder.path)")
        XCTAssertEqual(folderAsInput.status, 1)
        XCTAssertTrue(folderAsInput.error.contains("standard input: Is a directory"), folderAsInput.error)
        let output = try run("exec \"$@\" >&-", "-p", "abc", "--timeline", folder.path + "/trace")
        XCTAssertEqual(output.status, 1)
        XCTAssertTrue(output.error.contains("standard output: Bad file descriptor"), output.error)
        // No file becomes a standard stream: the outputs hold what belongs into them.
        let expected = try run("exec \"$@\"", "-p", "abc")
        XCTAssertEqual(expected.status, 0, expected.error)
        let error = try run("exec \"$@\" 2>&-", "-p", "abc", "--timeline", folder.path + "/trace")
        XCTAssertEqual(error.status, 0)
        XCTAssertEqual(error.output, expected.output)
        let trace = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/trace"))
        XCTAssertNotNil(try JSONSerialization.jsonObject(with: trace))
        let all = try run("exec \"$@\" <&- 2>&-", "-p", "abc")
        XCTAssertEqual(all.output, expected.output)
    }

    func testFullAndAbandonedOutput() throws {
        let folder = try Folder()
        let full = folder.path + "/full"
        guard mknod(full, S_IFCHR | 0o666, dev_t(1 << 8 | 7)) == 0 else {
            throw XCTSkip("this user may not make device nodes: \(String(cString: strerror(errno)))")
        }
        guard let probe = fopen(full, "w") else { throw XCTSkip("device nodes cannot be opened in \(folder.path)") }
        fclose(probe)
        let model = try Command.model("llama-gqa")
        for arguments in [
            ["-m", model, "-p", "abc", "-n", "4", "--temp", "0"], ["inspect", "-m", model], ["--help"],
            ["tokenize", "-m", model, "abc"], ["dump", "-m", model, "--tokens", "1,2", "-o", "/dev/stdout"],
        ] {
            let command = try Command(arguments, shell: "exec \"$@\" > \(full)")
            XCTAssertEqual(command.status, 1, "\(arguments)")
            XCTAssertTrue(command.error.contains("No space left on device"), "\(arguments): \(command.error)")
        }
        let reader = try run("\"$@\" | head -c 1 > /dev/null; exit ${PIPESTATUS[0]}", "-p", "abc", "-n", "300", "--ignore-eos")
        XCTAssertEqual(reader.status, 1)
        XCTAssertFalse(reader.error.contains("error"), reader.error)
    }

    /// What is not read is said, what no context holds is not read to its end.
    func testInputBesideAPromptAndTooMuchOfIt() throws {
        let folder = try Folder()
        let text = try folder.write("text", Data("hello\n".utf8))
        let beside = try run("exec \"$@\" < \(text)", "-p", "abc")
        XCTAssertEqual(beside.status, 0, beside.error)
        XCTAssertTrue(beside.error.contains("standard input is not read: -p is given"), beside.error)
        XCTAssertFalse(try run("exec \"$@\" < /dev/null", "-p", "abc").error.contains("standard input"))
        let much = try run("head -c 1000000000 /dev/zero | { ulimit -v 4000000; exec \"$@\"; }")
        XCTAssertEqual(much.status, 1)
        XCTAssertTrue(much.error.contains("standard input: more than 64 MiB"), much.error)
    }

    func testPromptFiles() throws {
        let folder = try Folder()
        let expected = try run("exec \"$@\"", "-p", "abc")
        let path = try folder.write("prompt", Data("abc".utf8))
        for shell in [
            "exec \"$@\" -f \(path)", "exec \"$@\" -f <(printf abc)", "printf abc | \"$@\" -f -",
            "printf abc | \"$@\" -f /dev/stdin",
            "mkfifo \(folder.path)/fifo; printf abc > \(folder.path)/fifo & exec \"$@\" -f \(folder.path)/fifo",
        ] {
            let command = try run(shell)
            XCTAssertEqual(command.status, 0, "\(shell): \(command.error)")
            XCTAssertEqual(command.output, expected.output, shell)
        }
        XCTAssertTrue(try run("exec \"$@\" -f <(true)").error.contains("the prompt is empty"))
        XCTAssertEqual(try run("exec \"$@\" -f /proc/version", "-c", "512").status, 0)
        XCTAssertTrue(try run("exec \"$@\" -f \(folder.path)").error.contains("Is a directory"))
    }

    /// Arguments come from the program's start, not from /proc; a run, whose threads Dispatch could not look at, says what is missing.
    func testWithoutProc() throws {
        let probe = try Command([], shell: "unshare -m mount -t tmpfs none /proc")
        guard probe.status == 0 else { throw XCTSkip("this user may not mount: \(probe.error)") }
        let without = "exec unshare -m bash -c 'mount -t tmpfs none /proc && exec \"$@\"' bash \"$@\""
        let command = try run(without, "-p", "abc")
        XCTAssertEqual(command.status, 1, command.error)
        XCTAssertTrue(command.error.contains("is /proc mounted?"), command.error)
        let wrong = try run(without, "--top-q", "3")
        XCTAssertEqual(wrong.status, 2, wrong.error)
        XCTAssertTrue(wrong.error.contains("--top-q"), wrong.error)
    }

    /// Outputs that cannot be written are found before a model is read.
    func testOutputsAreTriedFirst() throws {
        let folder = try Folder()
        let arguments = ["-m", folder.path + "/absent.gguf"]
        for (output, command) in [
            ("--timeline", ["-p", "x"]), ("--prompt-cache", ["-p", "x"]), ("--prompt-cache", ["chat"]),
            ("-o", ["dump", "--tokens", "1"]),
        ] {
            for target in [folder.path, folder.path + "/no/such"] {
                let result = try Command(command + arguments + [output, target])
                XCTAssertEqual(result.status, 1)
                XCTAssertTrue(result.error.contains("\(target): cannot be written: "), result.error)
            }
        }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), [])
    }
}
