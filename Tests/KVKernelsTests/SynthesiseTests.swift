import CKVKernels
import XCTest

/// Synthetic rows in every format.
final class SynthesiseTests: XCTestCase {
    private func floats(_ format: UnsafePointer<ckv_format>, key: UInt64, row: Int, columns: Int) -> [Float] {
        var bytes = [UInt8](repeating: 0, count: columns / Int(format.pointee.block) * Int(format.pointee.bytes))
        ckv_synthesise(format, key, row, columns, &bytes)
        var floats = [Float](repeating: 0, count: columns)
        format.pointee.dequantise(bytes, &floats, columns)
        return floats
    }

    /// Mean 0 and standard deviation 1 / √columns, in each row and in all.
    func testDistribution() {
        for (columns, count) in [(256, 64), (4096, 8), (11008, 3)] {
            for format in Tables.formats {
                let rows = (0..<count).map { floats(format, key: 1, row: $0, columns: columns) }
                let label = "\(format.name) \(columns)"
                XCTAssertTrue(rows.allSatisfy { $0.allSatisfy(\.isFinite) }, label)
                // A row's sum has the standard deviation 1.
                let sums = rows.map { $0.reduce(0, +) }
                XCTAssertTrue(sums.allSatisfy { abs($0) < 6 }, "\(label): \(sums)")
                XCTAssertEqual(sums.reduce(0, +) / Float(count).squareRoot(), 0, accuracy: 5, label)
                let squares = rows.map { $0.reduce(0) { $0 + $1 * $1 } }
                XCTAssertEqual((squares.reduce(0, +) / Float(count)).squareRoot(), 1, accuracy: 0.04, label)
            }
        }
    }

    /// The same for the same key and row, another for any other.
    func testKeysAndRows() {
        for format in Tables.formats {
            var seen: Set<[Float]> = []
            for key: UInt64 in [0, 1, 2, .max] {
                for row in 0..<20 {
                    let floats = floats(format, key: key, row: row, columns: 256)
                    XCTAssertEqual(floats, self.floats(format, key: key, row: row, columns: 256), format.name)
                    XCTAssertTrue(seen.insert(floats).inserted, "\(format.name) key \(key) row \(row)")
                }
            }
        }
    }

    /// Nothing beyond the row is written.
    func testLength() {
        for format in Tables.formats {
            let size = 512 / Int(format.pointee.block) * Int(format.pointee.bytes)
            var bytes = [UInt8](repeating: 0xA5, count: size + 8)
            ckv_synthesise(format, 3, 4, 512, &bytes)
            XCTAssertEqual(Array(bytes.suffix(8)), [UInt8](repeating: 0xA5, count: 8), format.name)
        }
    }
}
