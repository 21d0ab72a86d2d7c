import CKVKernels
import Foundation
import XCTest

final class ElementwiseTests: XCTestCase {
    func testExponential() {
        XCTAssertEqual(ckv_exp(0), 1)
        XCTAssertEqual(ckv_exp(-.infinity), 0)
        XCTAssertEqual(ckv_exp(-88), 0)
        XCTAssertEqual(ckv_exp(.infinity), .infinity)
        XCTAssertEqual(ckv_exp(89), .infinity)
        XCTAssertTrue(ckv_exp(.nan).isNaN)
        var worst = 0.0
        var x: Float = -87.3
        while x < 88.3 {
            let truth = exp(Double(x))
            worst = max(worst, abs(Double(ckv_exp(x)) - truth) / Double(Float(truth).ulp))
            x += 0.0037
        }
        XCTAssertLessThan(worst, 2)
    }

    private func each(_ counts: [Int], _ body: (Int, [Float], [Float], UnsafePointer<ckv_table>) -> Void) {
        var random = Random(11)
        for count in counts {
            let a = (0..<count).map { _ in random.float(-20...20) }
            let b = (0..<count).map { _ in random.float() }
            for table in Tables.all { body(count, a, b, table) }
        }
    }

    func testNorm() {
        each([1, 15, 16, 17, 96, 576, 1000]) { count, x, weight, table in
            var out = [Float](repeating: .nan, count: count)
            var reference = out
            table.pointee.rms_norm(x, weight, 1e-5, count, &out)
            Tables.scalar.pointee.rms_norm(x, weight, 1e-5, count, &reference)
            XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
            let mean = x.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count)
            for i in 0..<count {
                let truth = Double(x[i]) / (mean + 1e-5).squareRoot() * Double(weight[i])
                XCTAssertEqual(Double(out[i]), truth, accuracy: 1e-6 * max(1, abs(truth)))
            }
        }
    }

    func testLayerNorm() {
        each([1, 2, 15, 16, 17, 33, 96, 576, 1000, 4544]) { count, plain, weight, table in
            let bias = weight.reversed().map { $0 * 3 }
            // Around zero, and far from it: the mean is taken off before anything is squared.
            for offset in [Float(0), 1000] {
                let x = plain.map { $0 + offset }
                var out = [Float](repeating: .nan, count: count)
                var reference = out
                table.pointee.layer_norm(x, weight, bias, 1e-5, count, &out)
                Tables.scalar.pointee.layer_norm(x, weight, bias, 1e-5, count, &reference)
                XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
                let mean = x.reduce(0.0) { $0 + Double($1) } / Double(count)
                let variance = x.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(count)
                // A mean's rounding is that of the numbers it is taken from.
                let accuracy = 2e-6 + Double(offset) * 2e-7
                for i in 0..<count where count > 1 {
                    let truth = (Double(x[i]) - mean) / (variance + 1e-5).squareRoot() * Double(weight[i]) + Double(bias[i])
                    XCTAssertEqual(Double(out[i]), truth, accuracy: accuracy * max(1, abs(truth)), "\(count) \(offset)")
                }
            }
        }
    }

    /// Of one number, and of equal ones, nothing is left but the bias.
    func testLayerNormOfEqualNumbers() {
        for table in Tables.all {
            for count in [1, 8, 37] {
                let bias = (0..<count).map { Float($0) - 0.5 }
                var out = [Float](repeating: .nan, count: count)
                let x = [Float](repeating: 0.75, count: count), weight = [Float](repeating: 2, count: count)
                table.pointee.layer_norm(x, weight, bias, 1e-5, count, &out)
                XCTAssertEqual(out, bias, Tables.name(table))
            }
        }
    }

    func testErrorFunction() {
        XCTAssertEqual(ckv_erf(0).bitPattern, Float(0).bitPattern)
        XCTAssertEqual(ckv_erf(-0.0).bitPattern, Float(-0.0).bitPattern)
        XCTAssertEqual(ckv_erf(.infinity), 1)
        XCTAssertEqual(ckv_erf(-.infinity), -1)
        XCTAssertEqual(ckv_erf(4), 1)
        XCTAssertTrue(ckv_erf(.nan).isNaN)
        var worst = 0.0, difference = 0.0
        func check(_ x: Float) {
            let truth = erf(Double(x))
            let error = abs(Double(ckv_erf(x)) - truth)
            worst = max(worst, error / Double(Float(truth).ulp))
            difference = max(difference, error)
            XCTAssertLessThanOrEqual(ckv_erf(x), 1)
            XCTAssertEqual(ckv_erf(-x), -ckv_erf(x))
        }
        for step in 1...60_000 { check(Float(step) * 7.3e-5) }
        // Small ones, where erf is nearly a straight line.
        for step in 0...4000 { check(exp(-Float(step) * 0.015)) }
        XCTAssertLessThan(worst, 6)
        XCTAssertLessThan(difference, 4e-7)
    }

    func testGELU() {
        each([1, 7, 8, 16, 33, 160, 1000]) { count, x, small, table in
            for x in [x, small] {
                var out = x
                var reference = x
                table.pointee.gelu(out, count, &out)
                Tables.scalar.pointee.gelu(x, count, &reference)
                XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
                for i in 0..<count {
                    let truth = Double(x[i]) * 0.5 * erfc(-Double(x[i]) * 0.5.squareRoot())
                    XCTAssertEqual(Double(out[i]), truth, accuracy: 2e-7 * max(1, abs(Double(x[i]))))
                }
            }
        }
    }

    /// What no activation should be: faults stay faults, and both tails end where they should.
    func testGELUOfExtremes() {
        let least = Float.leastNonzeroMagnitude
        let x: [Float] = [
            0, -0.0, least, -least, 1e30, -1e30, 6, -6, 5.5579, -5.5579, .nan, .infinity, -.infinity, 3e38, -3e38, 1e-38,
        ]
        for table in Tables.all {
            var out = [Float](repeating: 5, count: x.count)
            var reference = out
            table.pointee.gelu(x, x.count, &out)
            Tables.scalar.pointee.gelu(x, x.count, &reference)
            XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
            XCTAssertEqual(out[0], 0)
            XCTAssertEqual([out[4], out[6], out[11], out[13]], [1e30, 6, .infinity, 3e38])
            XCTAssertEqual([out[5], out[7], out[14]], [0, 0, 0])
            XCTAssertTrue(out[10].isNaN)
            XCTAssertTrue(out[12].isNaN)
        }
    }

    func testGELUTanh() {
        func truth(_ x: Double) -> Double { 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x))) }
        each([1, 7, 8, 16, 33, 160, 1000]) { count, large, small, table in
            for x in [large, small] {
                var (out, product) = (x, x)
                var (reference, productReference) = (x, x)
                table.pointee.gelu_tanh(out, count, &out)
                table.pointee.gelu_tanh_product(product, large, count, &product)
                Tables.scalar.pointee.gelu_tanh(x, count, &reference)
                Tables.scalar.pointee.gelu_tanh_product(x, large, count, &productReference)
                XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
                XCTAssertEqual(product.map(\.bitPattern), productReference.map(\.bitPattern), Tables.name(table))
                for i in 0..<count {
                    XCTAssertEqual(Double(out[i]), truth(Double(x[i])), accuracy: 4e-7 * max(1, abs(Double(x[i]))))
                    XCTAssertEqual(product[i], out[i] * large[i])
                }
            }
        }
        for table in Tables.all {
            let x: [Float] = [0, 1e30, -1e30, .infinity, -.infinity, .nan, 1e-38]
            var out = x
            var reference = x
            table.pointee.gelu_tanh(x, x.count, &out)
            Tables.scalar.pointee.gelu_tanh(x, x.count, &reference)
            XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
            XCTAssertEqual(Array(out.prefix(4)), [0, 1e30, 0, .infinity])
            XCTAssertTrue(out[4].isNaN && out[5].isNaN)
        }
    }

    func testSoftCap() {
        each([1, 7, 8, 33, 1000]) { count, x, _, table in
            for cap in [Float(5), 30] {
                var out = x
                var reference = x
                table.pointee.soft_cap(out, cap, count, &out)
                Tables.scalar.pointee.soft_cap(x, cap, count, &reference)
                XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
                for i in 0..<count {
                    XCTAssertEqual(Double(out[i]), Double(cap) * tanh(Double(x[i]) / Double(cap)), accuracy: 1e-6 * Double(cap))
                }
            }
        }
    }

    func testAddScaled() {
        each([1, 9, 64, 77]) { count, a, b, table in
            var out = a
            table.pointee.add_scaled(b, 0.3, count, &out)
            XCTAssertEqual(out, zip(a, b).map { $0.addingProduct($1, 0.3) }, Tables.name(table))
        }
    }

    func testSilu() {
        each([1, 7, 8, 160, 1000]) { count, gate, up, table in
            var out = gate
            var reference = gate
            table.pointee.silu_product(gate, up, count, &out)
            Tables.scalar.pointee.silu_product(gate, up, count, &reference)
            XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
            for i in 0..<count {
                let truth = Double(gate[i]) / (1 + exp(-Double(gate[i]))) * Double(up[i])
                XCTAssertEqual(Double(out[i]), truth, accuracy: 2e-6 * max(1, abs(truth)))
            }
        }
    }

    func testRotation() {
        each([2, 16, 64, 128]) { count, x, other, table in
            let pairs = count / 2
            let angles = (0..<pairs).flatMap { [cos(other[$0]), sin(other[$0])] }
            for halves in [false, true] {
                var out = x
                var reference = x
                if halves {
                    table.pointee.rotate_halves(&out, angles, pairs)
                    Tables.scalar.pointee.rotate_halves(&reference, angles, pairs)
                } else {
                    table.pointee.rotate_pairs(&out, angles, pairs)
                    Tables.scalar.pointee.rotate_pairs(&reference, angles, pairs)
                }
                XCTAssertEqual(out.map(\.bitPattern), reference.map(\.bitPattern), Tables.name(table))
                for i in 0..<pairs {
                    let (first, second) = halves ? (i, i + pairs) : (2 * i, 2 * i + 1)
                    let angle = Double(other[i])
                    let a = Double(x[first]), b = Double(x[second])
                    XCTAssertEqual(Double(out[first]), a * cos(angle) - b * sin(angle), accuracy: 5e-6)
                    XCTAssertEqual(Double(out[second]), a * sin(angle) + b * cos(angle), accuracy: 5e-6)
                }
            }
        }
    }

    func testAdd() {
        each([1, 9, 64]) { count, a, b, table in
            var out = a
            table.pointee.add(a, b, count, &out)
            XCTAssertEqual(out, zip(a, b).map { $0 + $1 })
        }
    }
}
