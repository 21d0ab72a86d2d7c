import CKVKernels
import XCTest

/// Matrix products: the reference against double arithmetic, every table against the reference by bits, and batch invariance.
final class ProductTests: XCTestCase {
    private func input(_ count: Int, _ random: inout Random) -> [Float] {
        // Blocks of very different size, as activations have.
        (0..<count).map { random.float() * ($0 / 32 % 5 == 0 ? 40 : 1) }
    }

    func testReferenceAgainstDoubles() {
        var random = Random(3)
        for (index, format) in Tables.formats.enumerated() {
            for (rows, width, tokens) in [(33, 96, 3), (5, 576, 2), (16, 32, 1)] {
                let columns = RandomWeights.columns(format, width)
                let weights = RandomWeights(format, rows: rows, columns: columns, &random)
                let x = input(tokens * columns, &random)
                let out = weights.product(Tables.scalar, index, x, tokens: tokens)
                let activations = Activations(Tables.scalar, format.pointee.quantised ? x : [])
                for token in 0..<tokens {
                    for row in 0..<rows {
                        var truth = 0.0
                        var magnitude = 0.0
                        for k in 0..<columns {
                            let a =
                                format.pointee.quantised
                                ? Double(activations.values[token * columns + k])
                                    * Double(activations.scales[(token * columns + k) / 32]) : Double(x[token * columns + k])
                            let term = Double(weights.floats[row * columns + k]) * a
                            truth += term
                            magnitude += abs(term)
                        }
                        // Rounding: one ulp of the magnitudes per operation of the chain, at most.
                        XCTAssertEqual(
                            Double(out[token * rows + row]), truth, accuracy: magnitude * 1e-5 + 1e-6,
                            "\(format.name) \(rows)×\(columns)")
                    }
                }
            }
        }
    }

    func testEveryTableEqualsTheReference() {
        var random = Random(4)
        for (index, format) in Tables.formats.enumerated() {
            let columnCounts =
                format.pointee.block == 256 ? [256, 768, 1536] : format.pointee.quantised ? [32, 96, 576] : [1, 7, 96, 576]
            for rows in [1, 7, 16, 33, 80, 577] {
                for columns in columnCounts where rows < 500 || columns == columnCounts[0] {
                    let weights = RandomWeights(format, rows: rows, columns: columns, &random)
                    for tokens in [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 33]
                    where columns < 500 || rows < 40 && columns < 1500 || tokens < 6 {
                        let x = input(tokens * columns, &random)
                        let expected = weights.product(Tables.scalar, index, x, tokens: tokens).map(\.bitPattern)
                        let start = input(tokens * rows, &random)
                        let added = weights.product(Tables.scalar, index, x, tokens: tokens, accumulateOn: start).map(\.bitPattern)
                        for table in Tables.vector {
                            let label = "\(Tables.name(table)) \(format.name) \(rows)×\(columns)×\(tokens)"
                            XCTAssertEqual(weights.product(table, index, x, tokens: tokens).map(\.bitPattern), expected, label)
                            XCTAssertEqual(
                                weights.product(table, index, x, tokens: tokens, accumulateOn: start).map(\.bitPattern), added,
                                label)
                        }
                    }
                }
            }
        }
    }

    /// The greatest sums of a block that there are: they must not leave the vector kernels' 16-bit intermediate sums.
    func testExtremeIntegers() {
        var random = Random(7)
        for (index, format) in Tables.formats.enumerated() where format.pointee.quantised {
            let columns = RandomWeights.columns(format, 96)
            for fill: UInt8 in [0x00, 0xFF, 0x7F, 0x80, 0x88] {
                let weights = RandomWeights(format, rows: 17, columns: columns, fill: fill, &random)
                for tokens in [1, 7] {
                    let patterns: [(Int) -> Float] = [
                        { _ in 1 }, { _ in -1 }, { $0 % 2 == 0 ? 1 : -1 }, { $0 / 2 % 2 == 0 ? 1 : -1 },
                    ]
                    for pattern in patterns {
                        let x = (0..<tokens * columns).map(pattern)
                        let expected = weights.product(Tables.scalar, index, x, tokens: tokens)
                        // Every activation is as great as the quantiser makes it.
                        let activations = Activations(Tables.scalar, x)
                        XCTAssertEqual(activations.values, x.map { Int8(($0 * CKV_LEVELS).rounded()) })
                        for row in 0..<17 {
                            let terms = (0..<columns).map { Double(weights.floats[row * columns + $0]) * Double(x[$0]) }
                            let magnitude = terms.reduce(0) { $0 + abs($1) }
                            XCTAssertEqual(Double(expected[row]), terms.reduce(0, +), accuracy: magnitude * 1e-5 + 1e-6)
                        }
                        for table in Tables.vector {
                            XCTAssertEqual(
                                weights.product(table, index, x, tokens: tokens).map(\.bitPattern),
                                expected.map(\.bitPattern),
                                "\(Tables.name(table)) \(format.name) \(fill)")
                        }
                    }
                }
            }
        }
    }

    /// Rows that are longer than the caches next to a core; few tokens, and more than stay there at once.
    func testManyColumns() {
        var random = Random(8)
        for (index, format) in Tables.formats.enumerated() where format.pointee.quantised {
            let (rows, columns) = (17, RandomWeights.columns(format, 32 * 515))
            let weights = RandomWeights(format, rows: rows, columns: columns, &random)
            for tokens in [8, 133] {
                let x = input(tokens * columns, &random)
                let expected = weights.product(Tables.scalar, index, x, tokens: tokens).map(\.bitPattern)
                for table in Tables.vector {
                    let out = weights.product(table, index, x, tokens: tokens).map(\.bitPattern)
                    XCTAssertEqual(out, expected, "\(Tables.name(table)) \(format.name) \(tokens)")
                }
            }
        }
    }

