import Foundation
import KVGGUF
import KVTestSupport
import XCTest

import KVModel

/// Operations of one worker on its own, seen through the logits: parts of matrices, biases, LayerNorm, GELU.
final class OperationsTests: XCTestCase {
    private final class Alone: Team {
        let count = 1
        func synchronise(worker: Int) throws(Stopped) {}
    }

    /// One worker on a model's weights, at the first of `tokens`' pieces.
    private struct Bench {
        let model: Model
        let arena: Arena
        let cache: KVCache
        let embedding: Table
        let team = Alone()

        init(_ file: GGUFFile, _ activations: ActivationType, chunk: Int) throws {
            model = try Model(file, kernels: try Kernels.choose(), activations: activations)
            embedding = try model.weights.table(
                "token_embd.weight", columns: model.geometry.embedding, rows: model.geometry.vocabulary)
            arena = try Arena(model.geometry, weights: model.weights, chunk: chunk, context: chunk, workers: 1)
            cache = try KVCache(model.geometry, type: .f32, capacity: chunk)
        }

        /// Packs what has been declared and runs `body` on the tokens' embeddings; the last token's logits.
        func logits(_ tokens: [Int32], count: Int, _ body: (CPUOperations) throws -> Void) throws -> [Float] {
            let weights = try WeightCopy(model.weights)
            weights.pack(worker: 0, of: 1)
            arena.reset()
            let operations = CPUOperations(
                weights: weights, geometry: model.geometry, arena: arena, caches: CacheSet(cache, readers: 1),
                angles: Angles(model.geometry.rotaries, positions: cache.capacity), team: team, worker: 0)
            try tokens.withUnsafeBufferPointer { buffer in
                var job = Job()
                job.positions = Positions(0..<buffer.count)
                job.keys = buffer.count
                job.tokens = buffer.baseAddress
                job.logits = .last
                operations.prepare(job)
                try operations.embed(embedding, scaledBy: 1)
                operations.begin(piece: 0)
                try body(operations)
            }
            return Array(UnsafeBufferPointer(start: arena.logits, count: count))
        }
    }

    /// Rows of a tensor as a matrix of their own give the bits of the whole one's, in every format and both modes, wherever they begin.
    func testPartsOfMatrices() throws {
        for format in Kernels.formatNames {
            for activations in ActivationType.allCases {
                let file = try Synthetic(parsing: "falcon-7b,layers=1,width=256,heads=8,ffn=512,vocab=500,type=\(format)").header()
                let bench = try Bench(file, activations, chunk: 1)
                let weights = bench.model.weights
                let name = "blk.0.attn_qkv.weight"
                let rows = 256 + 2 * 32
                let whole = try weights.matrix(name, columns: 256, rows: rows)
                let norm = Norm.layer(
                    weight: try weights.vector("output_norm.weight", count: 256),
                    bias: try weights.vector("output_norm.bias", count: 256), epsilon: 1e-5)
                let ranges = [0..<256, 256..<288, 288..<320, 5..<206, 319..<320]
                let parts = try ranges.map { try weights.matrix(name, columns: 256, of: rows, rows: $0) }
                func products(_ matrix: Matrix) throws -> [UInt32] {
                    try bench.logits([7], count: matrix.rows) { operations in
                        try operations.normalise(.hidden, by: norm, into: .normed)
                        try operations.project(.normed, by: matrix, shape: LogitShape())
                    }.map(\.bitPattern)
                }
                let expected = try products(whole)
                XCTAssertGreaterThan(Set(expected).count, 300, format)
                for (range, part) in zip(ranges, parts) {
                    XCTAssertEqual(try products(part), Array(expected[range]), "\(format) \(activations) \(range)")
                }
            }
        }
    }

    private func values(_ name: String, _ file: GGUFFile) throws -> [Double] {
        try Weights.floats(of: try XCTUnwrap(file.tensor(name)), in: file).map(Double.init)
    }

    /// rows × columns times x.
    private func product(_ matrix: [Double], _ x: [Double]) -> [Double] {
        (0..<matrix.count / x.count).map { row in
            (0..<x.count).reduce(0.0) { $0 + matrix[row * x.count + $1] * x[$1] }
        }
    }

    /// Against the same in double: hidden += down · gelu(up · norm(hidden)) + bias, for one token and for several; logits with a bias.
    func testFeedForwardWithBiases() throws {
        let file = try GGUFFile(path: try Fixtures.require("falcon-7b/model.gguf"))
        let bench = try Bench(file, .float, chunk: 3)
        let weights = bench.model.weights
        let (normWeight, normBias) = (try values("blk.0.attn_norm.weight", file), try values("blk.0.attn_norm.bias", file))
        let bias = try values("blk.1.attn_norm.bias", file)
        let norm = Norm.layer(
            weight: try weights.vector("blk.0.attn_norm.weight", count: 128),
            bias: try weights.vector("blk.0.attn_norm.bias", count: 128), epsilon: 1e-5)
        let up = try weights.matrix("blk.0.ffn_up.weight", columns: 128, rows: 512)
        // Vectors of the file that no architecture takes for biases.
        let output = try weights.matrix(
            "blk.0.attn_output.weight", columns: 128, of: 128, rows: 3..<128, bias: "blk.1.attn_norm.bias")
        let down = try weights.matrix("blk.0.ffn_down.weight", columns: 512, rows: 128, bias: "output_norm.bias")
        let downBias = try values("output_norm.bias", file)
        for tokens in [[Int32(11)], [5, 399, 42]] {
            let logits = try bench.logits(tokens, count: 125) { operations in
                try operations.normalise(.hidden, by: norm, into: .normed)
                try operations.multiplyActivated(.normed, up: up, .gelu)
                try operations.multiply(.gate, by: down, weighted: .constant(1), addingTo: .hidden)
                operations.keepLogitsTokens()
                operations.begin(piece: 0)
                try operations.project(.hidden, by: output, shape: LogitShape())
            }
            let table = try values("token_embd.weight", file)
            let token = Int(tokens[tokens.count - 1])
            let hidden = Array(table[token * 128..<(token + 1) * 128])
            let mean = hidden.reduce(0, +) / 128
            let scale = 1 / (hidden.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) } / 128 + 1e-5).squareRoot()
            let normed = (0..<128).map { (hidden[$0] - mean) * scale * normWeight[$0] + normBias[$0] }
            let gate = product(try values("blk.0.ffn_up.weight", file), normed).map { $0 * 0.5 * erfc(-$0 * 0.5.squareRoot()) }
            let added = zip(product(try values("blk.0.ffn_down.weight", file), gate), downBias).map { $0 + $1 }
            let sum = zip(hidden, added).map { $0 + $1 }
            let truth = zip(product(try values("blk.0.attn_output.weight", file), sum), bias).map { $0 + $1 }.dropFirst(3)
            for (value, truth) in zip(logits, truth) { XCTAssertEqual(Double(value), truth, accuracy: 2e-5) }
        }
    }
}
