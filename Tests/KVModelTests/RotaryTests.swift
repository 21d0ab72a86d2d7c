import Foundation
import XCTest

import KVModel

final class RotaryTests: XCTestCase {
    private func angles(_ rotary: Rotary, _ positions: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: positions * rotary.pairs * 2) { buffer, count in
            if let base = buffer.baseAddress { rotary.angles(positions: positions, into: base) }
            count = positions * rotary.pairs * 2
        }
    }

    func testPlain() {
        let rotary = Rotary(dimension: 8, base: 10_000, scaling: .none, pairing: .adjacent, factors: [])
        let angles = angles(rotary, 5)
        for pair in 0..<4 {
            // 10000^(-2i/8) = 10^-i.
            let angle = 3 * pow(10.0, -Double(pair))
            XCTAssertEqual(Double(angles[(3 * 4 + pair) * 2]), cos(angle), accuracy: 1e-6)
            XCTAssertEqual(Double(angles[(3 * 4 + pair) * 2 + 1]), sin(angle), accuracy: 1e-6)
        }
    }

    func testLinearScalingIsAPositionDivided() {
        let plain = Rotary(dimension: 16, base: 500_000, scaling: .none, pairing: .adjacent, factors: [])
        var scaled = plain
        scaled.scaling = .linear(factor: 4)
        let a = angles(plain, 3)
        let b = angles(scaled, 9)
        for index in 0..<16 {
            let (plain, scaled): (Float, Float) = (a[2 * 16 + index], b[8 * 16 + index])
            XCTAssertEqual(plain, scaled, accuracy: 1e-6)
        }
    }

    func testFactorsDivideFrequencies() {
        let plain = Rotary(dimension: 4, base: 10_000, scaling: .none, pairing: .adjacent, factors: [])
        var factored = plain
        factored.factors = [2, 8]
        let a = angles(plain, 9)
        let b = angles(factored, 9)
        XCTAssertEqual(a[1 * 4 + 0], b[2 * 4 + 0], accuracy: 1e-6)
        XCTAssertEqual(a[1 * 4 + 2], b[8 * 4 + 2], accuracy: 1e-6)
    }

    /// YaRN keeps the fastest pairs, interpolates the slowest, and enlarges all by 1 + 0.1 ln(factor).
    func testYarnEnds() {
        let plain = Rotary(dimension: 128, base: 10_000, scaling: .none, pairing: .adjacent, factors: [])
        var yarn = plain
        yarn.scaling = .yarn(factor: 4, original: 4096, betaFast: 32, betaSlow: 1)
        let magnitude = Float(1 + 0.1 * log(4.0))
        let a = angles(plain, 9)
        let b = angles(yarn, 9)
        XCTAssertEqual(b[8 * 128 + 1], a[8 * 128 + 1] * magnitude, accuracy: 1e-5)
        // The slowest pair turns a quarter as fast.
        XCTAssertEqual(b[8 * 128 + 127], a[2 * 128 + 127] * magnitude, accuracy: 1e-6)
    }
}
