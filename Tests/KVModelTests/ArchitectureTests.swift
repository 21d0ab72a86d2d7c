import KVGGUF
import XCTest

import KVModel

/// What files of the registered architectures may hold, and what is refused because it would be left out of the computation.
final class ArchitectureTests: XCTestCase {
    private typealias Tensors = [(name: String, dimensions: [Int], type: TensorType)]

    /// A small header, changed before it is read; keys as `KEY`, without the architecture's name.
    private func load(
        _ preset: String, _ changes: [(String, MetadataValue)] = [], tensors change: (inout Tensors) -> Void = { _ in }
    ) throws -> Model {
        let made = try Synthetic(parsing: "\(preset),layers=6,width=256,heads=8,kv=2,ffn=512,vocab=100").header()
        let architecture = try made.metadata.string("general.architecture")
        var metadata: [(key: String, value: MetadataValue)] = changes.map { ("\(architecture).\($0.0)", $0.1) }
        for key in made.metadata.keys where !metadata.contains(where: { $0.key == key }) {
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

    func testNamesAreOneTypesOwn() {
        let names = Architectures.all.flatMap { $0.names }
        XCTAssertEqual(Set(names).count, names.count)
        XCTAssertTrue(Architectures.all.allSatisfy { !$0.summary.isEmpty && !$0.summary.contains("\n") })
    }

    func testWindows() throws {
        XCTAssertEqual(try load("gemma2-2b").geometry.windows, [4096, 0, 4096, 0, 4096, 0])
        XCTAssertEqual(try load("llama-7b").geometry.windows, [])
        XCTAssertEqual(
            try load("llama-7b", [("attention.sliding_window", .unsigned(7))]).geometry.windows, [Int](repeating: 7, count: 6))
        let pattern = [("attention.sliding_window", MetadataValue.unsigned(7)), ("attention.sliding_window_pattern", .unsigned(3))]
        XCTAssertEqual(try load("gemma2-2b", pattern).geometry.windows, [7, 7, 0, 7, 7, 0])
    }

    func testScales() throws {
        XCTAssertEqual(try load("gemma2-2b").geometry.attentionScale, 1 / 16)
        XCTAssertEqual(try load("gemma2-2b").geometry.attentionSoftcap, 50)
        XCTAssertEqual(try load("llama-7b").geometry.attentionScale, 1 / Float(32).squareRoot())
        XCTAssertEqual(try load("llama-7b", [("attention.scale", .float(0.25))]).geometry.attentionScale, 0.25)
    }

    func testExperts() throws {
        let geometry = try load("mixtral-8x7b").geometry
        XCTAssertEqual(geometry.experts, Geometry.Experts(count: 8, used: 2, feedForward: 512))
        XCTAssertEqual(geometry.activeFeedForward, 1024)
        expect(.badMetadata, naming: "llama.expert_used_count is 9") {
            try load("mixtral-8x7b", [("expert_used_count", .unsigned(9))])
        }
        expect(.unsupported, naming: "expert_gating_func is 2") {
            try load("mixtral-8x7b", [("expert_gating_func", .unsigned(2))])
        }
        expect(.badShape, naming: "expert_feed_forward_length is 96") {
            try load("qwen3-30b-a3b", [("expert_feed_forward_length", .unsigned(96))])
        }
        expect(.missingTensor, naming: "blk.3.ffn_up_exps.weight") {
            try load("mixtral-8x7b") { $0.removeAll { $0.name == "blk.3.ffn_up_exps.weight" } }
        }
        expect(.badShape, naming: "blk.0.ffn_gate_inp.weight") {
            try load("mixtral-8x7b", [("expert_count", .unsigned(7)), ("expert_used_count", .unsigned(2))])
        }
        expect(.missingTensor, naming: "blk.0.ffn_gate_inp.weight") {
            try load("qwen3-8b", [("expert_count", .unsigned(4)), ("expert_used_count", .unsigned(2))])
        }
    }

    /// Gate and up of all experts in one tensor.
    func testFusedExperts() throws {
        func fuse(_ tensors: inout Tensors, _ change: ([Int]) -> [Int]) {
            tensors.removeAll { $0.name.hasSuffix("ffn_up_exps.weight") }
            for index in tensors.indices where tensors[index].name.hasSuffix("ffn_gate_exps.weight") {
                tensors[index].name = tensors[index].name.replacingOccurrences(of: "gate", with: "gate_up")
                tensors[index].dimensions = change(tensors[index].dimensions)
            }
        }
        XCTAssertNoThrow(try load("mixtral-8x7b") { fuse(&$0) { [$0[0], 2 * $0[1], $0[2]] } })
        // Columns where rows should be.
        expect(.badShape, naming: "blk.0.ffn_gate_up_exps.weight") {
            try load("mixtral-8x7b") { fuse(&$0) { [2 * $0[1], $0[0], $0[2]] } }
        }
        expect(.badShape, naming: "blk.0.ffn_gate_up_exps.weight") {
            try load("mixtral-8x7b") { fuse(&$0) { [$0[0], 2 * $0[1], $0[2] - 1] } }
        }
    }

    /// A key that changes the result is honoured or refused.
    func testDecisiveKeys() throws {
        for (key, value, shown) in [
            ("attn_logit_softcapping", MetadataValue.float(50), "50.0"), ("final_logit_softcapping", .float(30), "30.0"),
            ("logit_scale", .float(0.5), "0.5"), ("embedding_scale", .float(12), "12.0"), ("residual_scale", .float(0.2), "0.2"),
            ("attention.max_alibi_bias", .float(8), "8.0"), ("attention.causal", .bool(false), "false"),
            ("use_parallel_residual", .bool(true), "true"), ("attention.clamp_kqv", .float(8), "8.0"),
        ] {
            expect(.unsupported, naming: "llama.\(key) is \(shown)") { try load("llama-7b", [(key, value)]) }
        }
        expect(.unsupported, naming: "qwen3.attention.sliding_window is 512") {
            try load("qwen3-8b", [("attention.sliding_window", .unsigned(512))])
        }
        expect(.unsupported, naming: "qwen3.rope.freq_base_swa is 5000.0") {
            try load("qwen3-8b", [("rope.freq_base_swa", .float(5000))])
        }
        for (key, value) in [
            ("rope.freq_base_swa", MetadataValue.float(1_000_000)),
            ("attn_logit_softcapping", .float(0)), ("logit_scale", .float(1)), ("attention.causal", .bool(true)),
            ("attention.sliding_window", .unsigned(0)), ("expert_count", .unsigned(0)), ("some_new_remark", .unsigned(5)),
        ] {
            XCTAssertNoThrow(try load("qwen3-8b", [(key, value)]), key)
        }
        expect(.unsupported, naming: "rope.scaling.type is \"dynamic\"") {
            try load("llama-7b", [("rope.scaling.type", .string("dynamic"))])
        }
        expect(.unsupported, naming: "attention.value_length 16") {
            try load("llama-7b", [("attention.value_length", .unsigned(16))])
        }
    }

    /// So is a tensor.
    func testUndeclaredTensors() throws {
        for (preset, name, dimensions) in [
            ("llama-7b", "blk.4.attn_q_norm.weight", [32]), ("llama-7b", "blk.0.post_attention_norm.weight", [256]),
            ("qwen3-8b", "blk.0.attn_sinks.weight", [8]), ("gemma2-2b", "blk.5.ffn_gate_inp.weight", [256, 4]),
            ("llama-7b", "position_embd.weight", [256, 2048]),
        ] {
            expect(.unsupported, naming: "tensor \(name) is no part") { try load(preset) { $0.append((name, dimensions, .f32)) } }
        }
        XCTAssertNoThrow(try load("llama-7b") { $0.append(("blk.2.attn_q.bias", [256], .f32)) })
        expect(.badShape, naming: "blk.2.ffn_up.bias") { try load("llama-7b") { $0.append(("blk.2.ffn_up.bias", [256], .f32)) } }
        expect(.missingTensor, naming: "blk.1.attn_k_norm.weight") {
            try load("qwen3-8b") { $0.removeAll { $0.name == "blk.1.attn_k_norm.weight" } }
        }
        expect(.unsupported, naming: "rope_factors_long.weight") {
            try load("llama-7b") { $0.append(("rope_factors_short.weight", [16], .f32)) }
        }
    }
}
