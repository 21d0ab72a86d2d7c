import Foundation
import KVGGUF
import XCTest

/// Chats at a terminal: they go on after whatever ends an answer, and what is to be kept is kept on every way out.
final class ChatTests: XCTestCase {
    /// A model that never ends an answer by itself: the logit of its end token is 0, others are higher.
    private func endlessModel(_ folder: Folder) throws -> String {
        let path = try Command.model("llama-gqa")
        let file = try GGUFFile.open(path)
        let tensor = try XCTUnwrap(file.tensor("output.weight"))
        let bytes = try file.bytes(of: tensor)
        let width = tensor.dimensions[0]
        let rowBytes = bytes.count / tensor.dimensions[1]
        XCTAssertGreaterThan(width, 0)
        // The row of </s>, id 2.
        let row = Data(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(bytes)[2 * rowBytes..<3 * rowBytes]))
        var data = try Data(contentsOf: URL(fileURLWithPath: path))
        data.replaceSubrange(try XCTUnwrap(data.range(of: row)), with: Data(count: rowBytes))
        return try folder.write("endless.gguf", data)
    }

    /// So long a context that an answer takes longer than anybody waits.
    private func chat(_ folder: Folder, _ more: String...) throws -> PseudoTerminal {
        try PseudoTerminal(
            ["chat", "-m", endlessModel(folder), "--chat-template", "chatml", "--temp", "0", "-c", "200000", "--no-progress"]
                + more,
            environment: ["XDG_STATE_HOME": folder.path + "/state"])
    }

    /// Shows that the chat takes commands: what it says to this one is nothing that an answer or the terminal's echo says.
    private func takesCommands(_ chat: PseudoTerminal, _ word: String) throws {
        chat.type("/system \(word)\n")
        try chat.wait(for: "system: \(word)\r\n> ")
    }

    func testCtrlCStopsEveryAnswer() throws {
        let folder = try Folder()
        let chat = try chat(folder)
        try chat.wait(for: "> ")
        for turn in 1...3 {
            chat.type("abc\n")
            try chat.wait(bytes: 500)
            chat.type("\u{3}")
            try takesCommands(chat, "turn\(turn)")
        }
        chat.type("/history\n")
        let history = try chat.wait(for: "> ")
        XCTAssertEqual(history.components(separatedBy: "user: abc").count, 4, history)
        chat.type("/exit\n")
        XCTAssertEqual(try chat.end(), 0)
    }

    func testPromptCacheIsKeptOnEveryWayOut() throws {
        let folder = try Folder()
        let kept = folder.path + "/kept"
        let ways: [(String, Int32, (PseudoTerminal) throws -> Void)] = [
            ("/exit", 0, { $0.type("/exit\n") }), ("Ctrl-C", 130, { $0.type("\u{3}") }),
            (
                "Ctrl-D", 0,
                {
                    // Before the line is edited Ctrl-D would be the terminal's; Ctrl-P's answer shows that it is edited.
                    $0.type("\u{10}")
                    try $0.wait(for: "/system answered")
                    $0.type("\u{15}\u{4}")
                }
            ),
            ("SIGTERM", 143, { kill($0.process, SIGTERM) }), ("SIGHUP", 129, { kill($0.process, SIGHUP) }),
        ]
        for (name, status, leave) in ways {
            try? FileManager.default.removeItem(atPath: kept)
            let chat = try chat(folder, "-n", "4", "--prompt-cache", kept)
            try chat.wait(for: "> ")
            chat.type("abc\n")
            try takesCommands(chat, "answered")
            try leave(chat)
            XCTAssertEqual(try chat.end(), status, name)
            let mode = try FileManager.default.attributesOfItem(atPath: kept)[.posixPermissions] as? Int
            XCTAssertEqual(mode, 0o600, name)
        }
        // While an answer comes.
        try FileManager.default.removeItem(atPath: kept)
        let chat = try chat(folder, "--prompt-cache", kept)
        try chat.wait(for: "> ")
        chat.type("abc\n")
        try chat.wait(bytes: 500)
        kill(chat.process, SIGTERM)
        XCTAssertEqual(try chat.end(), 143)
        XCTAssertTrue(FileManager.default.fileExists(atPath: kept))
    }

    /// Ranks that are killed end the answer, not the chat.
    func testRanksKilledInTheMiddle() throws {
        let folder = try Folder()
        let chat = try chat(folder, "--rank-mode", "process", "--ranks", "2", "-t", "1", "--oversubscribe")
        try chat.wait(for: "> ")
        chat.type("abc\n")
        try chat.wait(bytes: 500)
        let ranks = ProcessCommandTests.children(of: chat.process)
        XCTAssertEqual(ranks.count, 2)
        for rank in ranks { kill(rank, SIGKILL) }
        try chat.wait(for: "was killed by signal 9")
        try chat.wait(for: "/regen asks again")
        for message in ["def\n", "/regen\n"] {
            chat.type(message)
            try chat.wait(bytes: 500)
            chat.type("\u{3}")
            try takesCommands(chat, "on")
        }
        chat.type("/exit\n")
        XCTAssertEqual(try chat.end(), 0)
    }

    /// Once it is loaded, a model's file may shrink: answers are the same.
    func testModelFileTruncatedBetweenAnswers() throws {
        let folder = try Folder()
        let chat = try chat(folder, "-n", "40")
        try chat.wait(for: "> ")
        func answer() throws -> String {
            try takesCommands(chat, "same")
            chat.type("abc\n")
            try takesCommands(chat, "answered")
            chat.type("/history\n")
            try chat.wait(for: "assistant: ")
            // What is typed is echoed at once: nothing before the prompt.
            let text = try chat.wait(for: "\r\n> ")
            chat.type("/clear\n")
            try chat.wait(for: "forgotten\r\n> ")
            return text
        }
        let expected = try answer()
        XCTAssertGreaterThan(expected.utf8.count, 40)
        XCTAssertEqual(truncate(folder.path + "/endless.gguf", 0), 0)
        XCTAssertEqual(try answer(), expected)
        chat.type("/exit\n")
        XCTAssertEqual(try chat.end(), 0)
    }

    /// In the middle of an answer too.
    func testModelFileTruncatedInTheMiddle() throws {
        let folder = try Folder()
        let chat = try chat(folder)
        try chat.wait(for: "> ")
        chat.type("abc\n")
        try chat.wait(bytes: 500)
        XCTAssertEqual(truncate(folder.path + "/endless.gguf", 0), 0)
        try chat.wait(bytes: 2000)
        chat.type("\u{3}")
        try takesCommands(chat, "on")
        chat.type("/exit\n")
        XCTAssertEqual(try chat.end(), 0)
    }

    /// Failures of the template and of the context are said; a later message is answered.
    func testErrorsDoNotEndIt() throws {
        let model = try Command.model("llama-gqa")
        let template =
            "{% if messages[-1].content == 'bad' %}{{ raise_exception('not \u{1B}[31mthat') }}{% endif %}{{ messages[-1].content }}"
        let command = try Command(
            ["chat", "-m", model, "--chat-template", template, "--temp", "0", "-n", "4", "-c", "64"],
            input: Data("good\nbad\n\(String(repeating: "long ", count: 100))\n/regen\ngood\n/history\n".utf8))
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.error.contains("refuses: not \\u001b[31mthat"), command.error)
        XCTAssertFalse(command.error.utf8.contains(0x1B))
        XCTAssertEqual(command.error.components(separatedBy: "/clear starts anew").count, 3, command.error)
        XCTAssertEqual(command.error.components(separatedBy: "user: good").count, 3, command.error)
        XCTAssertEqual(command.error.components(separatedBy: "assistant: ").count, 3, command.error)
        XCTAssertFalse(command.error.contains("user: bad"), command.error)
    }

    func testHostileLines() throws {
        let model = try Command.model("llama-gqa")
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path + "/sub", withIntermediateDirectories: true)
        XCTAssertEqual(mkfifo(folder.path + "/fifo", 0o600), 0)
        let binary = try folder.write("binary", Data([0xFF, 0, 0x80]))
        let deep = try folder.write("deep.json", Data(String(repeating: "[", count: 1 << 20).utf8))
        var input = Data("a\0b\n".utf8) + Data([0x61, 0xFF, 0x0A]) + Data(repeating: 0x78, count: 1 << 20) + Data("\n".utf8)
        for line in [
            "/read \(folder.path)/fifo", "/read \(folder.path)/sub", "/read \(binary)", "/load \(deep)", "/save \(folder.path)/sub",
            "/save \(folder.path)/no/such", "/read /dev/zero", "/save \(folder.path)/saved", "hello",
        ] { input += Data("\(line)\n".utf8) }
        let command = try Command(
            ["chat", "-m", model, "--chat-template", "{{ messages[-1].content }}", "--temp", "0", "-n", "1", "-c", "64"],
            input: input)
        XCTAssertEqual(command.status, 0, command.error)
        for words in [
            "not UTF-8 (first wrong byte at offset 1)", "/clear starts anew", "/fifo: nothing came within", "/sub: Is a directory",
            "binary: not UTF-8", "deep.json: not a conversation", "/sub: cannot be written: Is a directory",
            "no/such: cannot be written: No such file", "/dev/zero: more than 64 MiB", "/saved: 2 messages",
        ] { XCTAssertTrue(command.error.contains(words), "\(words): \(command.error.suffix(3000))") }
        let mode = try FileManager.default.attributesOfItem(atPath: folder.path + "/saved")[.posixPermissions] as? Int
        XCTAssertEqual(mode, 0o600)
    }

    /// Messages of one chat are there for the next one, in a file for the user alone; what is damaged is dropped.
    func testHistory() throws {
        let folder = try Folder()
        let path = folder.path + "/state/kvcpu/chat_history"
        try FileManager.default.createDirectory(atPath: folder.path + "/state/kvcpu", withIntermediateDirectories: true)
        var damaged = Data("_HiStOrY_V2_\nonce\\040more\n\\M-CX\\999\n".utf8)
        damaged += Data([0xFF, 0xFE, 0x0A]) + Data(repeating: 0x79, count: 100_000)
        try damaged.write(to: URL(fileURLWithPath: path))
        let first = try chat(folder)
        try first.wait(for: "> ")
        first.type("/undo\n")
        try first.wait(for: "no message yet\r\n> ")
        first.type("/exit\n")
        XCTAssertEqual(try first.end(), 0)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
        XCTAssertEqual(lines, ["once more", "/undo", "/exit"])
        XCTAssertEqual(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int, 0o600)
        // The arrow key's own line: "/exit", which leaves.
        let second = try chat(folder)
        try second.wait(for: "> ")
        second.type("\u{10}\n")
        XCTAssertEqual(try second.end(), 0)
    }
}
