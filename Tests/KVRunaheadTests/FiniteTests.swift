import Foundation
import KVGGUF
import KVModel
import KVTestSupport
import XCTest

import KVRunahead

/// Logits that are no numbers are an error that names, where that is asked for, the first layer behind which there are some.
final class FiniteTests: XCTestCase {
    private static let tokens: [Int32] = [1, 5, 9, 2, 7, 3, 8]

    /// A copy of a fixture with one NaN in a tensor.
    private func broken(_ tensor: String) throws -> String {
        let original = try TestModels.fixture("llama-mha-tied-rope3")
        var bytes = try Data(contentsOf: URL(fileURLWithPath: original))
        let file = try GGUFFile.open(original)
        let info = try XCTUnwrap(file.tensor(tensor))
        let content = Data(try file.bytes(of: info))
        let place = try XCTUnwrap(bytes.range(of: content)).lowerBound
        XCTAssertEqual(bytes.range(of: content, options: .backwards)?.lowerBound, place, "\(tensor) is there twice")
        let nan: [UInt8] = info.type == TensorType(named: "f32") ? [0, 0, 0xc0, 0x7f] : [0, 0x7e]
        bytes.replaceSubrange(place..<place + nan.count, with: nan)
        let path = NSTemporaryDirectory() + "kvcpu-nan-\(UUID().uuidString).gguf"
        try bytes.write(to: URL(fileURLWithPath: path))
        addTeardownBlock { try? FileManager.default.removeItem(atPath: path) }
        return path
    }

    private func error(_ path: String, locates: Bool, ranks: Int = 1, mode: Configuration.RankMode = .thread) throws -> EngineError?
    {
        var configuration = mode == .process ? ProcessTests.configuration(.file(path), ranks: ranks) : Configuration(model: path)
        configuration.ranks = ranks
        configuration.threadsPerRank = 1
        configuration.locatesNonFinite = locates
        let team = try TestModels.ranks(try TestModels.model(path, .int8), configuration, context: 32)
        defer { team.shutdown() }
        do throws(EngineError) { _ = try team.prefill(Self.tokens) } catch { return error }
        return nil
    }

    func testTheFirstLayerIsNamed() throws {
        for (tensor, layer, text) in [
            ("blk.1.ffn_down.weight", 1, "first appear in layer 1 of"), ("blk.0.attn_v.weight", 0, "first appear in layer 0 of"),
            // Tied with the output matrix: the row of a token that the prompt does not have.
            ("token_embd.weight", nil, "behind the last layer only"),
        ] as [(String, Int?, String)] {
            let path = try broken(tensor)
            let plain = try error(path, locates: false)
            XCTAssertEqual(plain?.code, .numbers, tensor)
            XCTAssertTrue(plain?.description.contains("logits of position 6 are not finite") ?? false, "\(tensor): \(plain as Any)")
            for (ranks, mode) in [(1, Configuration.RankMode.thread), (3, .thread), (2, .process)] {
                let found = try error(path, locates: true, ranks: ranks, mode: mode)
                XCTAssertEqual(found?.code, .numbers, tensor)
                XCTAssertEqual(found?.layer, layer, tensor)
                XCTAssertTrue(found?.description.contains(text) ?? false, "\(tensor), \(ranks) ranks: \(found as Any)")
            }
        }
    }

    /// The ranks stay usable, and nothing of it is kept for later prompts.
    func testDecode() throws {
        let path = try TestModels.fixture("llama-mha-tied-rope3")
        let model = try TestModels.model(path, .int8)
        let team = try TestModels.ranks(model, Configuration(model: path), context: 32)
        defer { team.shutdown() }
        _ = try team.prefill(Self.tokens)
        // What is in the cache counts: the first key of the first layer is no number from here on.
        try team.cache.forEachPart(1) { _, part in part.copyBytes(from: [0x00, 0x7e]) }
        XCTAssertThrowsError(try team.decode(4)) { XCTAssertEqual(($0 as? EngineError)?.code, .numbers, "\($0)") }
        XCTAssertEqual(team.length, 0)
        XCTAssertEqual(try team.prefill(Self.tokens, reuses: true).reused, 0)
        XCTAssertNoThrow(try team.decode(4))
    }
}
