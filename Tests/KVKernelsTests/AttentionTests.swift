import CKVKernels
import Foundation
import XCTest

/// Attention, in windows and with soft caps too: the reference against a plain softmax in doubles, every table against the reference
/// by bits.
final class AttentionTests: XCTestCase {
    /// Queries, and keys and values of two heads side by side; this attends to the second.
    struct Case {
        let headDimension: Int
        let group: Int
        let position: Int
        let tokens: Int
        let half: Bool
        var window = 0
        var softcap: Float = 0
        /// Of the dense rectangle; 0: none.
        var dense = 0
        var query: [Float]
        var keys: [Float]
        var values: [Float]
        var stride: Int { 2 * headDimension }
        var rows: Int { position + tokens }

        init(
            _ headDimension: Int, _ group: Int, _ position: Int, _ tokens: Int, _ half: Bool, spare: Int = 0, _ random: inout Random
        ) {
            self.headDimension = headDimension
            self.group = group
            self.position = position
            self.tokens = tokens
            self.half = half
            query = (0..<tokens * group * headDimension).map { _ in random.float(-3...3) }
            let count = (position + tokens + spare) * 2 * headDimension
            // Float16 values, so that both cache types hold the same.
            keys = (0..<count).map { _ in halfValue(halfBits(random.float(-2...2))) }
            values = (0..<count).map { _ in halfValue(halfBits(random.float())) }
        }

        /// - Parameter left: called with what the kernel left in its scratch.
        func run(
            _ table: UnsafePointer<ckv_table>, tokens part: Range<Int>? = nil, partial: Bool = false,
            left: (UnsafeBufferPointer<Float>) -> Void = { _ in }
        ) -> [UInt32] {
            let part = part ?? 0..<tokens
            let width = group * headDimension
            var out = [Float](repeating: .nan, count: part.count * width)
            let scratch = Aligned<UInt8>(ckv_attention_scratch(headDimension, group, part.count))
            var attention = ckv_attention()
            attention.head_dim = headDimension
            attention.group = group
            attention.query_stride = width
            attention.tokens = part.count
            attention.position = position + part.lowerBound
            attention.kv_stride = stride
            attention.half = half
            attention.window = window
            attention.keys = dense
            attention.scale = 1 / Float(headDimension).squareRoot()
            attention.softcap = softcap
            attention.out_stride = width
            attention.scratch = UnsafeMutableRawPointer(scratch.base)
            func go<T>(_ keys: [T], _ values: [T]) {
                keys.withUnsafeBufferPointer { keys in
                    values.withUnsafeBufferPointer { values in
                        query.withUnsafeBufferPointer { query in
                            out.withUnsafeMutableBufferPointer { out in
                                attention.key = UnsafeRawPointer(keys.baseAddress.map { $0 + headDimension })
                                attention.value = UnsafeRawPointer(values.baseAddress.map { $0 + headDimension })
                                attention.query = query.baseAddress.map { $0 + part.lowerBound * width }
                                attention.out = out.baseAddress
                                if partial { decode(table, &attention, out) } else { table.pointee.attention(&attention) }
                            }
                        }
                    }
                }
            }
            scratch.base.update(repeating: 0, count: scratch.count)
            if half { go(keys.map(halfBits), values.map(halfBits)) } else { go(keys, values) }
            scratch.base.withMemoryRebound(to: Float.self, capacity: scratch.count / 4) {
                left(UnsafeBufferPointer(start: $0, count: scratch.count / 4))
            }
            return out.map(\.bitPattern)
        }

        private func decode(
            _ table: UnsafePointer<ckv_table>, _ attention: inout ckv_attention, _ out: UnsafeMutableBufferPointer<Float>
        ) {
            let blocks = attention.position / Int(CKV_KEYS) + 1
            let first = ckv_first_block(&attention)
            let size = headDimension + 2
            var partials = [Float](repeating: .nan, count: blocks * group * size)
            // In two goes, the later blocks first; those before the window are not written.
            table.pointee.attention_partial(&attention, blocks / 2, blocks, &partials)
            table.pointee.attention_partial(&attention, 0, blocks / 2, &partials)
            XCTAssertTrue(partials[..<(first * group * size)].allSatisfy(\.isNaN), "\(Tables.name(table)) before the window")
            for member in 0..<group {
                partials.withUnsafeBufferPointer { partials in
                    table.pointee.attention_merge(
                        partials.baseAddress.map { $0 + (first * group + member) * size }, blocks - first, group * size,
                        headDimension, out.baseAddress.map { $0 + member * headDimension })
                }
            }
        }

