import Foundation
import KVCUDA
import XCTest

/// The kernels of elements, rows and experts against plain loops in double precision.
final class ElementKernelTests: XCTestCase {
    private func each(_ body: (EmulatedKernels) throws -> Void) throws {
        try body(.project(.f16, .f16, 64))
        try body(.project(.bf16, .bf16, 80))
    }

    /// Lengths and whether addresses are shifted by one element, so that single elements are read.
    private static let lengths = [(1, false), (7, false), (8, false), (8, true), (613, false), (4099, true), (4096, false)]

    private func floats(_ memory: GuardedMemory<UInt16>, _ type: ElementType) -> [Float] { memory.values.map(type.value) }

    // MARK: Single elements

    private func map(_ name: String, times scale: Float = 4, _ f: (Double) -> Double) throws {
        try each { kernels in
            let type = kernels.elements
            for (n, shifted) in Self.lengths {
                var numbers = Numbers(UInt64(n))
                let values = numbers.elements(n, type, times: scale)
                let x = try GuardedMemory(values, shifted: shifted)
                try kernels.launch(name, grid: (2, 1, 1), .memory(x), .int64(n))
                x.check(name)
                assertClose(floats(x, type), values.map { f(Double(type.value($0))) }, relative: type.rounding, "\(name) \(n)")
            }
        }
    }

    private func product(_ name: String, _ f: (Double) -> Double) throws {
        try each { kernels in
            let type = kernels.elements
            for (n, shifted) in Self.lengths {
                var numbers = Numbers(UInt64(n))
                let (gates, ups) = (numbers.elements(n, type, times: 9), numbers.elements(n, type))
                let (gate, up) = (try GuardedMemory(gates, shifted: shifted), try GuardedMemory(ups))
                try kernels.launch(name, grid: (2, 1, 1), .memory(gate), .memory(up), .int64(n))
                gate.check(name)
                XCTAssertEqual(up.values, ups)
                let expected = zip(gates, ups).map { f(Double(type.value($0))) * Double(type.value($1)) }
                assertClose(floats(gate, type), expected, relative: type.rounding, "\(name) \(n)")
            }
        }
    }

