import Foundation
import KVGGUF
import KVTestSupport
import XCTest

/// `kvcpu dump` beside Hugging Face's logits, caches and continuations.
final class DumpTests: XCTestCase {
    func testFixtures() throws {
        let folder = try Folder()
        for name in ["llama-gqa", "llama-mha-tied-rope3", "q-llama-q8_0"] {
            let expected = try SafetensorsFile(path: Fixtures.require("\(name)/expected.safetensors"))
            let tokens = try expected.integers("input_ids")
            let path = folder.path + "/\(name).safetensors"
            let command = try Command([
                "dump", "-m", Command.model(name), "--tokens", tokens.map(String.init).joined(separator: ","), "--activations",
                "f32",
                "--cache-type", "f32", "--ranks", "2", "--greedy", "32", "-o", path,
            ])
            XCTAssertEqual(command.status, 0, command.error)
            let file = try SafetensorsFile(path: path)
            XCTAssertEqual(try file.integers("input_ids"), tokens)
            XCTAssertEqual(try file.integers("greedy_ids"), try expected.integers("greedy_ids"))
            XCTAssertEqual(file.tensor("logits")?.shape, expected.tensor("logits")?.shape)
            XCTAssertLessThanOrEqual(try error(file, "logits", expected, "logits_f64"), 5e-4, name)
            for (ours, theirs) in [("key", "k_cache"), ("value", "v_cache")] {
                XCTAssertEqual(file.tensor(ours)?.shape, expected.tensor(theirs)?.shape)
                let largest = try expected.floats(theirs).reduce(Float(0)) { max($0, abs($1)) }
                XCTAssertLessThanOrEqual(try error(file, ours, expected, theirs), 1e-4 * largest, "\(name) \(ours)")
            }
        }
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: folder.path).count, 3, "no temporary files")
    }

    private func error(_ file: SafetensorsFile, _ name: String, _ expected: SafetensorsFile, _ truth: String) throws -> Float {
        zip(try file.floats(name), try expected.floats(truth)).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }
}
