import Foundation
import KVTestSupport
import XCTest

@testable import kvcpu

/// llama.cpp's command lines: every flag of its programs is known, and what it does is as the table says.
final class LlamaFlagsTests: XCTestCase {
    /// Program and name of every flag in the list that llama.cpp's own documentation gives.
    private func documented() throws -> [(program: LlamaFlag.Program, name: String)] {
        let text = try String(contentsOfFile: Fixtures.require("llama-flags.txt"), encoding: .utf8)
        return text.split(separator: "\n").filter { !$0.hasPrefix("#") }.flatMap {
            line -> [(program: LlamaFlag.Program, name: String)] in
            let words = line.split(separator: " ").map(String.init)
            let program: LlamaFlag.Program = words[0] == "bench" ? .bench : .cli
            return words.dropFirst().map { (program: program, name: $0) }
        }
    }

    func testEveryFlagIsInTheTable() throws {
        let flags = try documented()
        XCTAssertGreaterThan(flags.count, 400)
        for (program, name) in flags { XCTAssertNotNil(LlamaFlag.find(name, of: program), "\(program.rawValue) \(name)") }
        XCTAssertNil(LlamaFlag.find("--no-such-flag", of: .cli))
    }

    /// What the table says that a flag stands for is an option of the command.
    func testOptionsOfTheTableExist() {
        let commands: [OwnOptions] = [OwnOptions(Run.self), OwnOptions(Chat.self), OwnOptions(Bench.self)]
        let modes = ["--conversation", "--no-conversation", "--single-turn", "--help", "--version"]
        for flag in LlamaFlag.Program.allCases.flatMap({ LlamaFlag.all(of: $0) }) {
            var options: [String] = []
            if case .option(let option) = flag.meaning { options = [option] }
            if case .arguments(let arguments) = flag.meaning { options = arguments.filter { $0.hasPrefix("--") } }
            for option in options where !modes.contains(option) {
                XCTAssertTrue(commands.contains { $0.takesValue(option) != nil }, "\(flag.names): \(option)")
            }
        }
    }

    func testDocumentIsUpToDate() throws {
        let path = Fixtures.repository.appendingPathComponent("Sources/kvcpu/Documentation/llama-flags.md")
        XCTAssertEqual(
            try String(contentsOf: path, encoding: .utf8), LlamaFlag.document,
            "kvcpu formats --flags > Sources/kvcpu/Documentation/llama-flags.md")
    }

    private func parsed(_ arguments: String...) throws -> [String] { try CommandArguments(arguments).parsed }

    func testValuesMayBeginWithADash() throws {
        XCTAssertEqual(try parsed("-p", "- item", "-n", "-1"), ["run", "-p=- item", "-n=-1"])
        XCTAssertEqual(try parsed("--chat", "-sys", "-x", "--temp", "-1"), ["run", "--chat", "-sys=-x", "--temp=-1"])
        XCTAssertEqual(try parsed("-p=a=b", "--n-predict=-1"), ["run", "-p=a=b", "--n-predict=-1"])
        XCTAssertEqual(try parsed("tokenize", "-5"), ["tokenize", "--", "-5"])
        XCTAssertEqual(try parsed("tokenize", "- item", "--no-bos"), ["tokenize", "--no-bos", "--", "- item"])
        XCTAssertEqual(try parsed("tokenize", "--", "-x"), ["tokenize", "--", "-x"])
    }

    func testTranslations() throws {
        XCTAssertEqual(try parsed("--threads", "3", "-f", "x"), ["run", "--threads-per-rank=3", "-f=x"])
        XCTAssertEqual(try parsed("-cnv", "-st", "-p", "x"), ["run", "-p=x", "--chat"])
        XCTAssertEqual(try parsed("-m", "x", "-cnv"), ["chat", "-m=x"])
        XCTAssertEqual(try parsed("-p", "x", "-no-cnv"), ["run", "-p=x"])
        XCTAssertEqual(try parsed("-rea", "off", "--chat"), ["run", "--no-enable-thinking", "--chat"])
        XCTAssertEqual(try parsed("-C", "0xD", "-lm", "mlock"), ["run", "--cpus=0,2,3", "--mlock"])
        XCTAssertEqual(try parsed("--repeat_penalty", "1.5"), ["run", "--repeat-penalty=1.5"])
        XCTAssertEqual(try parsed("--sampler-seq", "kt"), ["run", "--samplers=top_k;temperature"])
        XCTAssertEqual(try parsed("bench", "--threads", "1", "-pg", "4,2"), ["bench", "--threads-per-rank=1", "-pg=4,2"])
        XCTAssertEqual(try parsed("-fa", "-p", "x", "-fa", "on", "--mirostat", "0.0", "--offline"), ["run", "-p=x"])
    }

