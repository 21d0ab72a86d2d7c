import CCeilings
import CKVKernels

/// One token by weights that no cache holds: bound by the memory, as decoding is.
struct GEMV {
    let table: KernelTable
    /// Packed weights.
    let bytes: Int
    let threads: [Int]
    let sampling: Sampling
    private let columns = 4096

    init(table: KernelTable, bytes: Int, threads: [Int], sampling: Sampling) {
        (self.table, self.bytes, self.threads, self.sampling) = (table, bytes, threads, sampling)
    }

    func measure(_ formats: [WeightFormat]) throws -> Table {
        var result = Table(
            title: "Matrix-vector products, \(table.name), \(bytes >> 20) MiB of weights, \(columns) columns",
            columns: ["format", "activations", "threads", "GB/s", "read", "share", "GMAC/s"])
        for count in threads {
            let team = try Team(count: count)
            for format in formats {
                for int8 in [true, false] where table.product(format, int8: int8) != nil {
                    result.rows.append(try row(format, int8, team))
                }
            }
        }
        return result
    }

    private func row(_ format: WeightFormat, _ int8: Bool, _ team: Team) throws -> [String] {
        guard let kernel = table.product(format, int8: int8) else { return [] }
        let groups = try RandomGroups(format, columns: columns)
        let count = max(team.count, bytes / groups.groupBytes)
        let rows = count * Int(CKV_GROUP)
        let weights = try Memory(bytes: count * groups.groupBytes)
        let shared = Shared(groups: groups, kernel: kernel)
        // The threads that will read a part write it first: it lies on their node.
        _ = try team.run { shared.groups.fill(weights.base, groups: team.range($0, of: count)) }
        let activations = try Activations(table, tokens: 1, columns: columns)
        let out = Buffer<Float>(rows, .nan)
        let product: @Sendable (Int) -> Void = { index in
            var product = activations.product(weights: weights.base, rows: rows, tokens: 1, out: out.base)
            let range = team.range(index, of: count)
            (product.group_begin, product.group_end) = (range.lowerBound, range.upperBound)
            shared.kernel(&product)
        }
        _ = try team.run(product)
        if let place = Activations.difference(out, rows: rows, try activations.reference(groups, int8: int8)) {
            throw BenchmarkError.differs("\(table.name) \(format.name) by one token, \(team.count) threads: \(place)")
        }
        let amount = Double(weights.bytes) * 1e-9
        let work = Work(amount: amount) { count in try team.run { index in for _ in 0..<count { product(index) } } }
        // The same memory, the same parts.
        let read = Work(amount: amount) { repetitions in
            try team.run { index in
                let range = team.range(index, of: count)
                let bytes = range.count * groups.groupBytes
                for _ in 0..<repetitions {
                    Self.consume(ceiling_read(weights.base + range.lowerBound * groups.groupBytes, bytes))
                }
            }
        }
        let rates = try sampling.rates(work, ceiling: read)
        let multiplied = rates.kernel * Double(rows * columns) / Double(weights.bytes)
        return [
            format.name, int8 ? "int8" : "f32", "\(team.count)", Report.number(rates.kernel), Report.number(rates.ceiling),
            Report.share(rates.share), Report.number(multiplied),
        ]
    }

    /// What all threads use: nothing writes to it any more.
    private struct Shared: @unchecked Sendable {
        let groups: RandomGroups
        let kernel: ckv_product_fn
    }

    @inline(never) private static func consume(_ value: UInt) {}
}
