import CKVKernels
import Foundation
import KVTestSupport
import XCTest

/// Dequantisation bit for bit as ggml's, and packing that loses nothing.
final class FormatTests: XCTestCase {
    func testDequantiseEqualsFixtures() throws {
        for format in Tables.formats where format.name != "F32" {
            for kind in ["quant", "random"] {
                let bytes = try Data(contentsOf: URL(fileURLWithPath: Fixtures.require("quant/\(format.name)/\(kind).bin")))
                let truth = try Data(
                    contentsOf: URL(fileURLWithPath: Fixtures.require("quant/\(format.name)/\(kind).dequant.f32")))
                let count = truth.count / 4
                XCTAssertEqual(bytes.count, count / Int(format.pointee.block) * Int(format.pointee.bytes))
                var floats = [Float](repeating: .nan, count: count)
                bytes.withUnsafeBytes { format.pointee.dequantise($0.baseAddress, &floats, count) }
                let expected = truth.withUnsafeBytes { Array($0.bindMemory(to: UInt32.self)) }
                let wrong = zip(floats, expected).filter { $0.bitPattern != $1 && !($0.isNaN && Float(bitPattern: $1).isNaN) }
                XCTAssertTrue(wrong.isEmpty, "\(format.name) \(kind): \(wrong.count) of \(count) differ")
            }
        }
    }

    /// Blocks bit for bit as ggml's reference makes them of the same floats; weights that a format holds come back as they were.
    func testQuantiseEqualsFixtures() throws {
        let source = try Data(contentsOf: URL(fileURLWithPath: Fixtures.require("quant/source.f32")))
        let floats = source.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        var names: [String] = []
        for format in Tables.formats {
            guard let quantise = format.pointee.quantise else { continue }
            names.append(format.name)
            let bytes = Int(format.pointee.bytes)
            var blocks = [UInt8](repeating: 0xA5, count: floats.count / Int(format.pointee.block) * bytes)
            quantise(floats, &blocks, floats.count)
            if format.name == "F32" {
                XCTAssertEqual(Data(blocks), source)
                continue
            }
            let truth = try Data(contentsOf: URL(fileURLWithPath: Fixtures.require("quant/\(format.name)/quant.bin")))
            XCTAssertEqual(blocks.count, truth.count, format.name)
            let wrong = (0..<blocks.count / bytes).filter { block in
                !truth[block * bytes..<(block + 1) * bytes].elementsEqual(blocks[block * bytes..<(block + 1) * bytes])
            }
            XCTAssertTrue(wrong.isEmpty, "\(format.name): \(wrong.count) blocks differ, the first of all \(wrong.first ?? -1)")
        }
        let expected = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "MXFP4"]
        XCTAssertEqual(Set(names), Set(expected))
    }

    func testUnknownTypes() {
        XCTAssertNil(ckv_format_of(99))
        XCTAssertEqual(ckv_format_of(3)?.name, "Q4_1")
        for format in Tables.formats { XCTAssertEqual(ckv_format_of(format.pointee.type), format) }
    }

    /// Every row of a packed matrix times a unit vector is that column of the dequantised one.
    func testPackingKeepsEveryWeight() {
        var random = Random(1)
        for (index, format) in Tables.formats.enumerated() {
            let columns = format.pointee.quantised ? RandomWeights.columns(format, 96) : 37
            let weights = RandomWeights(format, rows: 19, columns: columns, &random)
            for column in 0..<columns {
                if format.pointee.quantised {
                    // One activation alone in its block is exact: value times scale.
                    var x = [Float](repeating: 0, count: columns)
                    x[column] = 127
                    let out = weights.product(Tables.scalar, index, x, tokens: 1)
                    for row in 0..<19 {
                        let truth = Double(weights.floats[row * columns + column]) * 127
                        let scale = weights.largestInBlock(row, column) * 127
                        XCTAssertEqual(
                            Double(out[row]), truth, accuracy: Double(scale) * 4e-7 + 1e-6, "\(format.name) \(row) \(column)")
                    }
                } else {
                    var x = [Float](repeating: 0, count: columns)
                    x[column] = 1
                    let out = weights.product(Tables.scalar, index, x, tokens: 1)
                    for row in 0..<19 { XCTAssertEqual(out[row], weights.floats[row * columns + column], "\(format.name)") }
                }
            }
        }
    }

    func testHalfConversions() {
        for table in Tables.all {
            var bits = (0...UInt16.max).map { $0 }
            var floats = [Float](repeating: 0, count: bits.count)
            table.pointee.from_half(&bits, bits.count, &floats)
            for (pattern, value) in zip(bits, floats) {
                let truth = halfValue(pattern)
                XCTAssertTrue(value == truth || value.isNaN && truth.isNaN, "\(Tables.name(table)) \(pattern): \(value)")
            }
            var random = Random(2)
            var values = floats.filter { !$0.isNaN }
            // Between neighbours: ties and near ties, and everything else.
            for index in 0..<40_000 {
                let value = floats[index % 0x7C00]
                values.append((value + floats[index % 0x7C00 + 1]) / 2)
                values.append(((value + floats[index % 0x7C00 + 1]) / 2).nextUp)
                values.append(random.float(-70000...70000))
                values.append(random.float(-1e-6...1e-6))
            }
            values += [65519, 65520, 1e30, -1e30, .infinity, -.infinity, -0.0]
            var back = [UInt16](repeating: 0, count: values.count)
            table.pointee.to_half(&values, values.count, &back)
            for (value, pattern) in zip(values, back) where pattern != halfBits(value) {
                XCTFail("\(Tables.name(table)): \(value) became \(pattern), not \(halfBits(value))")
            }
            var nan: Float = .nan
            var out: UInt16 = 0
            table.pointee.to_half(&nan, 1, &out)
            XCTAssertTrue(halfValue(out).isNaN)
        }
    }
}
