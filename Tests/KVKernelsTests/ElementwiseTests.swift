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