        /// Softmax attention in doubles.
        func truth() -> [Double] {
            var out: [Double] = []
            for token in 0..<tokens {
                for member in 0..<group {
                    let q = query[(token * group + member) * headDimension..<(token * group + member + 1) * headDimension]
                    let first = window == 0 ? 0 : max(0, position + token - window + 1)
                    let scores = (first...position + token).map { key -> Double in
                        let row = keys[key * stride + headDimension..<(key + 1) * stride]
                        let dot = zip(q, row).reduce(0) { $0 + Double($1.0) * Double($1.1) }
                        let score = dot / Double(headDimension).squareRoot()
                        return softcap == 0 ? score : Double(softcap) * tanh(score / Double(softcap))
                    }
                    let largest = scores.max() ?? 0
                    let weights = scores.map { exp($0 - largest) }
                    let total = weights.reduce(0, +)
                    for d in 0..<headDimension {
                        out.append(
                            weights.enumerated().reduce(0) {
                                $0 + $1.element * Double(values[(first + $1.offset) * stride + headDimension + d])
                            }
                                / total)
                    }
                }
            }
            return out
        }
    }

    func testReferenceAgainstDoubles() {
        var random = Random(7)
        for (width, group, position, tokens) in [(16, 3, 0, 9), (64, 1, 120, 14), (7, 2, 300, 3), (80, 1, 0, 1)] {
            let attention = Case(width, group, position, tokens, true, &random)
            for (bits, truth) in zip(attention.run(Tables.scalar), attention.truth()) {
                XCTAssertEqual(Double(Float(bitPattern: bits)), truth, accuracy: 2e-6)
            }
        }
    }

