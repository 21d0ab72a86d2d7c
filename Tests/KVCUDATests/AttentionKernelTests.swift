import Foundation
import KVCUDA
import XCTest

/// Attention's kernels against the definition in double precision, at awkward sizes.
final class AttentionKernelTests: XCTestCase {
    struct Shape {
        var heads = 1, kvHeads = 1, first = 0, tokens = 1, window = 0
        var softcap: Float = 0
    }

    private static let shapes = [
        Shape(),
        Shape(heads: 3, kvHeads: 3, first: 0, tokens: 17),
        Shape(heads: 3, kvHeads: 1, first: 37, tokens: 130, window: 0, softcap: 30),
        Shape(heads: 8, kvHeads: 1, first: 5, tokens: 200, window: 50),
        Shape(heads: 4, kvHeads: 2, first: 129, tokens: 65, window: 1),
        Shape(heads: 2, kvHeads: 2, first: 64, tokens: 64, window: 64, softcap: 5),
    ]

    /// A case's memory and truth.
    private final class Case {
        let kernels: EmulatedKernels
        let shape: Shape
        let query: [UInt16]
        let key: [Float], value: [Float]
        let keys: GuardedMemory<UInt16>, values: GuardedMemory<UInt16>
        let scale: Float
        var dimension: Int { kernels.headDimension }
        var width: Int { shape.heads * dimension }

        init(_ kernels: EmulatedKernels, _ shape: Shape) throws {
            self.kernels = kernels
            self.shape = shape
            var numbers = Numbers(UInt64(kernels.headDimension * 1000 + shape.tokens))
            let rows = (shape.first + shape.tokens) * shape.kvHeads * kernels.headDimension
            query = numbers.elements(shape.tokens * shape.heads * kernels.headDimension, kernels.elements, times: 3)
            keys = try GuardedMemory(numbers.elements(rows, kernels.cache, times: 3))
            values = try GuardedMemory(numbers.elements(rows, kernels.cache))
            key = keys.values.map(kernels.cache.value)
            value = values.values.map(kernels.cache.value)
            scale = 1 / Float(kernels.headDimension).squareRoot()
        }

        /// Attention of some tokens, which are a chunk of their own.
        func attention(_ tokens: Range<Int>) throws -> [UInt16] {
            let dimension = dimension
            let out = try GuardedMemory([UInt16](repeating: 0, count: tokens.count * width))
            let own = try GuardedMemory(Array(query[tokens.lowerBound * width..<tokens.upperBound * width]))
            let first = try GuardedMemory([Int32(shape.first + tokens.lowerBound)])
            let queries = KernelShape.queries(headDimension: dimension)
            try kernels.launch(
                "attention", grid: (shape.heads, (tokens.count + queries - 1) / queries, 1), block: KernelShape.attentionThreads,
                shared: KernelShape.attentionBytes(headDimension: dimension), .memory(out), .memory(own), .memory(keys),
                .memory(values), .memory(first), .int32(tokens.count), .int32(shape.heads), .int32(shape.kvHeads), .float(scale),
                .float(shape.softcap), .int32(shape.window))
            out.check("attention")
            return out.values
        }

        /// One token's attention, in parts that are merged.
        func decode(_ token: Int, splits: Int) throws -> [UInt16] {
            let partials = try GuardedMemory([Float](repeating: .nan, count: shape.heads * splits * (dimension + 2)))
            let out = try GuardedMemory([UInt16](repeating: 0, count: width))
            let own = try GuardedMemory(Array(query[token * width..<(token + 1) * width]))
            let first = try GuardedMemory([Int32(shape.first + token)])
            let groups = (shape.heads / shape.kvHeads + KernelShape.decodeHeads - 1) / KernelShape.decodeHeads
            try kernels.launch(
                "attention_decode", grid: (shape.kvHeads, splits, groups), block: KernelShape.attentionThreads, .memory(partials),
                .memory(own), .memory(keys), .memory(values), .memory(first), .int32(shape.heads), .int32(shape.kvHeads),
                .int32(splits), .float(scale), .float(shape.softcap), .int32(shape.window))
            partials.check("attention_decode")
            try kernels.launch(
                "attention_merge", grid: (shape.heads, 1, 1), .memory(out), .memory(partials), .int32(shape.heads), .int32(splits))
            out.check("attention_merge")
            return out.values
        }

