import KVGGUF
import XCTest

import KVModel

/// What of the falcon architecture's files is read, and what is refused.
final class FalconTests: XCTestCase {
    private typealias Tensors = [(name: String, dimensions: [Int], type: TensorType)]

    /// A small header, changed before it is read.
    private func load(
        _ preset: String, metadata changes: [(String, MetadataValue)] = [], tensors change: (inout Tensors) -> Void = { _ in }
    ) throws -> Model {
        let made = try Synthetic(parsing: "\(preset),layers=2,width=256,heads=8,kv=2,ffn=512,vocab=100").header()
        var metadata: [(key: String, value: MetadataValue)] = changes.map { ($0.0, $0.1) }
        for key in made.metadata.keys where !changes.contains(where: { $0.0 == key }) {
            if let value = made.metadata[key] { metadata.append((key, value)) }
        }
        var tensors: Tensors = made.tensors.map { ($0.name, $0.dimensions, $0.type) }
        change(&tensors)
        let file = try GGUFFile(header: "changed", metadata: metadata, tensors: tensors)
        return try Model(file, kernels: try Kernels.choose(), activations: .int8)
    }

    private func expect(_ kind: ModelError.Kind, naming text: String, _ body: () throws -> Model) {
        XCTAssertThrowsError(try body()) { error in
            XCTAssertEqual((error as? ModelError)?.kind, kind)
            XCTAssertTrue("\(error)".contains(text), "\(error)")
        }
    }

    func testGeometry() throws {
        for preset in ["falcon-1b", "falcon-7b", "falcon-40b"] {
            let geometry = try load(preset).geometry
            XCTAssertEqual(geometry.rotary.pairing, .halves)
            XCTAssertEqual(geometry.rotary.base, 10_000)
            XCTAssertEqual([geometry.heads, geometry.keyValueHeads, geometry.headDimension], [8, 2, 32])
        }
    }

    func testRefusals() {
        expect(.unsupported, naming: "falcon.tensor_data_layout is \"reference\"") {
            try load("falcon-7b", metadata: [("falcon.tensor_data_layout", .string("reference"))])
        }
        for part in ["attn_qkv", "attn_output", "ffn_up", "ffn_down"] {
            expect(.unsupported, naming: "blk.1.\(part).bias") {
                try load("falcon-7b") { $0.append(("blk.1.\(part).bias", [256], .f32)) }
            }
        }
        expect(.unsupported, naming: "blk.0.ffn_norm.weight") {
            try load("falcon-7b") { $0.append(("blk.0.ffn_norm.weight", [256], .f32)) }
        }
        for name in ["blk.1.attn_norm.bias", "blk.0.attn_norm_2.bias", "blk.1.attn_qkv.weight", "output_norm.weight"] {
            expect(.missingTensor, naming: name) { try load("falcon-40b") { $0.removeAll { $0.name == name } } }
        }
        expect(.badShape, naming: "blk.0.attn_qkv.weight") {
            try load("falcon-7b", metadata: [("falcon.attention.head_count_kv", .unsigned(4))])
        }
    }
}
