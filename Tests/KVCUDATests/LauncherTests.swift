import KVTestSupport
import XCTest

@testable import KVCUDA

/// Every launcher hands its kernel what the kernel's source asks for, by way of the driver: one row or head each, whose results are known.
final class LauncherTests: EmulatedTestCase {
    /// Arrays of a device.
    private final class Device {
        let context: DeviceContext, stream: DeviceStream, kernels: DeviceKernels
        private var held: [DeviceMemory] = []

        init(_ context: DeviceContext) throws {
            self.context = context
            stream = try context.stream()
            kernels = try DeviceKernels(context, elements: .f16, cache: .f16, headDimension: 16)
        }

        func array<T: BitwiseCopyable>(_ values: [T]) throws -> UInt64 {
            let memory = try context.allocate(values.count * MemoryLayout<T>.stride, for: "an array")
            held.append(memory)
            try stream.upload(values, to: memory.address)
            return memory.address
        }
        func halves(_ values: [Float]) throws -> UInt64 { try array(values.map { Float16($0) }) }
        func floats(_ at: UInt64, _ count: Int) throws -> [Float] { try stream.values(at, count, of: Float(0)) }
        func halves(_ at: UInt64, _ count: Int) throws -> [Float] { try stream.values(at, count, of: Float16(0)).map { Float($0) } }
        func ints(_ at: UInt64, _ count: Int) throws -> [Int32] { try stream.values(at, count, of: Int32(0)) }
    }

    private func device() throws -> Device { try Device(open().context(0)) }
    private let signs = (0..<16).map { $0 % 2 == 0 ? Float(1) : -1 }

