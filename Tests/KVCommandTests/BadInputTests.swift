import Foundation
import XCTest

/// Bad input: a message that names it, exit 2 for the request and 1 for the run, never a crash.
final class BadInputTests: XCTestCase {
    private func fails(_ arguments: [String], _ status: Int32, _ words: String..., input: Data? = nil, line: UInt = #line) throws {
        let command = try Command(arguments, input: input)
        XCTAssertEqual(command.status, status, command.error, line: line)
        XCTAssertEqual(command.output, "", line: line)
        for word in words { XCTAssertTrue(command.error.contains(word), "no \"\(word)\" in: \(command.error)", line: line) }
    }

    func testModelFiles() throws {
        let folder = try Folder()
        let good = try Data(contentsOf: URL(fileURLWithPath: Command.model("llama-mha-tied-rope3")))
        func patched(_ name: String, _ old: String, _ new: String) throws -> String {
            var data = good
            let range = try XCTUnwrap(data.range(of: Data(old.utf8)))
            data.replaceSubrange(range, with: Data(new.utf8))
            return try folder.write(name, data)
        }
        try fails(["-m", folder.path + "/absent.gguf", "-p", "x"], 1, "absent.gguf", "no such file")
        try fails(["-m", folder.path, "-p", "x"], 1, folder.path, "no config.json")
        try fails(["-m", folder.write("empty.gguf", Data()), "-p", "x"], 1, "empty.gguf", "empty")
        try fails(["-m", folder.write("cut.gguf", good.prefix(good.count - 1000)), "-p", "x"], 1, "cut.gguf", "tensor ")
        try fails(["-m", folder.write("head.gguf", good.prefix(300)), "-p", "x"], 1, "head.gguf", "300 bytes")
        try fails(["-m", folder.write("text.gguf", Data("no model".utf8)), "-p", "x"], 1, "text.gguf", "not a GGUF file")
        // Same length, so that the rest of the file stays where it is.
        try fails(["-m", patched("other.gguf", "\u{5}\0\0\0\0\0\0\0llama", "\u{5}\0\0\0\0\0\0\0lluma"), "-p", "x"], 1, "lluma")
        // The type of blk.0.attn_k.weight (2 dimensions of 8 bytes behind its name) becomes Q2_K.
        var data = good
        let name = try XCTUnwrap(data.range(of: Data("blk.0.attn_norm.weight".utf8)))
        data[name.upperBound + 4 + 8] = 24
        try fails(["-m", folder.write("type.gguf", data), "-p", "x"], 1, "blk.0.attn_norm.weight", "I8")
    }

    func testPrompts() throws {
        let model = try Command.model("llama-mha-tied-rope3")
        let folder = try Folder()
        try fails(["-m", model, "-p", ""], 2, "prompt is empty")
        try fails(["-m", model], 2, "prompt is empty")
        try fails(["-m", model, "-p", "a", "-f", "b"], 2, "not both")
        try fails(["-m", model, "-f", folder.path + "/absent.txt"], 1, "absent.txt")
        let broken = try folder.write("broken.txt", Data("fine ".utf8) + Data([0xFF, 0xFE]) + Data("x".utf8))
        try fails(["-m", model, "-f", broken], 1, "broken.txt", "UTF-8", "offset 5")
        try fails(["-m", model], 1, "standard input", "UTF-8", "offset 1", input: Data([0x61, 0x80]))
        try fails(["-m", model, "-c", "8", "-p", "one two three four five six seven eight nine"], 1, "context holds 8")
    }

    func testFlags() throws {
        let model = try Command.model("llama-mha-tied-rope3")
        try fails(["-m", model, "-p", "x", "--ranks", "0"], 2, "--ranks is 0")
        try fails(["-m", model, "-p", "x", "--threads-per-rank", "0"], 2, "--threads-per-rank is 0")
        try fails(["-m", model, "-p", "x", "--ranks", "two"], 2, "two")
        try fails(["-m", model, "-p", "x", "--no-such-flag"], 2, "no-such-flag")
        try fails(["-m", model, "-p", "x", "--temp", "-1"], 2, "temperature is -1")
        try fails(["-m", model, "-p", "x", "--top-p", "2"], 2, "top-p is 2")
        try fails(["-m", model, "-p", "hello", "--ranks", "2", "--partition", "100,200"], 2, "sums to 300")
        try fails(["-m", model, "-p", "hello", "--ranks", "2", "--partition", "1,2,3"], 2, "3 chunks", "2 ranks")
        try fails(["-m", model, "-p", "hello", "--partition", "odd"], 2, "\"odd\"")
        try fails(["-m", model, "-p", "hello", "--isa", "mmx"], 2, "mmx")
        try fails(["-m", model, "-p", "x", "-c", "2000000000"], 1, "needs", "has", "GiB")
        try fails(["dump", "-m", model, "--tokens", "1,2,x", "-o", "/dev/null"], 2, "1,2,x")
        try fails(["dump", "-m", model, "--tokens", "1,512", "-o", "/dev/null"], 2, "512")
        try fails(["bench", "-m", model, "-p", "a"], 2, "-p is \"a\"")
        try fails(["inspect", "-m", model, "--tensor", "blk.0.attn_q", "-o", "/dev/null"], 1, "blk.0.attn_q.weight")
        try fails(["tokenize", "-m", model, "--detokenize", "hello"], 2, "JSON array")
        try fails(["template", "--chat-template", "nosuch", "--messages", "/dev/null"], 2, "nosuch", "chatml")
        try fails(["template", "--chat-template", "{{ 1 +", "--messages", "/dev/null"], 2, "cannot be read", "line 1")
        try fails(["template", "--chat-template", "chatml", "--messages", "/dev/null"], 1, "/dev/null", "not JSON")
        let folder = try Folder()
        let endless = try folder.write(
            "endless.jinja", Data("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}".utf8))
        let messages = try folder.write("messages.json", Data("[]".utf8))
        try fails(["template", "--chat-template-file", endless, "--messages", messages], 1, endless, "too many steps")
        try fails(["-m", model, "--chat", "-p", "x", "--chat-template", "{{ raise_exception('no') }}"], 2, "refuses: no")
    }
}
