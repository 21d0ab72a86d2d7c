import Foundation
import KVGGUF
import KVTestSupport
import XCTest

final class CommandTests: XCTestCase {
    func testAnswersOnStandardOutputAlone() throws {
        let model = try Command.standardModel()
        let command = try Command([
            "-m", model, "--chat", "--temp", "0", "-n", "16", "-p", "Explain in three sentences why the sky is blue.",
        ])
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.output.contains("blue"), command.output)
        XCTAssertFalse(command.output.contains("TTFT"))
        XCTAssertTrue(command.error.contains("TTFT"))
        XCTAssertFalse(command.error.contains("\u{1B}"), "no progress bar where standard error is no terminal")
        let piped = try Command(
            ["-m", model, "--chat", "--temp", "0", "-n", "16", "--stats", "none"],
            input: Data("Explain in three sentences why the sky is blue.".utf8))
        XCTAssertEqual(piped.output, command.output)
    }

    func testThreadsAreFittedWithANotice() throws {
        let model = try Command.model("llama-mha-tied-rope3")
        let command = try Command(["-m", model, "-p", "hello", "-n", "2", "--threads-per-rank", "1000"])
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.error.contains("1000 threads per rank asked"), command.error)
    }

    private func statistics(_ arguments: [String]) throws -> [String: Any] {
        let command = try Command(arguments + ["--stats", "json"])
        XCTAssertEqual(command.status, 0, command.error)
        let line = try XCTUnwrap(command.error.split(separator: "\n").last { $0.hasPrefix("{") }, command.error)
        return try XCTUnwrap(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    func testStatisticsAndHashes() throws {
        let model = try Command.standardModel()
        var hashes: Set<[String]> = []
        for flags in [
            ["--ranks", "1"], ["--ranks", "2"], ["--ranks", "3", "--link", "ring"], ["--ranks", "2", "--partition", "0.9,0.1"],
            ["--strategy", "sequential"], ["--ranks", "2", "--strategy", "tsp"], ["--ranks", "2", "--strategy", "tsp-causal"],
            ["--ranks", "2", "--strategy", "zigzag", "--throttle", "bandwidth=1GB/s,latency=5us,jitter=1us,bursts=20%,seed=1"],
        ] {
            let statistics = try statistics(
                ["-m", model, "-p", "The lighthouse at the edge of the bay", "-n", "3", "--temp", "0"] + flags)
            XCTAssertEqual(statistics["n_prompt"] as? Int, 8)
            XCTAssertEqual(statistics["n_gen"] as? Int, 3)
            for key in ["ttft_ms", "prefill_ts", "tpot_ms"] {
                XCTAssertGreaterThan(try XCTUnwrap(statistics[key] as? Double), 0, key)
            }
            XCTAssertEqual((statistics["partition"] as? [Int])?.reduce(0, +), 8)
            hashes.insert([
                try XCTUnwrap(statistics["logits_sha256"] as? String), try XCTUnwrap(statistics["kv_sha256"] as? String),
            ])
        }
        XCTAssertEqual(hashes.count, 1)
        XCTAssertEqual(hashes.first?.map(\.count), [64, 64])
    }

    /// The worked example of the paper by way of the command line: 8 tokens on 2 ranks.
    func testAccounting() throws {
        let model = try Command.standardModel()
        let flags = ["-m", model, "-p", "The lighthouse at the edge of the bay", "-n", "1", "--ranks", "2"]
        for (strategy, rectangles, rows) in [
            ("tsp", [32, 32], [8, 8]), ("runahead", [16, 32], [8, 0]), ("zigzag", [32, 32], [8, 8]),
        ] {
            let statistics = try statistics(flags + ["--strategy", strategy])
            let perRank = try XCTUnwrap(statistics["per_rank"] as? [[String: Any]])
            let layer = perRank.compactMap { $0["layer"] as? [String: Int] }
            XCTAssertEqual(layer.map { $0["rectangle"] }, rectangles, strategy)
            XCTAssertEqual(layer.map { $0["rows"] }, rows, strategy)
            XCTAssertEqual(layer.reduce(0) { $0 + ($1["causal"] ?? 0) }, 36, strategy)
        }
        let text = try Command(flags + ["--strategy", "tsp"])
        XCTAssertTrue(text.error.contains("32/32 per head, computed 32/32, 16 rows exchanged"), text.error)
    }

    func testStrategyAndThrottleAreChecked() throws {
        let model = try Command.model("llama-mha-tied-rope3")
        for (flags, words) in [
            (["--strategy", "tsp", "--partition", "0.5,0.5"], ["tsp", "0.5,0.5"]),
            (["--throttle", "latency=5"], ["latency", "\"5\""]), (["--strategy", "ring"], ["ring", "tsp-causal"]),
        ] {
            let command = try Command(["-m", model, "-p", "hello", "--ranks", "2"] + flags)
            XCTAssertEqual(command.status, 2, command.error)
            for word in words { XCTAssertTrue(command.error.contains(word), command.error) }
        }
        let bench = try Command([
            "bench", "-m", model, "-p", "16", "-n", "0", "-r", "1", "--ranks", "2", "-t", "1", "-o", "jsonl", "--strategy", "tsp",
            "--throttle", "bandwidth=10GB/s",
        ])
        XCTAssertEqual(bench.status, 0, bench.error)
        XCTAssertTrue(bench.output.contains("\"rows_exchanged\":64"), bench.output)
        let turns = try Command([
            "bench", "-m", model, "-p", "16", "-n", "0", "-r", "2", "--ranks", "2", "-t", "1", "-o", "json", "--strategy",
            "sequential,tsp,runahead,zigzag", "--partition", "even;12,4",
        ])
        XCTAssertEqual(turns.status, 0, turns.error)
        let rows = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(turns.output.utf8)) as? [[String: Any]])
        XCTAssertEqual(
            rows.map { "\($0["strategy"] ?? "") \($0["partition"] ?? "") \($0["rows_exchanged"] ?? "")" },
            ["sequential even 0", "tsp even 64", "runahead even 32", "runahead 12,4 48", "zigzag even 64"])
        XCTAssertTrue(rows.allSatisfy { ($0["samples_ns"] as? [Int])?.count == 2 })
        for flags in [["--strategy", "ring"], ["--strategy", "zigzag", "--partition", "12,4"], ["--strategy", ","]] {
            let wrong = try Command(["bench", "-m", model, "-p", "16", "-n", "0", "--ranks", "2"] + flags)
            XCTAssertEqual(wrong.status, 2, wrong.error)
        }
    }

    func testTimeline() throws {
        let folder = try Folder()
        let path = folder.path + "/t.json"
        let command = try Command([
            "-m", Command.model("llama-mha-tied-rope3"), "-p", "hello there", "-n", "1", "--ranks", "2", "--timeline", path, "-v",
        ])
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.error.contains("timeline"))
        let trace = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path))) as? [String: Any]
        let events = try XCTUnwrap(trace?["traceEvents"] as? [[String: Any]])
        XCTAssertEqual(Set(events.compactMap { $0["tid"] as? Int }), [0, 1])
        XCTAssertTrue(events.contains { $0["name"] as? String == "wait" })
    }

    func testInterrupt() throws {
        let model = try Command.standardModel()
        let command = try Command(
            ["-m", model, "-p", "Once upon a time", "-n", "7000", "--ignore-eos", "-c", "8000"], isInterrupted: true)
        XCTAssertEqual(command.status, 130, command.error)
        XCTAssertTrue(command.error.contains("interrupted after"), command.error)
    }

    /// Before there is anything to end in order, as while the prompt is read or the model loads, a signal ends the program at once.
    func testSignalsBeforeTheWork() throws {
        let model = try Command.model("llama-gqa")
        for (signal, status) in [(SIGINT, 130), (SIGTERM, 143), (SIGHUP, 129)] as [(Int32, Int32)] {
            let process = Process()
            let (input, errors) = (Pipe(), Pipe())
            process.executableURL = Command.executable
            process.arguments = ["-m", model, "-f", "-", "-b", "512"]
            (process.standardInput, process.standardOutput, process.standardError) = (input, FileHandle.nullDevice, errors)
            try process.run()
            // The notice of -b, or what stands before it.
            XCTAssertFalse(errors.fileHandleForReading.availableData.isEmpty)
            kill(process.processIdentifier, signal)
            _ = errors.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            XCTAssertEqual(process.terminationReason, .exit)
            XCTAssertEqual(process.terminationStatus, status)
            try input.fileHandleForWriting.close()
        }
    }

    /// What is wrong in what was typed ends with 2, and is named.
    func testUsageErrors() throws {
        let model = try Command.model("llama-gqa")
        let folder = try Folder()
        let output = folder.path + "/dump.safetensors"
        let synthetic = ["--synthetic", "llama3-8b,layers=1,width=64,heads=2,kv=1,ffn=64,vocab=64"]
        for (arguments, words) in [
            (["-m", model, "-p", "a", "-n", "1", "--isa", "mmx"], "\"mmx\""),
            (["bench"] + synthetic + ["--isa", "mmx"], "\"mmx\""),
            (["plan"] + synthetic + ["--isa", "mmx"], "\"mmx\""), (["inspect"] + synthetic + ["--isa", "mmx"], "\"mmx\""),
            (["-m", model, "-p", "a", "--chat", "--chat-template-kwargs", "x"], "--chat-template-kwargs"),
            (["chat", "-m", model, "-n", "-2"], "--n-predict is -2"),
            (["dump", "-m", model, "-o", output, "--tokens", "1,2", "--greedy", "99999"], "the context has 512"),
            (["dump", "-m", model, "-o", output, "-p", "a", "--greedy", "99999"], "the context has 512"),
        ] {
            let command = try Command(arguments)
            XCTAssertEqual(command.status, 2, command.error)
            XCTAssertTrue(command.error.contains(words), command.error)
        }
    }

    func testBench() throws {
        let model = try Command.model("q-llama-q8_0")
        let command = try Command([
            "bench", "-m", model, "-p", "16,32", "-n", "4", "-r", "2", "--ranks", "1,2", "-t", "1", "-o", "json",
        ])
        XCTAssertEqual(command.status, 0, command.error)
        let rows = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(command.output.utf8)) as? [[String: Any]])
        XCTAssertEqual(
            rows.map { "\($0["ranks"] ?? 0) \($0["n_prompt"] ?? 0) \($0["n_gen"] ?? 0)" },
            ["1 16 0", "1 32 0", "1 0 4", "2 16 0", "2 32 0", "2 0 4"])
        for row in rows {
            XCTAssertEqual((row["samples_ts"] as? [Double])?.count, 2)
            XCTAssertEqual((row["samples_ns"] as? [Int])?.count, 2)
            for key in ["avg_ts", "avg_ns"] { XCTAssertGreaterThan(try XCTUnwrap(row[key] as? Double), 0, key) }
            XCTAssertNotNil(row["stddev_ts"])
        }
        for format in ["md", "jsonl", "csv"] {
            let other = try Command(["bench", "-m", model, "-p", "16", "-n", "0", "-r", "1", "-o", format])
            XCTAssertEqual(other.status, 0)
            XCTAssertEqual(other.output.split(separator: "\n").count, ["md": 3, "jsonl": 1, "csv": 2][format], other.output)
        }
    }

    func testInstructionSetFromEnvironment() throws {
        let arguments = ["-m", try Command.model("llama-mha-tied-rope3"), "-p", "hello", "-n", "1"]
        let scalar = try Command(arguments, environment: ["KVCPU_ISA": "scalar"])
        XCTAssertEqual(scalar.status, 0, scalar.error)
        XCTAssertTrue(scalar.error.contains("kernels scalar"), scalar.error)
        let unknown = try Command(arguments, environment: ["KVCPU_ISA": "mmx"])
        XCTAssertEqual(unknown.status, 1)
        XCTAssertTrue(unknown.error.contains("KVCPU_ISA=\"mmx\""), unknown.error)
        let flag = try Command(arguments + ["--isa", "scalar"], environment: ["KVCPU_ISA": "mmx"])
        XCTAssertEqual(flag.status, 0, "the flag goes before the variable: \(flag.error)")
    }

    func testPerplexity() throws {
        let model = try Command.standardModel()
        let text = (0..<60).map { "Line \($0) of the text tells of ships and of the sea. " }.joined()
        let command = try Command(["perplexity", "-m", model, "-c", "64", "--chunks", "3"], input: Data(text.utf8))
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.output.hasPrefix("[1]"), command.output)
        XCTAssertTrue(command.output.contains("\nFinal estimate: PPL = "), command.output)
        let short = try Command(["perplexity", "-m", model, "-p", "Too short."])
        XCTAssertEqual(short.status, 2)
        XCTAssertTrue(short.error.contains("needs 1024"), short.error)
        XCTAssertEqual(try Command(["perplexity", "-m", model, "-p", "x", "--chunks", "0"]).status, 2)
    }

    func testTokenize() throws {
        let model = try Command.standardModel()
        let text = "Hello <|im_end|> world"
        let ids = try Command(["tokenize", "-m", model, text])
        // llama.cpp's ids, with special tokens parsed.
        XCTAssertEqual(ids.output, "[19556, 216, 2, 905]\n")
        let plain = try Command(["tokenize", "-m", model, "--no-special", text])
        XCTAssertNotEqual(plain.output, ids.output)
        for tokens in [ids, plain] {
            XCTAssertEqual(try Command(["tokenize", "-m", model, "--detokenize", tokens.output]).output, text + "\n")
            XCTAssertEqual(
                try Command(["tokenize", "-m", model, "--detokenize"], input: Data(tokens.output.utf8)).output, text + "\n")
        }
    }

    func testInspect() throws {
        let model = try Command.model("q-llama-q8_0")
        let shown = try Command(["inspect", "-m", model, "--tensors"])
        XCTAssertEqual(shown.status, 0, shown.error)
        for word in [
            "llama.block_count = 2", "Q8_0: 16 tensors", "blk.1.ffn_up.weight", "memory plan", "placement", "rank 0", "node",
        ] {
            XCTAssertTrue(shown.output.contains(word), word)
        }
        let folder = try Folder()
        let path = folder.path + "/t.safetensors"
        XCTAssertEqual(try Command(["inspect", "-m", model, "--tensor", "blk.0.attn_k.weight", "-o", path]).status, 0)
        let tensor = try XCTUnwrap(try SafetensorsFile(path: path).tensor("blk.0.attn_k.weight"))
        XCTAssertEqual(tensor.shape, [64, 256])
        XCTAssertEqual(tensor.dtype, "F32")
    }

    func testInspectListsDevices() throws {
        let model = try Command.model("q-llama-q8_0")
        var environment = try CUDAEmulator.environment(devices: 2)
        let shown = try Command(["inspect", "-m", model], environment: environment)
        XCTAssertEqual(shown.status, 0, shown.error)
        let folder = try CUDAEmulator.folder()
        for line in [
            "CUDA 12.4, kernels by NVRTC 12.99", "  \(folder)/libcublasLt.so.12",
            "  device 0: Emulated device 0, capability 9.0, 4 multiprocessors, 1.0 GiB, reaches the memory of 1",
            "  device 1: Emulated device 1, capability 9.0, 4 multiprocessors, 1.0 GiB, reaches the memory of 0",
        ] {
            XCTAssertTrue(shown.output.contains(line + "\n"), "\(line)\n\(shown.output)")
        }
        environment["KVCPU_FAKE_DRIVER"] = "11080"
        let old = try Command(["inspect", "-m", model], environment: environment)
        XCTAssertEqual(old.status, 0, old.error)
        XCTAssertTrue(
            old.output.contains(
                "no CUDA devices: \(folder)/libcuda.so.1: the driver is of CUDA 11.8, and 12.0 or newer is needed\n"),
            old.output)
    }

    func testHelpAndVersion() throws {
        let help = try Command(["--help"])
        XCTAssertEqual(help.status, 0)
        for word in ["run", "chat", "bench", "inspect", "dump", "tokenize"] { XCTAssertTrue(help.output.contains(word), word) }
        XCTAssertEqual(try Command(["--version"]).status, 0)
        XCTAssertEqual(try Command(["bench", "--help"]).status, 0)
    }

    func testChat() throws {
        let command = try Command(
            ["chat", "-m", Command.standardModel(), "--temp", "0", "-n", "16"],
            input: Data("Explain in three sentences why the sky is blue.\n/nonsense\n/clear\n\n/exit\n".utf8))
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.output.contains("blue"), command.output)
        XCTAssertTrue(command.error.contains("unknown command /nonsense"))
    }

    /// Messages of several lines, files, and conversations that are taken back, saved and taken up again.
    func testChatCommands() throws {
        let folder = try Folder()
        let model = try Command.standardModel()
        let notes = try folder.write("notes.txt", Data("rain tomorrow".utf8))
        let saved = folder.path + "/chat.json"
        let lines = [
            "/regen", "/undo", "/system Be brief.", "/read \(folder.path)/absent", "/read \(notes)", "Say \\", "hello.", "/regen",
            "\"\"\"", "two", "lines\"\"\"", "/undo", "/save \(saved)", "/stats", "//slash", "/history", "/load \(notes)", "/bye",
            "never read",
        ]
        let first = try Command(
            ["chat", "-m", model, "--temp", "0", "-n", "4"], input: Data((lines.joined(separator: "\n") + "\n").utf8))
        XCTAssertEqual(first.status, 0, first.error)
        for part in [
            "there is no message yet", "absent: ", "13 bytes go with the next message", "3 messages", "TTFT", "user: /slash",
            "notes.txt: not a conversation",
        ] { XCTAssertTrue(first.error.contains(part), "\(part): \(first.error)") }
        XCTAssertFalse(first.error.contains("user: two"), first.error)
        let conversation = try JSONDecoder().decode(
            [String: [[String: String]]].self, from: try Data(contentsOf: URL(fileURLWithPath: saved)))
        let messages = try XCTUnwrap(conversation["messages"])
        XCTAssertEqual(messages.map { $0["role"] }, ["system", "user", "assistant"])
        XCTAssertEqual(messages[0]["content"], "Be brief.")
        XCTAssertEqual(messages[1]["content"], "rain tomorrow\nSay \nhello.")

        let second = try Command(
            ["chat", "-m", model, "--temp", "0", "-n", "4"], input: Data("/load \(saved)\n/history\n/regen\n".utf8))
        XCTAssertEqual(second.status, 0, second.error)
        XCTAssertTrue(second.error.contains("user: rain tomorrow\nSay \nhello."), second.error)
        // The same conversation has the same answer.
        XCTAssertEqual(second.output.trimmingCharacters(in: .newlines), messages[2]["content"])
    }
}