    func testRows() throws {
        let device = try device()
        let (kernels, stream) = (device.kernels, device.stream)
        let table = try device.halves([Float](repeating: 3, count: 16) + signs)
        let (hidden, out, sum) = (
            try device.array([Float](repeating: 0, count: 16)), try device.halves(signs), try device.array(signs)
        )
        let (twos, ones) = (try device.array([Float](repeating: 2, count: 16)), try device.array([Float](repeating: 1, count: 16)))
        try kernels.embed(on: stream, hidden: hidden, table: table, ids: device.array([Int32(1)]), tokens: 1, columns: 16, scale: 4)
        XCTAssertEqual(try device.floats(hidden, 16), signs.map { 4 * $0 })
        try kernels.rmsNormHidden(on: stream, out: out, in: hidden, weight: twos, eps: 0, rows: 1, width: 16)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 2 * $0 })
        try kernels.rmsNormElement(on: stream, x: out, weight: twos, weightRows: 2, eps: 0, rows: 2, width: 8)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 2 * $0 })
        try kernels.rmsNormAdd(on: stream, out: sum, in: hidden, weight: twos, eps: 0, rows: 1, width: 16)
        XCTAssertEqual(try device.floats(sum, 16), signs.map { 3 * $0 })
        try kernels.layerNormHidden(on: stream, out: out, in: hidden, weight: twos, bias: ones, eps: 0, rows: 1, width: 16)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 2 * $0 + 1 })
        try kernels.layerNormElement(on: stream, x: out, weight: twos, bias: ones, weightRows: 2, eps: 0, rows: 2, width: 8)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 2 * $0 + 1 })
        try kernels.layerNormAdd(on: stream, out: sum, in: hidden, weight: twos, bias: ones, eps: 0, rows: 1, width: 16)
        XCTAssertEqual(try device.floats(sum, 16), signs.map { 5 * $0 + 1 })
        try kernels.toElement(on: stream, out: out, in: sum, n: 16)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 5 * $0 + 1 })
        try kernels.addFloat(on: stream, out: sum, in: ones, n: 16)
        XCTAssertEqual(try device.floats(sum, 16), signs.map { 5 * $0 + 2 })
        try kernels.addBiasElement(on: stream, x: out, bias: ones, tokens: 2, width: 8)
        XCTAssertEqual(try device.halves(out, 16), signs.map { 5 * $0 + 2 })
        try kernels.addBiasFloat(on: stream, x: sum, bias: ones, scale: 3, tokens: 2, width: 8)
        XCTAssertEqual(try device.floats(sum, 16), signs.map { 5 * $0 + 5 })
        // A sigmoid of 0 is a half.
        try kernels.addWeighted(on: stream, out: sum, x: twos, weight: device.array([Float(0), 0]), scale: 6, tokens: 2, width: 8)
        XCTAssertEqual(try device.floats(sum, 16), signs.map { 5 * $0 + 11 })
    }

    func testActivationsAndTheLastToken() throws {
        let device = try device()
        let (kernels, stream) = (device.kernels, device.stream)
        let large: [Float] = [20, -20, 20, 0]
        let up = try device.halves([3, 3, 2, 1])
        for launch in [kernels.siluProduct, kernels.geluTanhProduct] {
            let gate = try device.halves(large)
            try launch(stream, gate, up, 4)
            assertClose(try device.halves(gate, 4), [60, 0, 40, 0], relative: 1e-3, "gate")
        }
        for launch in [kernels.gelu, kernels.geluTanh] {
            let x = try device.halves(large)
            try launch(stream, x, 4)
            assertClose(try device.halves(x, 4), [20, 0, 20, 0], relative: 1e-3, "gelu")
        }
        let x = try device.array([Float(1e6), -1e6, 0, 0])
        try kernels.softCap(on: stream, x: x, cap: 30, n: 4)
        XCTAssertEqual(try device.floats(x, 4), [30, -30, 0, 0])
    }

    func testExperts() throws {
        let device = try device()
        let (kernels, stream) = (device.kernels, device.stream)
        let (chosen, weights) = (
            try device.array([Int32](repeating: -1, count: 4)), try device.array([Float](repeating: 0, count: 4))
        )
        let scores = try device.array([Float(0), 9, 9, 5, 5, 1])
        try kernels.chooseExperts(
            on: stream, chosen: chosen, weights: weights, scores: scores, tokens: 2, count: 3, used: 2, renormalises: true)
        XCTAssertEqual(try device.ints(chosen, 4), [1, 2, 0, 1])
        XCTAssertEqual(try device.floats(weights, 4), [0.5, 0.5, 0.5, 0.5])
        let gathered = try device.halves([0, 0, 0, 0])
        try kernels.gatherRows(
            on: stream, out: gathered, in: device.halves([1, 2, 3, 4]), source: device.array([Int32(1), 0]), rows: 2, width: 2)
        XCTAssertEqual(try device.halves(gathered, 4), [3, 4, 1, 2])
        let out = try device.array([Float(100), 100])
        try kernels.addExperts(
            on: stream, out: out, rows: device.array([Float(1), 2, 3, 4]), rowOf: device.array([Int32(1), 0, 0, 1]),
            weights: weights,
            tokens: 1, used: 2, width: 2, scale: 10)
        XCTAssertEqual(try device.floats(out, 2), [120, 130])
    }

    func testAttention() throws {
        let device = try device()
        let (kernels, stream) = (device.kernels, device.stream)
        let first = try device.array([Int32(2)])
        let (keys, values) = (
            try device.halves([Float](repeating: 0, count: 64)), try device.halves([Float](repeating: 8, count: 64))
        )
        let key = try device.halves(signs)
        // A quarter turn of all pairs, at position 2.
        try kernels.rotate(
            on: stream, x: key, angles: device.array([Float](repeating: 9, count: 32) + signs.map { max(0, -$0) }), first: first,
            tokens: 1,
            heads: 1, pairs: 8, halves: false)
        XCTAssertEqual(try device.halves(key, 16), [Float](repeating: 1, count: 16))
        try kernels.append(
            on: stream, keys: keys, values: values, key: key, value: device.halves(signs), first: first, tokens: 1, width: 16)
        XCTAssertEqual(
            try device.halves(keys, 64),
            [Float](repeating: 0, count: 32) + [Float](repeating: 1, count: 16) + [Float](repeating: 0, count: 16))
        // Two heads; the scores of keys 0 and 1 are 0 and their own 0 too, or with a window of 1 only their own is seen.
        let (out, query) = (
            try device.halves([Float](repeating: 0, count: 32)), try device.halves([Float](repeating: 0, count: 32))
        )
        let splits = kernels.decodeSplits(heads: 2, kvHeads: 1, positions: 4096)
        let partials = try device.array([Float](repeating: .nan, count: 2 * splits * 18))
        for (window, expected) in [(1, signs), (2, signs.map { ($0 + 8) / 2 })] {
            for decodes in [false, true] {
                if decodes {
                    try kernels.attentionDecode(
                        on: stream, partials: partials, query: query, keys: keys, values: values, first: first, heads: 2,
                        kvHeads: 1,
                        splits: splits, scale: 0.25, softcap: 0, window: window)
                    try kernels.attentionMerge(on: stream, out: out, partials: partials, heads: 2, splits: splits)
                } else {
                    try kernels.attention(
                        on: stream, out: out, query: query, keys: keys, values: values, first: first, tokens: 1, heads: 2,
                        kvHeads: 1,
                        scale: 0.25, softcap: 30, window: window)
                }
                XCTAssertEqual(try device.halves(out, 32), expected + expected)
            }
        }
    }
}
