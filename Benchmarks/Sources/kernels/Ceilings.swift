import CCeilings

/// The register-only loop that bounds a kernel.
struct Ceiling: @unchecked Sendable {
    let name: String
    let what: String
    /// Does that many steps; returns the multiply-accumulates done. A C function without state: any thread may call it.
    private let run: @convention(c) (Int) -> Double

    var work: Work {
        let steps = 1000
        return Work(amount: run(1) * Double(steps) * 1e-9) { count in
            let start = Work.threadTime()
            _ = run(steps * count)
            return Work.threadTime() - start
        }
    }

    /// All that this machine runs.
    static let supported: [Ceiling] = {
        var count = 0
        guard let list = ceilings(&count) else { return [] }
        return (0..<count).compactMap { index in
            guard list[index].supported(), let run = list[index].run else { return nil }
            return Ceiling(name: String(cString: list[index].name), what: String(cString: list[index].what), run: run)
        }
    }()

    static func named(_ name: String?) -> Ceiling? { supported.first { $0.name == name } }
}

enum CeilingTable {
    static func measure(_ sampling: Sampling) throws -> Table {
        var table = Table(title: "Ceilings, one thread, registers only", columns: ["loop", "GMAC/s"])
        for ceiling in Ceiling.supported {
            table.rows.append([ceiling.what, Report.number(try sampling.rates(ceiling.work, ceiling: nil).kernel)])
        }
        if table.rows.isEmpty { table.notes.append("none is written for this architecture: no shares") }
        return table
    }
}
