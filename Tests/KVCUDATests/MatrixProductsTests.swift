import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// Products against sums in double.
final class MatrixProductsTests: EmulatedTestCase {
    private struct Numbers {
        var state: UInt64 = 42
        mutating func next() -> Float {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Float(Int32(truncatingIfNeeded: state >> 33) % 1000) / 500 - 1
        }
    }

    private func bits(_ value: Float, _ elements: ElementType) -> UInt16 {
        if elements == .f16 { return Float16(value).bitPattern }
        let bits = value.bitPattern
        return UInt16((bits + 0x7fff + (bits >> 16 & 1)) >> 16)
    }

    private func float(_ bits: UInt16, _ elements: ElementType) -> Float {
        elements == .f16 ? Float(Float16(bitPattern: bits)) : Float(bitPattern: UInt32(bits) << 16)
    }

    func testProducts() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let products = try context.products()
        for elements in ElementType.allCases {
            for (rows, columns, tokens, stride) in [(1, 1, 1, 1), (5, 7, 3, 5), (64, 33, 9, 70), (16, 128, 1, 16)] {
                for isFloat in [true, false] {
                    for (alpha, beta) in [(Float(1), Float(0)), (0.5, 1), (2, -0.25)] {
                        try check(stream, products, elements, rows, columns, tokens, stride, isFloat, alpha, beta)
                    }
                }
            }
        }
    }

    private func check(
        _ stream: DeviceStream, _ products: MatrixProducts, _ elements: ElementType, _ rows: Int, _ columns: Int, _ tokens: Int,
        _ stride: Int, _ isFloat: Bool, _ alpha: Float, _ beta: Float
    ) throws {
        var numbers = Numbers()
        let weights = (0..<rows * columns).map { _ in bits(numbers.next(), elements) }
        let x = (0..<tokens * columns).map { _ in bits(numbers.next(), elements) }
        let old = (0..<tokens * stride).map { _ in numbers.next() }
        let context = stream.context
        // x one element into its memory: no address is as aligned as memory is.
        let (w, xs) = (try context.allocate(weights.count * 2, for: "w"), try context.allocate(x.count * 2 + 2, for: "x"))
        let out = try context.allocate(old.count * (isFloat ? 4 : 2), for: "out")
        try stream.upload(weights, to: w.address)
        try stream.upload(x, to: xs.address + 2)
        // Beta 0 does not read what was there, not even a NaN.
        let before = old.map { beta == 0 ? Float.nan : $0 }
        if isFloat {
            try stream.upload(before, to: out.address)
        } else {
            try stream.upload(before.map { bits($0, elements) }, to: out.address)
        }
        try products.multiply(
            on: stream, weights: w.address, rows: rows, columns: columns, x: xs.address + 2, tokens: tokens, elements: elements,
            out: out.address, outIsFloat: isFloat, outStride: stride, alpha: alpha, beta: beta)
        let result: [Float] =
            isFloat
            ? try stream.values(out.address, old.count, of: Float(0))
            : try stream.values(out.address, old.count, of: UInt16(0)).map { float($0, elements) }
        for token in 0..<tokens {
            for row in 0..<rows {
                var sum = 0.0
                for column in 0..<columns {
                    sum +=
                        Double(float(weights[row * columns + column], elements))
                        * Double(float(x[token * columns + column], elements))
                }
                let was = isFloat ? old[token * stride + row] : float(bits(old[token * stride + row], elements), elements)
                let expected = Double(alpha) * sum + (beta == 0 ? 0 : Double(beta) * Double(was))
                let tolerance = isFloat ? 1e-4 : elements == .f16 ? 2e-3 : 1.6e-2
                XCTAssertEqual(
                    Double(result[token * stride + row]), expected, accuracy: tolerance * (1 + abs(expected)),
                    "\(elements) [\(tokens), \(columns)] x [\(rows), \(columns)], row \(row) of token \(token)")
            }
            for column in rows..<max(rows, stride) where beta != 0 {
                let was = isFloat ? old[token * stride + column] : float(bits(old[token * stride + column], elements), elements)
                XCTAssertEqual(result[token * stride + column], was, "between rows")
            }
        }
    }

    func testTokensAreIndependent() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let products = try context.products()
        var numbers = Numbers()
        let (rows, columns, tokens) = (24, 100, 12)
        let (w, x) = (try context.allocate(rows * columns * 2, for: "w"), try context.allocate(tokens * columns * 2, for: "x"))
        let (all, one) = (try context.allocate(tokens * rows * 4, for: "out"), try context.allocate(tokens * rows * 4, for: "out"))
        try stream.upload((0..<rows * columns).map { _ in bits(numbers.next(), .f16) }, to: w.address)
        try stream.upload((0..<tokens * columns).map { _ in bits(numbers.next(), .f16) }, to: x.address)
        func multiply(_ x: UInt64, _ tokens: Int, _ out: UInt64) throws {
            try products.multiply(
                on: stream, weights: w.address, rows: rows, columns: columns, x: x, tokens: tokens, elements: .f16, out: out,
                outIsFloat: true, outStride: rows, alpha: 1, beta: 0)
        }
        try multiply(x.address, tokens, all.address)
        for token in 0..<tokens {
            try multiply(x.address + UInt64(token * columns * 2), 1, one.address + UInt64(token * rows * 4))
        }
        XCTAssertEqual(
            try stream.values(all.address, tokens * rows, of: Float(0)), try stream.values(one.address, tokens * rows, of: Float(0))
        )
    }

    func testErrors() throws {
        let context = try open(["FAULT": "cublasLtMatmul:13:after=1"]).context(0)
        let stream = try context.stream()
        let products = try context.products()
        let memory = try context.allocate(1000, for: "it")
        func multiply(rows: Int = 2, stride: Int = 2, out: UInt64? = nil) throws {
            try products.multiply(
                on: stream, weights: memory.address, rows: rows, columns: 4, x: memory.address, tokens: 3, elements: .bf16,
                out: out ?? memory.address + 512, outIsFloat: false, outStride: stride, alpha: 1, beta: 0)
        }
        XCTAssertEqual(
            try error { try multiply(rows: 3) }, CUDAError(.call, "no product of [3, 4] and [3, 4] into rows 2 elements apart"))
        try multiply()
        XCTAssertEqual(
            try error { try multiply() },
            CUDAError(.call, "cublasLtMatmul of [3, 4] and [2, 4] failed with 13 CUBLAS_STATUS_EXECUTION_FAILED"))
        let lost = try open(["FAULT": "cublasLtCreate:3"]).context(0)
        XCTAssertEqual(
            try error { _ = try lost.products() }, CUDAError(.memory, "cublasLtCreate failed with 3 CUBLAS_STATUS_ALLOC_FAILED"))
        unsetenv("KVCPU_FAKE_FAULT")
        _ = try open()
        // Beyond the allocation.
        try multiply(out: memory.address + 992)
        XCTAssertTrue(try error { try stream.finish() }.description.contains("ILLEGAL_ADDRESS"))
    }
}