        /// The definition, with the query as it is, or brought to the keys' type first.
        func truth(_ token: Int, isRounded: Bool) -> [Double] {
            let dimension = dimension
            let query = query[token * width..<(token + 1) * width].map { bits in
                let value = kernels.elements.value(bits)
                return isRounded ? kernels.cache.value(kernels.cache.bits(value)) : value
            }
            let position = shape.first + token
            let seen = (shape.window > 0 ? max(0, position - shape.window + 1) : 0)...position
            var out: [Double] = []
            for head in 0..<shape.heads {
                let own = head * dimension
                let other = head / (shape.heads / shape.kvHeads)
                var weights: [Double] = []
                for row in seen {
                    let at = (row * shape.kvHeads + other) * dimension
                    var score = 0.0
                    for d in 0..<dimension { score += Double(query[own + d] * key[at + d]) }
                    score *= Double(scale)
                    if shape.softcap > 0 { score = Double(shape.softcap) * tanh(score / Double(shape.softcap)) }
                    weights.append(score)
                }
                let highest = weights.max() ?? 0
                weights = weights.map { exp($0 - highest) }
                let sum = weights.reduce(0, +)
                for d in 0..<dimension {
                    var total = 0.0
                    for (row, weight) in zip(seen, weights) {
                        total += weight * Double(value[(row * shape.kvHeads + other) * dimension + d])
                    }
                    out.append(total / sum)
                }
            }
            return out
        }

        func floats(_ bits: [UInt16]) -> [Float] { bits.map(kernels.elements.value) }
    }

    private func check(_ elements: ElementType, _ cache: ElementType, _ dimension: Int) throws {
        let kernels = try EmulatedKernels.project(elements, cache, dimension)
        for shape in Self.shapes {
            let what = "\(elements) \(cache) \(dimension) \(shape)"
            let one = try Case(kernels, shape)
            let all = one.floats(try one.attention(0..<shape.tokens))
            for token in Set([0, 1, 15, 64, 127, 128, shape.tokens / 2, shape.tokens - 1]).filter({ $0 < shape.tokens }) {
                let width = one.width
                // Values are below 1: each key's weight is rounded to the cache's type, and what comes out to elements.
                assertClose(
                    Array(all[token * width..<(token + 1) * width]), one.truth(token, isRounded: true), relative: elements.rounding,
                    absolute: cache.rounding,
                    "attention \(what) token \(token)")
                if token % 2 == 0 { continue }
                let truth = one.truth(token, isRounded: false)
                for splits in [1, 7] {
                    assertClose(
                        one.floats(try one.decode(token, splits: splits)), truth, relative: elements.rounding, absolute: 1e-5,
                        "decode \(what) token \(token) splits \(splits)")
                }
            }
        }
        XCTAssertEqual(kernels.bankConflicts, 0)
    }

    func testFloat16Of16() throws { try check(.f16, .f16, 16) }
    func testMixedOf24() throws { try check(.f16, .bf16, 24) }
    func testFloat16Of64() throws { try check(.f16, .f16, 64) }
    func testBFloat16Of80() throws { try check(.bf16, .bf16, 80) }
    func testMixedOf128() throws { try check(.bf16, .f16, 128) }
    func testFloat16Of256() throws { try check(.f16, .f16, 256) }
    /// Rows that are no multiples of 16 bytes.
    func testBFloat16Of20() throws { try check(.bf16, .bf16, 20) }

    /// A token's result does not depend on the chunk it is in, nor on the order in which threads run.
    func testChunksAndOrdersGiveTheSameBits() throws {
        for (dimension, window) in [(64, 0), (64, 40), (256, 0)] {
            let kernels = try EmulatedKernels.project(.f16, .f16, dimension)
            let one = try Case(kernels, Shape(heads: 2, kvHeads: 1, first: 0, tokens: 200, window: window))
            let all = try one.attention(0..<200)
            XCTAssertEqual(try one.attention(0..<77) + one.attention(77..<78) + one.attention(78..<200), all)
            for seed in 1...3 as ClosedRange<UInt32> {
                XCTAssertEqual(try kernels.inOrder(seed) { try one.attention(0..<200) }, all, "order \(seed)")
                let decoded = try one.decode(199, splits: 3)
                XCTAssertEqual(try kernels.inOrder(seed) { try one.decode(199, splits: 3) }, decoded, "order \(seed)")
            }
        }
    }
}