    /// Tokens on either side of the counts from which kernels unpack weights for many of them at once.
    func testManyTokens() {
        var random = Random(10)
        for (index, format) in Tables.formats.enumerated() {
            let columns = RandomWeights.columns(format, 576)
            let weights = RandomWeights(format, rows: 33, columns: columns, &random)
            for tokens in [15, 16, 63, 64, 65, 131] {
                let x = input(tokens * columns, &random)
                let expected = weights.product(Tables.scalar, index, x, tokens: tokens).map(\.bitPattern)
                for table in Tables.vector {
                    let out = weights.product(table, index, x, tokens: tokens).map(\.bitPattern)
                    XCTAssertEqual(out, expected, "\(Tables.name(table)) \(format.name) \(tokens)")
                }
            }
        }
    }

    /// A token's outputs are the same alone and in any batch; a slice of groups writes its rows and no others.
    func testBatchAndSliceInvariance() {
        var random = Random(5)
        let (rows, tokens) = (70, 29)
        for (index, format) in Tables.formats.enumerated() {
            let columns = RandomWeights.columns(format, 160)
            let weights = RandomWeights(format, rows: rows, columns: columns, &random)
            let x = input(tokens * columns, &random)
            for table in Tables.all {
                let all = weights.product(table, index, x, tokens: tokens).map(\.bitPattern)
                for token in [0, 1, 11, 12, 28] {
                    let alone = weights.product(
                        table, index, Array(x[token * columns..<(token + 1) * columns]), tokens: 1)
                    XCTAssertEqual(alone.map(\.bitPattern), Array(all[token * rows..<(token + 1) * rows]))
                }
                for groups in [0..<1, 1..<4, 3..<5, 4..<5, 2..<2] {
                    let part = weights.product(table, index, x, tokens: tokens, groups: groups)
                    for token in 0..<tokens {
                        for row in 0..<rows {
                            let value = part[token * rows + row]
                            if groups.contains(row / 16) {
                                XCTAssertEqual(value.bitPattern, all[token * rows + row])
                            } else {
                                XCTAssertTrue(value.isNaN, "row \(row) is not of groups \(groups)")
                            }
                        }
                    }
                }
            }
        }
    }

    func testQuantise() {
        var random = Random(6)
        var x = input(32 * 40, &random)
        for i in 0..<32 { x[i] = 0 }
        for i in 32..<64 { x[i] = 1e-38 }
        for i in 64..<96 { x[i] = Float(i) * 1e30 }
        for i in 96..<128 { x[i] = i % 2 == 0 ? 5 : -5 }
        let reference = Activations(Tables.scalar, x)
        for table in Tables.vector { XCTAssertEqual(Activations(table, x), reference, Tables.name(table)) }
        for block in 0..<40 {
            let values = x[block * 32..<block * 32 + 32]
            let largest = values.reduce(Float(0)) { max($0, abs($1)) }
            let scale = Double(reference.scales[block])
            let plain = Double(largest) / Double(CKV_LEVELS)
            XCTAssertEqual(scale, largest < 1e-30 ? 0 : plain, accuracy: 0.01 * plain)
            // No worse than the scale that the largest value alone would give.
            func squares(_ scale: Double) -> Double {
                (block * 32..<block * 32 + 32).reduce(0) { sum, i in
                    let error = Double(reference.values[i]) * scale - Double(x[i])
                    return sum + error * error
                }
            }
            if largest >= 1e-30 { XCTAssertLessThanOrEqual(squares(scale), squares(plain) * 1.000_01 + 1e-9 * plain * plain) }
            for (half, sum) in [reference.sums[block].first, reference.sums[block].second].enumerated() {
                let start = block * 32 + half * 16
                XCTAssertEqual(Int(sum), reference.values[start..<start + 16].reduce(0) { $0 + Int($1) })
            }
            for i in block * 32..<block * 32 + 32 {
                let restored = Double(reference.values[i]) * Double(reference.scales[block])
                XCTAssertEqual(restored, Double(x[i]), accuracy: scale * 0.75 + 2e-38)
            }
        }
    }

    /// An infinity or NaN is not hidden behind plausible values.
    func testFaultsStayFaults() {
        for table in Tables.all {
            for fault in [Float.nan, .infinity, -.infinity] {
                var x = [Float](repeating: 1, count: 96)
                x[40] = fault
                let activations = Activations(table, x)
                XCTAssertEqual(activations.scales.map(\.isNaN), [false, true, false], Tables.name(table))
                XCTAssertEqual(Array(activations.values[32..<64]), [Int8](repeating: 0, count: 32))
                XCTAssertTrue(activations.offsets[1].isNaN)
                for (index, format) in Tables.formats.enumerated() where format.pointee.quantised {
                    var random = Random(9)
                    let columns = RandomWeights.columns(format, x.count)
                    let weights = RandomWeights(format, rows: 17, columns: columns, &random)
                    let row = x + [Float](repeating: 1, count: columns - x.count)
                    XCTAssertTrue(weights.product(table, index, row, tokens: 1).allSatisfy(\.isNaN), format.name)
                }
            }
        }
    }
}
