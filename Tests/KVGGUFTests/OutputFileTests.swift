import Foundation
import KVGGUF
import XCTest

/// Outputs are whole or not at all, and nothing but a regular file is ever replaced.
final class OutputFileTests: XCTestCase {
    private func mode(_ path: String) throws -> Int {
        try XCTUnwrap(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    private func text(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    private func names(_ folder: Folder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }

    func testOldContentStaysUntilCommit() throws {
        let folder = try Folder()
        let path = try folder.write("x", Data("old".utf8))
        do {
            let abandoned = try OutputFile(path)
            try abandoned.write("new")
            XCTAssertEqual(try text(path), "old")
        }
        XCTAssertEqual(try text(path), "old")
        XCTAssertEqual(try names(folder), ["x"])
        let file = try OutputFile(path)
        try file.write("n")
        try file.write("ew")
        try file.commit()
        XCTAssertEqual(try text(path), "new")
        XCTAssertEqual(try names(folder), ["x"])
        XCTAssertThrowsError(try file.write("more"))
    }

    func testPermissions() throws {
        let folder = try Folder()
        let old = umask(0o027)
        defer { umask(old) }
        try OutputFile.write("a", to: folder.path + "/new")
        XCTAssertEqual(try mode(folder.path + "/new"), 0o640)
        for kept in [0o604, 0o755, 0o666] {
            XCTAssertEqual(chmod(folder.path + "/new", mode_t(kept)), 0)
            try OutputFile.write("b", to: folder.path + "/new")
            XCTAssertEqual(try mode(folder.path + "/new"), kept)
        }
        umask(0)
        try OutputFile.write("a", to: folder.path + "/private", isPrivate: true)
        XCTAssertEqual(try mode(folder.path + "/private"), 0o600)
    }

    func testLinksAreWrittenThrough() throws {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path + "/sub", withIntermediateDirectories: true)
        let target = folder.path + "/sub/target"
        try Data("old".utf8).write(to: URL(fileURLWithPath: target))
        XCTAssertEqual(chmod(target, 0o604), 0)
        XCTAssertEqual(symlink("sub/target", folder.path + "/near"), 0)
        XCTAssertEqual(symlink(folder.path + "/near", folder.path + "/far"), 0)
        try OutputFile.write("new", to: folder.path + "/far")
        XCTAssertEqual(try text(target), "new")
        XCTAssertEqual(try mode(target), 0o604)
        XCTAssertEqual(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/near"), "sub/target")
        XCTAssertEqual(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/far"), folder.path + "/near")
        // One whose target is not there yet.
        XCTAssertEqual(symlink("sub/later", folder.path + "/dangling"), 0)
        try OutputFile.write("x", to: folder.path + "/dangling")
        XCTAssertEqual(try text(folder.path + "/sub/later"), "x")
        XCTAssertEqual(symlink("round", folder.path + "/round"), 0)
        XCTAssertThrowsError(try OutputFile(folder.path + "/round")) { XCTAssertEqual(($0 as? OutputError)?.code, ELOOP) }
    }

    func testWhatCannotBeWritten() throws {
        let folder = try Folder()
        func fails(_ path: String, _ code: Int32, line: UInt = #line) {
            func check(_ error: any Error) {
                XCTAssertEqual((error as? OutputError)?.code, code, "\(error)", line: line)
                XCTAssertTrue("\(error)".hasPrefix("\(path): cannot be written: "), "\(error)", line: line)
            }
            XCTAssertThrowsError(try OutputFile.check(path), line: line, check)
            XCTAssertThrowsError(try OutputFile(path), line: line, check)
        }
        fails(folder.path, EISDIR)
        fails(folder.path + "/new/", EISDIR)
        fails(folder.path + "/no/such", ENOENT)
        fails(try folder.write("file", Data()) + "/x", ENOTDIR)
        fails("", 0)
        fails("a\0b", 0)
        fails("/proc/self/fd/9999", EBADF)
        XCTAssertEqual(try names(folder), ["file"])
        if geteuid() != 0 {
            XCTAssertEqual(chmod(folder.path + "/file", 0o400), 0)
            fails(folder.path + "/file", EACCES)
        }
    }

    /// A node of this test's own, of the kernel's null and full devices: the machine's own are never touched.
    func testDevicesStay() throws {
        let folder = try Folder()
        let null = folder.path + "/null"
        let full = folder.path + "/full"
        guard mknod(null, S_IFCHR | 0o666, dev_t(1 << 8 | 3)) == 0, mknod(full, S_IFCHR | 0o666, dev_t(1 << 8 | 7)) == 0 else {
            throw XCTSkip("this user may not make device nodes: \(String(cString: strerror(errno)))")
        }
        guard let probe = fopen(null, "w") else { throw XCTSkip("device nodes cannot be opened in \(folder.path)") }
        fclose(probe)
        XCTAssertEqual(symlink("null", folder.path + "/link"), 0)
        for path in [null, folder.path + "/link"] {
            try OutputFile.check(path)
            try OutputFile.write("lost", to: path)
        }
        XCTAssertThrowsError(try OutputFile.write("x", to: full)) { XCTAssertEqual(($0 as? OutputError)?.code, ENOSPC) }
        for path in [null, full] {
            var status = stat()
            XCTAssertEqual(lstat(path, &status), 0)
            XCTAssertEqual(status.st_mode & S_IFMT, S_IFCHR)
        }
        XCTAssertEqual(try names(folder), ["full", "link", "null"])
    }

    func testFIFOsAndDescriptorsAreWrittenThrough() throws {
        let folder = try Folder()
        let path = folder.path + "/fifo"
        XCTAssertEqual(mkfifo(path, 0o600), 0)
        try OutputFile.check(path)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        XCTAssertGreaterThanOrEqual(reader, 0)
        try OutputFile.write("through", to: path)
        var bytes = [UInt8](repeating: 0, count: 100)
        XCTAssertEqual(read(reader, &bytes, 100), 7)
        close(reader)
        // Behind the descriptor's own place in the file, not instead of what is there.
        let kept = folder.path + "/kept"
        let descriptor = open(kept, O_CREAT | O_RDWR, 0o600)
        XCTAssertEqual(write(descriptor, "one", 3), 3)
        try OutputFile.write("two", to: "/dev/fd/\(descriptor)")
        XCTAssertEqual(write(descriptor, "three", 5), 5)
        close(descriptor)
        XCTAssertEqual(try text(kept), "onetwothree")
        XCTAssertEqual(try names(folder), ["fifo", "kept"])
    }
}