    func testIgnoredFlagsAreSaid() throws {
        let arguments = try CommandArguments([
            "-tb", "4", "-b", "512", "--color", "on", "--no-mmap", "-p", "x", "--no-display-prompt",
        ])
        XCTAssertEqual(arguments.parsed, ["run", "-p=x"])
        XCTAssertEqual(arguments.notices.count, 4)
        for (notice, name) in zip(arguments.notices, ["-tb 4 ", "-b 512 ", "--color on ", "--no-mmap "]) {
            XCTAssertTrue(notice.hasPrefix(name + "has no effect: "), notice)
        }
    }

    func testRefusals() throws {
        for (arguments, words) in [
            (["-hf", "a/b"], ["-hf a/b", "-m PATH"]), (["--grammar", "x"], ["--grammar"]), (["--mirostat", "2"], ["--mirostat 2"]),
            (["--lora", "x"], ["merge"]), (["-p"], ["-p needs a value"]), (["--chat=1"], ["--chat takes no value"]),
            (["text"], ["\"text\" is no command", "-p TEXT"]), (["-p", "x", "text"], ["\"text\" belongs to no option"]),
            (["-fa", "maybe", "-p", "x"], ["maybe"]), (["-no-cnv", "--chat"], ["exclude"]), (["-cnv", "-no-cnv"], ["exclude"]),
            (["dump", "-r", "x"], ["-r sets nothing in kvcpu dump"]), (["-C", "xyz"], ["-C is \"xyz\""]),
            (["bench", "-m", "a", "-m", "b"], ["-m is given 2 times"]), (["--reverse-promt", "x"], ["is --reverse-prompt meant?"]),
        ] {
            XCTAssertThrowsError(try CommandArguments(arguments), "\(arguments)") { error in
                XCTAssertEqual((error as? Failure)?.code, 2)
                for word in words { XCTAssertTrue((error as? Failure)?.message.contains(word) ?? false, "\(word): \(error)") }
            }
        }
        // Nothing that has another meaning is suggested.
        for name in ["--frobnicate", "-xyz", "--tmp", "--top-x", "--prompt-x"] {
            XCTAssertThrowsError(try CommandArguments([name])) {
                XCTAssertFalse((($0 as? Failure)?.message ?? "meant?").contains("meant?"), name)
            }
        }
    }

    /// As llama.cpp's string_process_escapes.
    func testEscapes() {
        for (text, expected) in [
            ("a\\nb", "a\nb"), ("\\t\\r\\\\\\'\\\"", "\t\r\\'\""), ("\\x41\\x7a", "Az"), ("\\xZZ\\q", "\\xZZ\\q"),
            ("end\\", "end\\"),
            ("\\xC3\\xA9", "é"), ("\\x4", "\\x4"),
        ] { XCTAssertEqual(Escapes.process(text), expected) }
        XCTAssertNil(Escapes.process("\\xFF"))
    }

    func testBenchValues() throws {
        func numbers(_ texts: String...) throws -> [Int] {
            try BenchValues.numbers(texts, usual: "7", "-p", in: 0...Int(Int32.max))
        }
        XCTAssertEqual(try numbers(), [7])
        XCTAssertEqual(try numbers("1,2", "3"), [1, 2, 3])
        XCTAssertEqual(try numbers("1-3,8-32*2,10-20+5"), [1, 2, 3, 8, 16, 32, 10, 15, 20])
        for text in [
            "", "a", "-1", "1,,2", "9223372036854775807", "1e308", "nan", "٣", "1-9999999", "0-8*2", "4-8+0", "8-4", "1-2-3",
        ] {
            XCTAssertThrowsError(try numbers(text), text)
        }
        XCTAssertThrowsError(try BenchValues.pairs(["4"], "-pg", in: 0...100))
        XCTAssertThrowsError(try BenchValues.pairs(["4,9223372036854775807"], "-pg", in: 0...100))
    }
}
