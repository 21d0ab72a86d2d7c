import CKVKernels

/// Matrix products of one thread.
struct GEMM {
    let table: KernelTable
    let shapes: [Shape]
    let tokens: [Int]
    let sampling: Sampling

    func measure(_ formats: [WeightFormat]) throws -> Table {
        var result = Table(
            title: "Matrix products, \(table.name), one thread",
            columns: ["format", "activations", "shape", "tokens", "GMAC/s", "ceiling", "share"])
        for format in formats {
            for int8 in [true, false] where table.product(format, int8: int8) != nil {
                for shape in shapes {
                    let block = int8 ? max(format.elements, Int(CKV_BLOCK)) : format.elements
                    guard shape.columns % block == 0 else {
                        result.notes.append("\(format.name) has no \(shape): \(shape.columns) columns are no multiple of \(block)")
                        continue
                    }
                    result.rows += try rows(format, int8, shape)
                }
            }
        }
        if let first = formats.first, table.floatCeiling == nil || table.int8Ceiling(first) == nil {
            result.notes.append("no ceiling is known for some kernels of \(table.name)")
        }
        return result
    }

    /// One line for each number of tokens.
    private func rows(_ format: WeightFormat, _ int8: Bool, _ shape: Shape) throws -> [[String]] {
        guard let kernel = table.product(format, int8: int8) else { return [] }
        let groups = try RandomGroups(format, columns: shape.columns)
        let count = (shape.rows + Int(CKV_GROUP) - 1) / Int(CKV_GROUP)
        let weights = try Memory(bytes: count * groups.groupBytes)
        groups.fill(weights.base, groups: 0..<count)
        return try tokens.map { tokens in
            let activations = try Activations(table, tokens: tokens, columns: shape.columns)
            let out = Buffer<Float>(tokens * shape.rows, .nan)
            var product = activations.product(weights: weights.base, rows: shape.rows, tokens: tokens, out: out.base)
            kernel(&product)
            let reference = try activations.reference(groups, int8: int8)
            if let place = Activations.difference(out, rows: shape.rows, reference) {
                throw BenchmarkError.differs("\(table.name) \(format.name) \(shape), \(tokens) tokens: \(place)")
            }
            let work = Work.ofThread(Double(shape.rows * shape.columns * tokens) * 1e-9) {
                kernel(&product)
            }
            let ceiling = int8 ? table.int8Ceiling(format) : table.floatCeiling
            let rates = try withExtendedLifetime((weights, activations, out)) {
                try sampling.rates(work, ceiling: ceiling?.work)
            }
            return [
                format.name, int8 ? "int8" : "f32", "\(shape)", "\(tokens)", Report.number(rates.kernel),
                Report.number(rates.ceiling), Report.share(rates.share),
            ]
        }
    }
}