    private func geluTanh(_ x: Double) -> Double { 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x))) }

    func testGELU() throws { try map("gelu") { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) } }
    func testGELUTanh() throws { try map("gelu_tanh") { geluTanh($0) } }
    func testSiLUProduct() throws { try product("silu_product") { $0 / (1 + exp(-$0)) } }
    func testGELUTanhProduct() throws { try product("gelu_tanh_product") { geluTanh($0) } }

    func testConversionRoundsToEvenAndSaturates() throws {
        try each { kernels in
            let type = kernels.elements
            for (n, shifted) in Self.lengths {
                var numbers = Numbers(UInt64(n))
                var values = numbers.floats(n, times: 100)
                // Ties, subnormals, what is too large, and what is no number.
                let special: [Float] = [
                    0x1.002p0, 0x1.006p0, 0x1.01p0, 0x1.03p0, 0x1p-24, 0x1p-25, 0x1.8p-24, 0x1.fffp-15, 65504, 65519.9, 65520,
                    -70000, 1e9,
                    -.infinity, .nan, -0.0, 0,
                ]
                for (index, value) in special.enumerated() where n > special.count { values[index] = value }
                let (out, x) = (try GuardedMemory([UInt16](repeating: 0, count: n), shifted: shifted), try GuardedMemory(values))
                try kernels.launch("to_element", grid: (3, 1, 1), .memory(out), .memory(x), .int64(n))
                out.check("to_element")
                for (index, (bits, value)) in zip(out.values, values).enumerated() {
                    if value.isNaN {
                        XCTAssertTrue(type.value(bits).isNaN)
                    } else {
                        XCTAssertEqual(bits, type.bits(value), "\(index): \(value)")
                    }
                }
            }
        }
    }

    func testFloats() throws {
        let kernels = try EmulatedKernels.project(.f16, .f16, 64)
        for (n, shifted) in Self.lengths {
            var numbers = Numbers(UInt64(n))
            let (a, b) = (numbers.floats(n, times: 50), numbers.floats(n))
            let (x, y) = (try GuardedMemory(a, shifted: shifted), try GuardedMemory(b))
            try kernels.launch("add_float", grid: (2, 1, 1), .memory(x), .memory(y), .int64(n))
            XCTAssertEqual(x.values, zip(a, b).map { $0 + $1 })
            let z = try GuardedMemory(a, shifted: shifted)
            try kernels.launch("soft_cap", grid: (2, 1, 1), .memory(z), .float(30), .int64(n))
            assertClose(z.values, a.map { 30 * tanh(Double($0) / 30) }, relative: 1e-6, "soft_cap \(n)")
            x.check("add_float")
            z.check("soft_cap")
        }
    }

    func testEmbedding() throws {
        try each { kernels in
            let type = kernels.elements
            for (columns, tokens) in [(1, 3), (8, 1), (20, 9), (576, 5)] {
                var numbers = Numbers(UInt64(columns))
                let ids = (0..<tokens).map { Int32($0 * 7 % 11) }
                let rows = numbers.elements(11 * columns, type)
                let (hidden, table) = (try GuardedMemory([Float](repeating: 0, count: tokens * columns)), try GuardedMemory(rows))
                try kernels.launch(
                    "embed", grid: (2, 1, 1), .memory(hidden), .memory(table), .memory(try GuardedMemory(ids)), .int32(tokens),
                    .int32(columns), .float(1.5))
                hidden.check("embed")
                XCTAssertEqual(
                    hidden.values, ids.flatMap { id in (0..<columns).map { 1.5 * type.value(rows[Int(id) * columns + $0]) } })
            }
        }
    }

    func testBiases() throws {
        try each { kernels in
            let type = kernels.elements
            for (width, tokens) in [(1, 3), (8, 1), (20, 9), (576, 5)] {
                var numbers = Numbers(UInt64(width))
                let (values, bias, weights) = (
                    numbers.floats(tokens * width), numbers.floats(width), numbers.floats(tokens, times: 5)
                )
                let bits = values.map(type.bits)
                let biases = try GuardedMemory(bias)
                let (x, y, z) = (try GuardedMemory(bits), try GuardedMemory(values), try GuardedMemory(values))
                try kernels.launch("add_bias_element", .memory(x), .memory(biases), .int32(tokens), .int32(width))
                assertClose(
                    floats(x, type), bits.indices.map { Double(type.value(bits[$0])) + Double(bias[$0 % width]) },
                    relative: type.rounding, "add_bias_element \(width)")
                try kernels.launch("add_bias_float", .memory(y), .memory(biases), .float(0.25), .int32(tokens), .int32(width))
                assertClose(
                    y.values, values.indices.map { Double(values[$0]) + 0.25 * Double(bias[$0 % width]) }, relative: 1e-6,
                    "add_bias_float")
                let (added, weight) = (try GuardedMemory(values.map { $0 * 3 }), try GuardedMemory(weights))
                try kernels.launch(
                    "add_weighted", .memory(z), .memory(added), .memory(weight), .float(0.5), .int32(tokens), .int32(width))
                let expected = values.indices.map {
                    Double(values[$0]) + 0.5 / (1 + exp(-Double(weights[$0 / width]))) * Double(values[$0] * 3)
                }
                assertClose(z.values, expected, relative: 1e-6, "add_weighted \(width)")
                x.check("add_bias_element")
                y.check("add_bias_float")
                z.check("add_weighted")
            }
        }
    }

    // MARK: Norms

    private func normed(_ x: ArraySlice<Double>, _ weight: ArraySlice<Float>, _ bias: ArraySlice<Float>?) -> [Double] {
        let mean = bias == nil ? 0 : x.reduce(0, +) / Double(x.count)
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
        return zip(x, weight).enumerated().map { index, pair in
            (pair.0 - mean) / (variance + 1e-5).squareRoot() * Double(pair.1) + Double(bias.map { $0[$0.startIndex + index] } ?? 0)
        }
    }

    func testNorms() throws {
        try each { kernels in
            let type = kernels.elements
            for (width, rows, weightRows) in [(1, 1, 1), (8, 3, 3), (13, 9, 3), (64, 20, 4), (576, 5, 1), (2100, 2, 2)] {
                var numbers = Numbers(UInt64(width))
                let x = numbers.floats(rows * width, times: 3).map { $0 + 1 }
                let (weight, bias) = (numbers.floats(weightRows * width), numbers.floats(weightRows * width))
                let (input, weights, biases) = (try GuardedMemory(x), try GuardedMemory(weight), try GuardedMemory(bias))
                for isLayer in [false, true] {
                    func expected(_ x: [Float], _ weightRows: Int) -> [Double] {
                        (0..<rows).flatMap { row in
                            let own = row % weightRows * width..<(row % weightRows + 1) * width
                            return normed(
                                x.map(Double.init)[row * width..<(row + 1) * width], weight[own], isLayer ? bias[own] : nil)
                        }
                    }
                    let name = isLayer ? "layer_norm" : "rms_norm"
                    let out = try GuardedMemory([UInt16](repeating: 0, count: rows * width))
                    let sum = try GuardedMemory([Float](repeating: 2, count: rows * width))
                    let bits = x.map(type.bits)
                    let heads = try GuardedMemory(bits)
                    let parameters: [LaunchArgument] = isLayer ? [.memory(biases)] : []
                    try launch(
                        kernels, name + "_hidden", rows, [.memory(out), .memory(input), .memory(weights)] + parameters, nil, width)
                    try launch(
                        kernels, name + "_add", rows, [.memory(sum), .memory(input), .memory(weights)] + parameters, nil, width)
                    try launch(
                        kernels, name + "_element", rows, [.memory(heads), .memory(weights)] + parameters, weightRows, width)
                    let what = "\(name) \(type) \(width)"
                    assertClose(floats(out, type), expected(x, 1), relative: type.rounding + 1e-5, absolute: 1e-5, what)
                    assertClose(sum.values, expected(x, 1).map { $0 + 2 }, relative: 1e-5, absolute: 1e-5, what)
                    assertClose(
                        floats(heads, type), expected(bits.map(type.value), weightRows), relative: type.rounding + 1e-5,
                        absolute: 1e-5,
                        what)
                    out.check(what)
                    sum.check(what)
                    heads.check(what)
                }
            }
        }
    }

    /// A norm's launch, over two blocks: a row's result does not depend on who computes it.
    private func launch(
        _ kernels: EmulatedKernels, _ name: String, _ rows: Int, _ pointers: [LaunchArgument], _ weightRows: Int?, _ width: Int
    ) throws {
        let own = weightRows.map { [LaunchArgument.int32($0)] } ?? []
        let all = pointers + own + [.float(1e-5), .int32(rows), .int32(width)]
        try kernels.launch(name, grid: (2, 1, 1), all)
    }

    // MARK: Positions

    func testRotation() throws {
        let modules = [try EmulatedKernels.project(.f16, .f16, 64), try .project(.bf16, .bf16, 80), try .project(.bf16, .bf16, 20)]
        for kernels in modules {
            let (type, dimension) = (kernels.elements, kernels.headDimension)
            for pairs in [dimension / 2, 4, 5, 8] where 2 * pairs <= dimension {
                for (halves, first, tokens, heads) in [(0, 0, 1, 3), (1, 0, 5, 1), (0, 7, 9, 2), (1, 3, 4, 8)] {
                    var numbers = Numbers(UInt64(pairs))
                    let bits = numbers.elements(tokens * heads * dimension, type)
                    let angles = (0..<(first + tokens) * pairs).flatMap { [Float(cos(Double($0))), Float(sin(Double($0)))] }
                    let x = try GuardedMemory(bits)
                    try kernels.launch(
                        "rotate", grid: (2, 1, 1), .memory(x), .memory(try GuardedMemory(angles)),
                        .memory(try GuardedMemory([Int32(first)])),
                        .int32(tokens), .int32(heads), .int32(pairs), .int32(halves))
                    x.check("rotate")
                    var expected = bits.map { Double(type.value($0)) }
                    for token in 0..<tokens {
                        for head in 0..<heads {
                            for pair in 0..<pairs {
                                let row = (token * heads + head) * dimension
                                let (i, j) = halves == 1 ? (row + pair, row + pair + pairs) : (row + 2 * pair, row + 2 * pair + 1)
                                let at = ((first + token) * pairs + pair) * 2
                                let (cosine, sine, a, b) = (Double(angles[at]), Double(angles[at + 1]), expected[i], expected[j])
                                expected[i] = a * cosine - b * sine
                                expected[j] = a * sine + b * cosine
                            }
                        }
                    }
                    assertClose(floats(x, type), expected, relative: type.rounding, "rotate \(dimension) \(pairs) \(halves)")
                }
            }
        }
    }

    func testAppending() throws {
        let modules = [try EmulatedKernels.project(.f16, .f16, 64), try .project(.f16, .bf16, 24), try .project(.bf16, .f16, 128)]
        for kernels in modules {
            for (first, tokens, width) in [(0, 1, 24), (3, 5, 21), (2, 3, 128)] {
                var numbers = Numbers(UInt64(width))
                // bfloat16 reaches where float16 does not.
                let (key, value) = (
                    numbers.elements(tokens * width, kernels.elements, times: 1e5),
                    numbers.elements(tokens * width, kernels.elements)
                )
                let rows = (first + tokens + 2) * width
                let (keys, values) = (
                    try GuardedMemory([UInt16](repeating: 1, count: rows)), try GuardedMemory([UInt16](repeating: 2, count: rows))
                )
                try kernels.launch(
                    "append", grid: (2, 1, 1), .memory(keys), .memory(values), .memory(try GuardedMemory(key)),
                    .memory(try GuardedMemory(value)),
                    .memory(try GuardedMemory([Int32(first)])), .int32(tokens), .int32(width))
                func expected(_ rows: [UInt16], _ other: UInt16) -> [UInt16] {
                    let converted =
                        kernels.elements == kernels.cache ? rows : rows.map { kernels.cache.bits(kernels.elements.value($0)) }
                    return [UInt16](repeating: other, count: first * width) + converted
                        + [UInt16](repeating: other, count: 2 * width)
                }
                XCTAssertEqual(keys.values, expected(key, 1))
                XCTAssertEqual(values.values, expected(value, 2))
                keys.check("append")
                values.check("append")
            }
        }
    }

    // MARK: Experts

    func testChoiceOfExperts() throws {
        let kernels = try EmulatedKernels.project(.f16, .f16, 64)
        for (tokens, count, used) in [(1, 4, 4), (9, 8, 2), (20, 60, 4), (3, 130, 8)] {
            var numbers = Numbers(UInt64(count))
            // Few different scores: there are equals.
            let scores = (0..<tokens * count).map { _ in (numbers.next() * 8).rounded() / 2 }
            for renormalises in [true, false] {
                let chosen = try GuardedMemory([Int32](repeating: -1, count: tokens * used))
                let weights = try GuardedMemory([Float](repeating: .nan, count: tokens * used))
                try kernels.launch(
                    "choose_experts", grid: (2, 1, 1), .memory(chosen), .memory(weights), .memory(try GuardedMemory(scores)),
                    .int32(tokens),
                    .int32(count), .int32(used), .int32(renormalises ? 1 : 0))
                for token in 0..<tokens {
                    let own = Array(scores[token * count..<(token + 1) * count])
                    let order = own.indices.sorted { own[$0] != own[$1] ? own[$0] > own[$1] : $0 < $1 }.prefix(used)
                    XCTAssertEqual(Array(chosen.values[token * used..<(token + 1) * used]), order.map(Int32.init))
                    let all = (renormalises ? order.map { own[$0] } : own).reduce(0.0) { $0 + exp(Double($1)) }
                    assertClose(
                        Array(weights.values[token * used..<(token + 1) * used]), order.map { exp(Double(own[$0])) / all },
                        relative: 1e-5,
                        "weights \(count)")
                }
                chosen.check("choose_experts")
                weights.check("choose_experts")
            }
        }
        // Whatever the scores, experts are different ones that there are.
        let chosen = try GuardedMemory([Int32](repeating: -1, count: 3))
        let weights = try GuardedMemory([Float](repeating: 0, count: 3))
        let none = try GuardedMemory([Float.nan, -.infinity, .nan, .infinity])
        try kernels.launch(
            "choose_experts", .memory(chosen), .memory(weights), .memory(none), .int32(1), .int32(4), .int32(3), .int32(1))
        XCTAssertEqual(chosen.values, [3, 0, 1])
    }

    func testRowsOfExperts() throws {
        try each { kernels in
            for (width, tokens, used) in [(1, 1, 1), (20, 7, 3), (64, 9, 2)] {
                var numbers = Numbers(UInt64(width))
                let rows = tokens * used
                let order = (0..<rows).map { Int32(($0 * 5 + 1) % rows) }
                let input = numbers.elements(tokens * width, kernels.elements)
                let source = order.map { $0 / Int32(used) }
                let gathered = try GuardedMemory([UInt16](repeating: 0, count: rows * width))
                try kernels.launch(
                    "gather_rows", .memory(gathered), .memory(try GuardedMemory(input)), .memory(try GuardedMemory(source)),
                    .int32(rows),
                    .int32(width))
                gathered.check("gather_rows")
                XCTAssertEqual(gathered.values, source.flatMap { input[Int($0) * width..<Int($0 + 1) * width] })
                let (values, weight) = (numbers.floats(rows * width), numbers.floats(rows))
                let out = try GuardedMemory([Float](repeating: 3, count: tokens * width))
                try kernels.launch(
                    "add_experts", .memory(out), .memory(try GuardedMemory(values)), .memory(try GuardedMemory(order)),
                    .memory(try GuardedMemory(weight)), .int32(tokens), .int32(used), .int32(width), .float(0.5))
                out.check("add_experts")
                let expected = (0..<tokens * width).map { index in
                    let (token, column) = (index / width, index % width)
                    return (0..<used).reduce(3.0) { sum, u in
                        sum + 0.5 * Double(weight[token * used + u]) * Double(values[Int(order[token * used + u]) * width + column])
                    }
                }
                assertClose(out.values, expected, relative: 1e-5, "add_experts \(width)")
            }
        }
    }
}
