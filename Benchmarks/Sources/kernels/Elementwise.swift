import CKVKernels

/// The kernels that pass once over some floats, in cache.
struct Elementwise {
    let table: KernelTable
    let sizes: [Int]
    let sampling: Sampling

    func measure() throws -> Table {
        var result = Table(
            title: "Elementwise, \(table.name), one thread, in cache", columns: ["kernel", "elements", "ns/element", "GB/s"])
        for size in sizes {
            let operands = Operands(size)
            for kernel in Self.kernels { result.rows.append(try row(kernel, operands, size)) }
        }
        result.notes.append("GB/s count what is read and what is written")
        return result
    }

    /// Inputs, and room for the outputs of any of the kernels.
    private final class Operands {
        let a: Buffer<Float>
        let b: Buffer<Float>
        let angles: Buffer<Float>
        let half: Buffer<UInt16>

        init(_ size: Int) {
            var random = Random(UInt64(size))
            a = Buffer(random.floats(size, -8...8), 0)
            b = Buffer(random.floats(size), 0)
            // Cosine and sine of one angle, so that an array rotated again and again keeps its size.
            angles = Buffer((0..<size).map { $0 % 2 == 0 ? 0.8 : 0.6 }, 0)
            half = Buffer(size, 0)
            KernelTable.scalar.kernels.to_half(a.base, size, half.base)
        }
    }

    /// What a kernel writes: whatever it does not touch stays as it was.
    private final class Results {
        let floats: Buffer<Float>
        let halves: Buffer<UInt16>
        let values: Buffer<Int8>
        let scales: Buffer<Float>
        /// Of whatever type: eight bytes at most.
        let sums: Buffer<UInt64>
        let offsets: Buffer<Float>

        init(_ size: Int, _ operands: Operands) {
            floats = Buffer(size, 0)
            for index in 0..<size { floats.base[index] = operands.a[index] }
            (halves, values) = (Buffer(size, 0), Buffer(size, 0))
            let blocks = size / Int(CKV_BLOCK) + 1
            (scales, sums, offsets) = (Buffer(blocks, 0), Buffer(blocks, 0), Buffer(blocks, 0))
        }

        func equals(_ other: Results) -> Bool {
            floats.equals(other.floats) && halves.equals(other.halves) && values.equals(other.values)
                && scales.equals(other.scales) && sums.equals(other.sums) && offsets.equals(other.offsets)
        }
    }

    private struct Kernel: Sendable {
        let name: String
        /// Read and written, of one element.
        let bytes: Double
        let run: @Sendable (ckv_table, Operands, Results, Int) -> Void
    }

    private static let kernels: [Kernel] = [
        Kernel(name: "rms_norm", bytes: 12) { $0.rms_norm($1.a.base, $1.b.base, 1e-5, $3, $2.floats.base) },
        Kernel(name: "layer_norm", bytes: 16) { $0.layer_norm($1.a.base, $1.b.base, $1.b.base, 1e-5, $3, $2.floats.base) },
        Kernel(name: "quantise", bytes: 5 + 12.0 / Double(CKV_BLOCK)) {
            $0.quantise($1.a.base, $3, $2.values.base, $2.scales.base, Activations.typed($2.sums.base), $2.offsets.base)
        },
        Kernel(name: "silu_product", bytes: 12) { $0.silu_product($1.a.base, $1.b.base, $3, $2.floats.base) },
        Kernel(name: "gelu", bytes: 8) { $0.gelu($1.a.base, $3, $2.floats.base) },
        Kernel(name: "gelu_tanh", bytes: 8) { $0.gelu_tanh($1.a.base, $3, $2.floats.base) },
        Kernel(name: "gelu_tanh_product", bytes: 12) { $0.gelu_tanh_product($1.a.base, $1.b.base, $3, $2.floats.base) },
        Kernel(name: "soft_cap", bytes: 8) { $0.soft_cap($1.a.base, 30, $3, $2.floats.base) },
        Kernel(name: "rotate_pairs", bytes: 12) { $0.rotate_pairs($2.floats.base, $1.angles.base, $3 / 2) },
        Kernel(name: "rotate_halves", bytes: 12) { $0.rotate_halves($2.floats.base, $1.angles.base, $3 / 2) },
        Kernel(name: "add", bytes: 12) { $0.add($1.a.base, $1.b.base, $3, $2.floats.base) },
        Kernel(name: "to_half", bytes: 6) { $0.to_half($1.a.base, $3, $2.halves.base) },
        Kernel(name: "from_half", bytes: 6) { $0.from_half($1.half.base, $3, $2.floats.base) },
    ]

    private func row(_ kernel: Kernel, _ operands: Operands, _ size: Int) throws -> [String] {
        let (results, expected) = (Results(size, operands), Results(size, operands))
        kernel.run(table.kernels, operands, results, size)
        kernel.run(KernelTable.scalar.kernels, operands, expected, size)
        guard results.equals(expected) else {
            throw BenchmarkError.differs("\(table.name) \(kernel.name) of \(size) elements gives other results")
        }
        // Copied once: the closure would copy the whole table otherwise.
        let kernels = table.kernels
        let work = Work.ofThread(Double(size) * 1e-9) { kernel.run(kernels, operands, results, size) }
        let rate = try sampling.rates(work, ceiling: nil).kernel
        return [kernel.name, "\(size)", String(Report.number(1 / rate)), Report.number(rate * kernel.bytes)]
    }
}