    func testEveryTableEqualsTheReference() {
        var random = Random(8)
        for width in [1, 7, 16, 64, 80, 128, 256] {
            for group in [1, 3, 9] where width < 128 || group == 1 {
                for position in [0, 60, 127, 128, 129] {
                    for tokens in [1, 2, 17] {
                        for half in [true, false] {
                            let attention = Case(width, group, position, tokens, half, &random)
                            let expected = attention.run(Tables.scalar)
                            for table in Tables.vector {
                                let label = "\(Tables.name(table)) d\(width) g\(group) p\(position) n\(tokens) half \(half)"
                                XCTAssertTrue(attention.run(table) == expected, label)
                                if tokens == 1 {
                                    XCTAssertTrue(attention.run(table, partial: true) == expected, label + " partial")
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A query's bits do not depend on which others are computed with it, nor on how.
    func testSplitsGiveTheSameBits() {
        var random = Random(9)
        for (width, group, position) in [(64, 3, 100), (16, 1, 250)] {
            let attention = Case(width, group, position, 70, true, &random)
            let row = group * width
            for table in Tables.all {
                let all = attention.run(table)
                for part in [0..<1, 0..<13, 13..<70, 27..<29, 69..<70] {
                    let bits = attention.run(table, tokens: part)
                    XCTAssertTrue(
                        bits == Array(all[part.lowerBound * row..<part.upperBound * row]), "\(Tables.name(table)) \(part)")
                    if part.count == 1 {
                        XCTAssertTrue(
                            attention.run(table, tokens: part, partial: true) == bits, "\(Tables.name(table)) \(part) partial")
                    }
                }
            }
        }
    }

    func testWindowAndSoftcapAgainstDoubles() {
        var random = Random(11)
        for (width, group, position, tokens) in [(16, 3, 0, 9), (64, 1, 250, 14), (7, 2, 300, 3), (80, 1, 400, 1)] {
            var attention = Case(width, group, position, tokens, true, &random)
            for (window, softcap) in [(1, 0), (5, 30), (128, 50), (129, 0), (300, 30), (0, 50), (0, 2)] {
                attention.window = window
                attention.softcap = Float(softcap)
                for (bits, truth) in zip(attention.run(Tables.scalar), attention.truth()) {
                    XCTAssertEqual(Double(Float(bitPattern: bits)), truth, accuracy: 2e-6, "window \(window) cap \(softcap)")
                }
            }
        }
    }

    /// One key: the value itself. A window of all keys or more: as none.
    func testExtremeWindows() {
        var random = Random(12)
        var attention = Case(16, 2, 130, 9, false, &random)
        for table in Tables.all {
            attention.window = 0
            let all = attention.run(table)
            for window in [139, 140, Int.max] {
                attention.window = window
                XCTAssertTrue(attention.run(table) == all, "\(Tables.name(table)) \(window)")
            }
            attention.window = 1
            var own: [UInt32] = []
            for token in 0..<9 {
                let row = (130 + token) * attention.stride
                let value = attention.values[row + 16..<row + 32].map(\.bitPattern)
                own += value + value
            }
            XCTAssertTrue(attention.run(table) == own, Tables.name(table))
        }
    }

    func testEveryTableEqualsTheReferenceInWindows() {
        var random = Random(13)
        for (width, group) in [(1, 1), (7, 3), (64, 4), (80, 1), (256, 2)] {
            for position in [0, 126, 127, 128, 255, 300] {
                for tokens in [1, 2, 17, 150] where tokens < 150 || (width == 7 && position % 128 != 127) {
                    for half in [true, false] {
                        var attention = Case(width, group, position, tokens, half, &random)
                        for (window, softcap) in [(1, 0), (5, 50), (64, 0), (128, 30), (129, 0), (300, 30), (0, 50)] {
                            attention.window = window
                            attention.softcap = Float(softcap)
                            let expected = attention.run(Tables.scalar)
                            XCTAssertTrue(expected.allSatisfy { Float(bitPattern: $0).isFinite })
                            let label = "d\(width) g\(group) p\(position) n\(tokens) half \(half) window \(window) cap \(softcap)"
                            for table in Tables.vector {
                                XCTAssertTrue(attention.run(table) == expected, "\(Tables.name(table)) \(label)")
                            }
                            for table in Tables.all where tokens == 1 {
                                let partial = attention.run(table, partial: true)
                                XCTAssertTrue(partial == expected, "\(Tables.name(table)) \(label) partial")
                            }
                        }
                    }
                }
            }
        }
    }

    /// Windows that begin within a tile, at a block's border and beside it, split everywhere.
    func testSplitsInWindowsGiveTheSameBits() {
        var random = Random(14)
        for (width, group, position, window) in [(64, 3, 100, 5), (16, 1, 250, 129), (32, 2, 380, 128), (16, 2, 200, 1)] {
            var attention = Case(width, group, position, 70, true, &random)
            attention.window = window
            attention.softcap = 30
            let row = group * width
            for table in Tables.all {
                let all = attention.run(table)
                for part in [0..<13, 13..<70, 27..<29] + (0..<70).map({ $0..<$0 + 1 }) {
                    let expected = Array(all[part.lowerBound * row..<part.upperBound * row])
                    let label = "\(Tables.name(table)) window \(window) \(part)"
                    XCTAssertTrue(attention.run(table, tokens: part) == expected, label)
                    guard part.count == 1 else { continue }
                    XCTAssertTrue(attention.run(table, tokens: part, partial: true) == expected, label + " partial")
                }
            }
        }
    }

    /// Rows before every query's window may have been dropped: they must not be read.
    func testRowsBeforeTheWindowAreNotRead() {
        var random = Random(15)
        for (window, tokens) in [(1, 5), (5, 1), (128, 5), (129, 40), (200, 1), (300, 5)] {
            for half in [true, false] {
                var attention = Case(half ? 64 : 20, 3, 400, tokens, half, &random)
                attention.window = window
                let clean = Tables.all.map { attention.run($0) }
                for index in 0..<(400 - window + 1) * attention.stride {
                    attention.keys[index] = .nan
                    attention.values[index] = .nan
                }
                for (table, expected) in zip(Tables.all, clean) {
                    let label = "\(Tables.name(table)) window \(window) half \(half)"
                    XCTAssertTrue(attention.run(table) == expected, label)
                    if tokens == 1 { XCTAssertTrue(attention.run(table, partial: true) == expected, label + " partial") }
                }
            }
        }
    }

    /// A row that one query of a tile sees is nothing to the next, whose window begins behind it, whatever it holds.
    func testQueriesOfATileDoNotMeetEachOthersRows() {
        var random = Random(16)
        for window in [1, 5, 128, 200] {
            var attention = Case(16, 1, 300, 12, false, &random)
            attention.window = window
            let clean = Tables.all.map { attention.run($0) }
            // Only token 0 sees its first key.
            let row = (300 - window + 1) * attention.stride
            for index in row..<row + attention.stride {
                attention.keys[index] = .nan
                attention.values[index] = .infinity
            }
            for (table, expected) in zip(Tables.all, clean) {
                let bits = attention.run(table)
                XCTAssertTrue(bits[16...] == expected[16...], "\(Tables.name(table)) window \(window)")
                XCTAssertFalse(bits[..<16].contains { Float(bitPattern: $0).isFinite }, "\(Tables.name(table)) window \(window)")
            }
        }
    }

    func testHyperbolicTangent() {
        for magnitude in stride(from: -30, through: 7, by: 0.00037).map({ Float(exp2($0)) }) {
            let truth = tanh(Double(magnitude))
            let result = ckv_tanh(magnitude)
            XCTAssertEqual(Double(result), truth, accuracy: 3 * Double(Float(truth).ulp))
            XCTAssertLessThanOrEqual(result, 1)
            XCTAssertEqual(ckv_tanh(-magnitude), -result)
        }
        for large in [20, 1e10, .greatestFiniteMagnitude, .infinity] as [Float] {
            XCTAssertEqual(ckv_tanh(large), 1)
            XCTAssertEqual(ckv_tanh(-large), -1)
        }
        XCTAssertEqual(ckv_tanh(-0).bitPattern, (-0 as Float).bitPattern)
        XCTAssertEqual(ckv_tanh(0).bitPattern, 0)
        XCTAssertTrue(ckv_tanh(.nan).isNaN)
    }

    /// The dense rectangle: the same bits whatever keys lie behind each query, in its block or in further ones.
    func testDenseGivesTheSameBits() {
        var random = Random(17)
        for (width, group, position, tokens) in [
            (64, 3, 0, 70), (16, 1, 250, 17), (7, 2, 120, 9), (80, 9, 0, 1), (128, 1, 1, 130),
        ] {
            for spare in [0, 1, 60, 128, 300] {
                for half in [true, false] {
                    var attention = Case(width, group, position, tokens, half, spare: spare, &random)
                    for (window, softcap) in [(0, 0), (0, 30), (5, 0), (128, 50)] {
                        attention.window = window
                        attention.softcap = Float(softcap)
                        attention.dense = 0
                        let expected = attention.run(Tables.scalar)
                        attention.dense = attention.rows + spare
                        for table in Tables.all {
                            let name = "\(Tables.name(table)) d\(width) n\(tokens) spare \(spare)"
                            let label = "\(name) half \(half) window \(window) cap \(softcap)"
                            XCTAssertTrue(attention.run(table) == expected, label)
                            if tokens > 20 {
                                let part = attention.run(table, tokens: 3..<20)
                                XCTAssertTrue(part[...] == expected[3 * group * width..<20 * group * width], label)
                            }
                        }
                    }
                }
            }
        }
    }

    /// It does compute what nobody sees: a masked key that is no number is found in the scratch. And results do not depend on it.
    func testDenseComputesMaskedKeys() {
        var random = Random(18)
        for spare in [1, 40, 200] {
            var attention = Case(16, 2, 100, 9, false, spare: spare, &random)
            let expected = attention.run(Tables.scalar)
            for index in attention.rows * attention.stride..<attention.keys.count {
                attention.keys[index] = .nan
                attention.values[index] = .infinity
            }
            for table in Tables.all {
                for dense in [0, attention.rows + spare] {
                    attention.dense = dense
                    var computed = false
                    let bits = attention.run(table) { computed = $0.contains { $0.isNaN } }
                    XCTAssertTrue(bits == expected, "\(Tables.name(table)) spare \(spare) dense \(dense)")
                    XCTAssertEqual(computed, dense > 0, "\(Tables.name(table)) spare \(spare)")
                }
            }
        }
    }

    /// Rows behind the last query are being written by others, or were never: they must not be read.
    func testLaterRowsAreNotRead() {
        var random = Random(10)
        for half in [true, false] {
            var attention = Case(64, 3, 90, 5, half, spare: 200, &random)
            let clean = Tables.all.map { attention.run($0) }
            for index in attention.rows * attention.stride..<attention.keys.count {
                attention.keys[index] = .nan
                attention.values[index] = .nan
            }
            for (table, expected) in zip(Tables.all, clean) {
                XCTAssertTrue(attention.run(table) == expected, "\(Tables.name(table))")
            }
        }
    }
}
