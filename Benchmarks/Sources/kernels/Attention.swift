import CKVKernels

/// Attention of one key/value head: prefill of 512 tokens, and decode over the same cache.
struct Attention {
    let table: KernelTable
    let small: Bool
    let sampling: Sampling
    /// Heads of the cache: a position's row holds this many, of which one is used.
    private let heads = 3

    init(table: KernelTable, small: Bool, sampling: Sampling) {
        (self.table, self.small, self.sampling) = (table, small, sampling)
    }

    func measure() throws -> Table {
        var result = Table(
            title: "Causal attention, \(table.name), one thread",
            columns: ["cache", "head", "group", "tokens", "position", "GMAC/s", "ceiling", "share"])
        let tokens = small ? 40 : 512
        for half in [true, false] {
            for headDim in [64, 128] {
                for group in [1, 3, 4] {
                    for position in small ? [100] : [0, 1536] {
                        result.rows.append(try prefill(half, headDim, group, tokens, position))
                    }
                    result.rows.append(try decode(half, headDim, group, position: small ? 139 : 2047))
                }
            }
        }
        result.notes.append("prefill in units of about 192 query rows, as the engine hands them out")
        result.notes.append(
            "1 token is decode: blocks of keys apart, then merged; scores and values count, the exponentials do not")
        return result
    }

    /// Queries, and a cache that they attend to.
    private final class Operands {
        let query: Buffer<Float>
        let keys: Memory
        let values: Memory
        let call: ckv_attention

        init(half: Bool, headDim: Int, group: Int, tokens: Int, position: Int, heads: Int) throws(BenchmarkError) {
            var random = Random(UInt64(headDim * 100 + group))
            query = Buffer(random.floats(tokens * group * headDim, -3...3), 0)
            let stride = headDim * heads
            let elements = (position + tokens) * stride
            let size = half ? 2 : 4
            (keys, values) = (try Memory(bytes: elements * size), try Memory(bytes: elements * size))
            for memory in [keys, values] {
                let floats = random.floats(elements)
                if half {
                    KernelTable.scalar.kernels.to_half(
                        floats, elements, memory.base.bindMemory(to: UInt16.self, capacity: elements))
                } else {
                    let target = memory.base.bindMemory(to: Float.self, capacity: elements)
                    floats.withUnsafeBufferPointer { source in
                        if let base = source.baseAddress { target.initialize(from: base, count: elements) }
                    }
                }
            }
            var call = ckv_attention()
            (call.head_dim, call.group, call.tokens, call.position) = (headDim, group, tokens, position)
            (call.query, call.query_stride, call.out_stride) = (UnsafePointer(query.base), group * headDim, group * headDim)
            (call.key, call.value, call.kv_stride, call.half) = (
                UnsafeRawPointer(keys.base), UnsafeRawPointer(values.base), stride, half
            )
            call.scale = 1 / Float(headDim).squareRoot()
            self.call = call
        }
    }

    private func prefill(_ half: Bool, _ headDim: Int, _ group: Int, _ tokens: Int, _ position: Int) throws -> [String] {
        let operands = try Operands(half: half, headDim: headDim, group: group, tokens: tokens, position: position, heads: heads)
        let row = group * headDim
        let out = Buffer<Float>(tokens * row, .nan)
        // In units of about 192 rows, as the engine hands them out: their state then stays in the second-level cache.
        let unit = max(16, (192 + group - 1) / group)
        let scratch = Buffer<UInt8>(ckv_attention_scratch(headDim, group, unit), 0)
        let attention = table.kernels.attention
        func once() {
            for first in stride(from: 0, to: tokens, by: unit) {
                var call = operands.call
                (call.tokens, call.position) = (min(unit, tokens - first), position + first)
                (call.query, call.out) = (UnsafePointer(operands.query.base + first * row), out.base + first * row)
                call.scratch = UnsafeMutableRawPointer(scratch.base)
                attention?(&call)
            }
        }
        once()
        try check(operands, tokens, position, out, "\(half ? "f16" : "f32") attention, head \(headDim), group \(group)")
        let pairs = tokens * position + tokens * (tokens + 1) / 2
        let work = Work.ofThread(Double(pairs * headDim * 2 * group) * 1e-9, once)
        let rates = try withExtendedLifetime((operands, out, scratch)) {
            try sampling.rates(work, ceiling: table.floatCeiling?.work)
        }
        return line(half, headDim, group, tokens, position, rates)
    }

    /// Compares with the scalar table, which takes a second for all tokens: slices at the start, in the middle and at the end.
    private func check(_ operands: Operands, _ tokens: Int, _ position: Int, _ out: Buffer<Float>, _ what: String) throws {
        let row = operands.call.query_stride
        let slice = min(tokens, 9)
        for first in [0, (tokens - slice) / 2, tokens - slice] {
            let expected = Buffer<Float>(slice * row, .nan)
            let scratch = Buffer<UInt8>(ckv_attention_scratch(operands.call.head_dim, operands.call.group, slice), 0)
            var call = operands.call
            (call.tokens, call.position) = (slice, position + first)
            call.query = UnsafePointer(operands.query.base + first * row)
            (call.out, call.scratch) = (expected.base, UnsafeMutableRawPointer(scratch.base))
            KernelTable.scalar.kernels.attention(&call)
            for index in 0..<slice * row where out[first * row + index].bitPattern != expected[index].bitPattern {
                let token = first + index / row
                throw BenchmarkError.differs(
                    "\(table.name) \(what), position \(position), token \(token): element \(index % row) is \(out[first * row + index]) and not \(expected[index])"
                )
            }
        }
    }

    private func decode(_ half: Bool, _ headDim: Int, _ group: Int, position: Int) throws -> [String] {
        let operands = try Operands(half: half, headDim: headDim, group: group, tokens: 1, position: position, heads: heads)
        let blocks = position / Int(CKV_KEYS) + 1
        let stride = headDim + 2
        let out = Buffer<Float>(group * headDim, .nan)
        let partials = Buffer<Float>(blocks * group * stride, .nan)
        let scratch = Buffer<UInt8>(ckv_attention_scratch(headDim, group, 1), 0)
        var call = operands.call
        (call.out, call.scratch) = (out.base, UnsafeMutableRawPointer(scratch.base))
        let kernels = table.kernels
        func once() {
            kernels.attention_partial(&call, 0, blocks, partials.base)
            for head in 0..<group {
                kernels.attention_merge(
                    partials.base + head * stride, blocks, group * stride, headDim, out.base + head * headDim)
            }
        }
        once()
        try check(operands, 1, position, out, "\(half ? "f16" : "f32") decode, head \(headDim), group \(group)")
        let work = Work.ofThread(Double((position + 1) * headDim * 2 * group) * 1e-9, once)
        let rates = try withExtendedLifetime((operands, out, partials, scratch)) {
            try sampling.rates(work, ceiling: table.floatCeiling?.work)
        }
        return line(half, headDim, group, 1, position, rates)
    }

    private func line(_ half: Bool, _ headDim: Int, _ group: Int, _ tokens: Int, _ position: Int, _ rates: Rates) -> [String] {
        [
            half ? "f16" : "f32", "\(headDim)", "\(group)", "\(tokens)", "\(position)", Report.number(rates.kernel),
            Report.number(rates.ceiling), Report.share(rates.share),
        ]
    }
}
