import KVGGUF
import XCTest

import KVModel

final class SyntheticTests: XCTestCase {
    func testParsing() throws {
        let plain = try Synthetic(parsing: "llama-7b")
        XCTAssertEqual(plain.sizes, plain.preset.sizes)
        XCTAssertEqual(plain.type, .q4_0)
        XCTAssertEqual(plain.description, "llama-7b,type=q4_0,seed=1")
        let full = try Synthetic(
            parsing: "llama3-8b,seed=18446744073709551615,type=Q6_K,layers=4,width=512,heads=8,kv=2,ffn=1024,vocab=100,context=64")
        XCTAssertEqual(
            full.description,
            "llama3-8b,layers=4,width=512,heads=8,kv=2,ffn=1024,vocab=100,context=64,type=q6_k,seed=18446744073709551615")
        XCTAssertEqual(full.sizes.feedForward, 1024)
        XCTAssertEqual(full.type.name, "Q6_K")
        XCTAssertEqual(full.seed, .max)
        XCTAssertEqual(try Synthetic(parsing: full.description), full)
        // Key/value heads follow where the preset has one for each head, and only there.
        XCTAssertEqual(try Synthetic(parsing: "llama-7b,heads=16").sizes.keyValueHeads, 16)
        XCTAssertEqual(try Synthetic(parsing: "llama-7b,heads=16,kv=4").sizes.keyValueHeads, 4)
        XCTAssertEqual(try Synthetic(parsing: "llama3-8b,heads=16").sizes.keyValueHeads, 8)
    }

    func testBadDescriptions() {
        for (text, field, value) in [
            ("", "model", ""), ("llama-8b", "model", "llama-8b"), ("LLAMA-7B", "model", "LLAMA-7B"),
            ("llama-7b,", "", ""), ("llama-7b,layers", "layers", ""), ("llama-7b,layers=", "layers", ""),
            ("llama-7b,layers=0", "layers", "0"), ("llama-7b,layers=-1", "layers", "-1"), ("llama-7b,layers=two", "layers", "two"),
            ("llama-7b,layers=1025", "layers", "1025"), ("llama-7b,layers=99999999999999999999", "layers", "99999999999999999999"),
            ("llama-7b,layers=2,layers=3", "layers", "3"), ("llama-7b,depth=3", "depth", "3"),
            ("llama-7b,type=q3_0", "type", "q3_0"),
            ("llama-7b,type=i8", "type", "i8"), ("llama-7b,seed=-1", "seed", "-1"), ("llama-7b,width=4100", "width", "4100"),
            ("llama-7b,ffn=11000", "ffn", "11000"), ("smollm2-135m,type=q4_k", "width", "576"), ("llama-7b,heads=3", "heads", "3"),
            ("llama-7b,width=32", "heads", "32"), ("llama-7b,heads=8", "heads", "8"), ("llama-7b,kv=5", "kv", "5"),
        ] {
            XCTAssertThrowsError(try Synthetic(parsing: text), text) { error in
                let error = error as? SyntheticError
                XCTAssertEqual(error?.field, field, text)
                XCTAssertEqual(error?.value, value, text)
                XCTAssertTrue(error?.description.contains("\"\(value)\"") ?? false, text)
            }
        }
    }

    /// Against the parameter counts that the models' authors give, to 1 %.
    func testParameterCounts() throws {
        let known = [
            "llama-7b": 6.738e9, "llama-13b": 13.016e9, "llama-30b": 32.53e9, "llama3-8b": 8.030e9, "smollm2-135m": 134.5e6,
            "falcon-1b": 1.312e9, "falcon-7b": 7.217e9, "falcon-40b": 41.84e9,
            "mixtral-8x7b": 46.70e9, "qwen3-8b": 8.191e9, "qwen3-30b-a3b": 30.53e9, "gemma2-2b": 2.614e9,
        ]
        XCTAssertEqual(Set(Synthetic.Preset.all.map(\.name)), Set(known.keys))
        for (name, count) in known {
            let file = try Synthetic(parsing: name + ",type=f16").header()
            XCTAssertEqual(Double(file.tensors.reduce(0) { $0 + $1.elements }), count, accuracy: count * 0.01, name)
        }
    }

    /// The greatest sizes that are accepted do not overflow the plan.
    func testGreatestModel() throws {
        let text = "llama-7b,layers=1024,width=131072,heads=1024,ffn=262144,vocab=1048576,context=1073741824,type=f32"
        let file = try Synthetic(parsing: text).header()
        XCTAssertGreaterThan(file.tensors.reduce(0) { $0 + ($1.byteCount ?? 0) }, 1 << 48)
        // Its address space may be refused, with an error.
        do { _ = try model(file) } catch let error as ModelError { XCTAssertEqual(error.kind, .memory) }
    }

    private func model(_ file: GGUFFile, _ activations: ActivationType = .int8) throws -> Model {
        try Model(file, kernels: try Kernels.choose(), activations: activations)
    }

    func testHeaderHasNoData() throws {
        let file = try Synthetic(parsing: "llama-7b,layers=1,seed=7").header()
        XCTAssertFalse(file.hasData)
        XCTAssertEqual(file.path, "synthetic llama-7b,layers=1,type=q4_0,seed=7")
        XCTAssertEqual(try file.metadata.string("general.size_label"), "7B layers=1")
        let tensor = try XCTUnwrap(file.tensor("output.weight"))
        XCTAssertEqual(tensor.byteCount, 32000 * 4096 / 32 * 18)
        XCTAssertThrowsError(try file.bytes(of: tensor)) { XCTAssertEqual(($0 as? GGUFError)?.kind, .noData) }
    }

    /// Every preset's header is one that its architecture reads, where this build has the architecture.
    func testPresetsLoad() throws {
        for preset in Synthetic.Preset.all {
            let synthetic = try Synthetic(parsing: "\(preset.name),layers=2")
            let known = Architectures.all.contains { $0.names.contains(preset.architecture) }
            do {
                let geometry = try model(synthetic.header()).geometry
                XCTAssertEqual(geometry.layers, 2)
                XCTAssertEqual(geometry.embedding, preset.sizes.width)
                XCTAssertEqual(geometry.heads, preset.sizes.heads)
                XCTAssertEqual(geometry.keyValueHeads, preset.sizes.keyValueHeads)
                XCTAssertEqual(geometry.headDimension, synthetic.headDimension)
                XCTAssertEqual(geometry.feedForward, preset.sizes.feedForward)
                XCTAssertEqual(geometry.vocabulary, preset.sizes.vocabulary)
                XCTAssertEqual(geometry.contextLength, preset.sizes.context)
            } catch let error as ModelError where !known {
                XCTAssertEqual(error.kind, .unknownArchitecture)
                XCTAssertTrue(error.description.contains(preset.architecture), error.description)
            }
        }
    }

    /// What packing takes is known before; it is done once all workers have done their share.
    func testPackedBytes() throws {
        for workers in [1, 3] {
            let model = try model(try Synthetic(parsing: "llama-7b,layers=2,width=256,heads=4,ffn=512,vocab=333,type=f16").header())
            // All matrices, rows in whole groups of 16, and the embedding's rows as they are.
            let layer = 256 * (4 * 256 + 3 * 512)
            XCTAssertEqual(model.weights.packedBytes, 2 * (2 * layer + 256 * 336 + 256 * 333))
            let copy = try WeightCopy(model.weights)
            for worker in 0..<workers {
                XCTAssertFalse(copy.isPacked)
                copy.pack(worker: worker, of: workers)
            }
            XCTAssertTrue(copy.isPacked)
        }
    }
}
