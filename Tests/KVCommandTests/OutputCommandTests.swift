import Foundation
import XCTest

/// Every output of the commands: links stay, permissions are kept, nodes are written through, and a killed command leaves whole files.
final class OutputCommandTests: XCTestCase {
    private struct Output {
        let name: String
        /// The command that writes to a path, and its input.
        let arguments: (String) -> [String]
        var input: (String) -> String? = { _ in nil }
        var isPrivate = false
        /// How what it writes begins.
        let beginning: String
    }

    private func outputs() throws -> [Output] {
        let model = try Command.model("llama-gqa")
        let run = ["-m", model, "-p", "abc", "-n", "2", "--temp", "0", "--stats", "none"]
        return [
            Output(name: "--timeline", arguments: { run + ["--timeline", $0] }, beginning: "{"),
            Output(name: "--prompt-cache", arguments: { run + ["--prompt-cache", $0] }, isPrivate: true, beginning: "KVCPUPRM"),
            Output(name: "dump", arguments: { ["dump", "-m", model, "--tokens", "1,2", "-o", $0] }, beginning: ""),
            Output(
                name: "inspect", arguments: { ["inspect", "-m", model, "--tensor", "output_norm.weight", "-o", $0] }, beginning: ""),
            Output(
                name: "/save", arguments: { _ in ["chat", "-m", model, "--chat-template", "chatml", "--system", "x"] },
                input: { "/save \($0)\n" }, isPrivate: true, beginning: "{"),
        ]
    }

    private func write(_ output: Output, _ path: String) throws {
        let command = try Command(output.arguments(path), input: output.input(path).map { Data($0.utf8) })
        XCTAssertEqual(command.status, 0, "\(output.name): \(command.error)")
    }

    func testLinksAndPermissionsStay() throws {
        for output in try outputs() {
            let folder = try Folder()
            let target = try folder.write("target", Data("old".utf8))
            XCTAssertEqual(chmod(target, 0o640), 0)
            XCTAssertEqual(symlink("target", folder.path + "/link"), 0)
            // A prompt cache is read first.
            if output.name == "--prompt-cache" { XCTAssertEqual(truncate(target, 0), 0) }
            try write(output, folder.path + "/link")
            XCTAssertEqual(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/link"), "target", output.name)
            let data = try Data(contentsOf: URL(fileURLWithPath: target))
            XCTAssertTrue(data.count > 3 && data.starts(with: Data(output.beginning.utf8)), output.name)
            let mode = try FileManager.default.attributesOfItem(atPath: target)[.posixPermissions] as? Int
            XCTAssertEqual(mode, output.isPrivate ? 0o600 : 0o640, output.name)
            XCTAssertEqual(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted(), ["link", "target"], output.name)
        }
    }

    /// Nodes of this test's own: the machine's own are never touched.
    func testNodesStay() throws {
        for output in try outputs() {
            let folder = try Folder()
            let null = folder.path + "/null"
            guard mknod(null, S_IFCHR | 0o666, dev_t(1 << 8 | 3)) == 0, let probe = fopen(null, "w") else {
                throw XCTSkip("this user may not make device nodes, or not open them in \(folder.path)")
            }
            fclose(probe)
            try write(output, null)
            var status = stat()
            XCTAssertEqual(lstat(null, &status), 0)
            XCTAssertEqual(status.st_mode & S_IFMT, S_IFCHR, output.name)
            XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path), ["null"], output.name)
        }
    }

    /// A file that is a mount point of its own, as in a container.
    func testMountedFile() throws {
        let folder = try Folder()
        let outside = try folder.write("outside", Data("old".utf8))
        let inside = try folder.write("inside", Data())
        let mount = "mount --bind \(outside) \(inside)"
        let probe = try Command([], shell: "unshare -m \(mount)")
        guard probe.status == 0 else { throw XCTSkip("this user may not mount: \(probe.error)") }
        let command = try Command(
            ["dump", "-m", Command.model("llama-gqa"), "--tokens", "1,2", "-o", inside],
            shell: "exec unshare -m bash -c '\(mount) && exec \"$@\"' bash \"$@\"")
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertGreaterThan(try Data(contentsOf: URL(fileURLWithPath: outside)).count, 1000)
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted(), ["inside", "outside"])
    }

    /// Killed at some moment, the old output or the new one is there, and nothing else.
    func testKills() throws {
        let folder = try Folder()
        let model = try Command.model("llama-gqa")
        let kept = folder.path + "/saved"
        var random = SystemRandomNumberGenerator()
        for round in 0..<8 {
            let process = Process()
            process.executableURL = Command.executable
            process.arguments = [
                "chat", "-m", model, "--chat-template", "chatml", "--system", String(repeating: "x", count: 1 << 16),
            ]
            let input = Pipe()
            process.standardInput = input
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            try process.run()
            input.fileHandleForWriting.write(Data(String(repeating: "/save \(kept)\n", count: 200).utf8))
            // The first one until there is an output.
            while round == 0, !FileManager.default.fileExists(atPath: kept), process.isRunning { usleep(1000) }
            usleep(UInt32.random(in: 0..<400_000, using: &random))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            let saved = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: kept)))
            XCTAssertNotNil((saved as? [String: Any])?["messages"])
        }
        // A name that was about to become the output's may be left.
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        XCTAssertTrue(names.allSatisfy { $0 == "saved" || ($0.hasPrefix(".kvcpu-") && $0.hasSuffix(".tmp")) }, "\(names)")
    }
}
