import Foundation
import XCTest

/// `--synthetic` in place of a file.
final class SyntheticCommandTests: XCTestCase {
    private let small = "llama-7b,layers=2,width=256,heads=4,kv=4,ffn=512,vocab=333"

    func testBench() throws {
        let command = try Command([
            "bench", "--synthetic", small + ",type=Q5_1", "-p", "16", "-n", "4", "-r", "1", "--ranks", "2", "-t", "1", "-o", "json",
        ])
        XCTAssertEqual(command.status, 0, command.error)
        let rows = try XCTUnwrap(JSONSerialization.jsonObject(with: Data(command.output.utf8)) as? [[String: Any]])
        XCTAssertEqual(rows.count, 2)
        for row in rows {
            XCTAssertEqual(row["model_filename"] as? String, "synthetic \(small),type=q5_1,seed=1")
            XCTAssertEqual(row["model_type"] as? String, "llama 7B layers=2 width=256 heads=4 kv=4 ffn=512 vocab=333 Q5_1")
            XCTAssertGreaterThan(try XCTUnwrap(row["avg_ts"] as? Double), 0)
        }
    }

    /// A real width, as the README shows it.
    func testBenchOfAPreset() throws {
        let command = try Command([
            "bench", "--synthetic", "llama-7b,layers=1,vocab=1000,type=q4_0", "-p", "8", "-n", "2", "-r", "1",
        ])
        XCTAssertEqual(command.status, 0, command.error)
        XCTAssertTrue(command.output.contains("| llama 7B layers=1 vocab=1000 Q4_0 |"), command.output)
        XCTAssertTrue(command.output.contains("| tg2 |"), command.output)
    }

    /// Logits and KV-cache are the same bits in another process and with other ranks.
    func testDump() throws {
        let folder = try Folder()
        var files: Set<Data> = []
        for (index, flags) in [["--ranks", "1"], ["--ranks", "3", "-t", "1", "--oversubscribe"]].enumerated() {
            let path = "\(folder.path)/\(index).safetensors"
            let command = try Command(
                ["dump", "--synthetic", small, "--tokens", "1,2,3,4,5,6,7", "-o", path] + flags)
            XCTAssertEqual(command.status, 0, command.error)
            files.insert(try Data(contentsOf: URL(fileURLWithPath: path)))
        }
        XCTAssertEqual(files.count, 1)
    }

    func testInspect() throws {
        let command = try Command(["inspect", "--synthetic", "llama-13b,type=q4_k", "-c", "16"])
        XCTAssertEqual(command.status, 0, command.error)
        for word in ["no file", "kvcpu.synthetic.seed = 1", "Q4_K: 282 tensors", "40 layers, embedding 5120", "memory plan"] {
            XCTAssertTrue(command.output.contains(word), word)
        }
    }

    func testBadRequests() throws {
        for (arguments, status, words) in [
            (["bench", "--synthetic", "gpt-9", "-p", "1", "-n", "0"], 2, ["model is \"gpt-9\"", "llama-7b"]),
            (["bench", "--synthetic", "llama-7b,layers=x"], 2, ["layers is \"x\""]),
            (["bench", "--synthetic", "llama-7b,type=q3_0"], 2, ["type is \"q3_0\"", "q4_0"]),
            (["bench", "--synthetic", "llama-7b", "-m", "model.gguf"], 2, ["not both"]),
            (["run", "--synthetic", "llama-7b", "-p", "hello"], 2, ["no tokenizer", "llama-7b"]),
            (["chat", "--synthetic", "llama-7b"], 2, ["no tokenizer"]),
            (["tokenize", "--synthetic", "llama-7b", "hello"], 2, ["no tokenizer"]),
            (["dump", "--synthetic", small, "-p", "hello", "-o", "/dev/null"], 2, ["no tokenizer"]),
            (["inspect", "--synthetic", small, "--tensor", "output.weight", "-o", "/dev/null"], 1, ["output.weight", "no data"]),
            (["bench", "--synthetic", "llama-30b,layers=1024,type=f32", "-p", "1", "-n", "0"], 1, ["needs", "GiB"]),
        ] as [([String], Int32, [String])] {
            let command = try Command(arguments)
            XCTAssertEqual(command.status, status, "\(arguments): \(command.error)")
            for word in words { XCTAssertTrue(command.error.contains(word), "no \"\(word)\" in: \(command.error)") }
        }
    }
}
