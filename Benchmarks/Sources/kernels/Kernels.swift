import ArgumentParser
import CCeilings
import CKVKernels
import Foundation

/// Every kernel, checked against the plain reference first and then timed beside what the core can do at most.
@main
struct Kernels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Checks every kernel against the scalar table (==), then times it.",
        discussion: """
            Each figure is the median of rounds in which the kernel and its ceiling take turns, since clocks move and machines are \
            shared; the share is the median of the rounds' own ratios. One-thread kernels are timed by the thread's CPU time, \
            several threads by the wall clock. Ends with 1 at the first difference from the scalar table.
            """)

    enum Part: String, CaseIterable, ExpressibleByArgument {
        case gemm, gemv, attention, elementwise
    }

    @Option(
        help: ArgumentHelp(
            "Kernel tables; 'all' for those that this machine runs, the best one without this.", valueName: "name,..."))
    var isa: List<String>?
    @Option(help: ArgumentHelp("Weight formats; all without this.", valueName: "name,..."))
    var format: List<String>?
    @Option(
        help: ArgumentHelp(
            "Matrices: ROWSxCOLUMNS, or one number for a square; 576,1536x576,4096,11008x4096 without this.", valueName: "shape,..."
        ))
    var shapes: List<Shape>?
    @Option(help: ArgumentHelp("Tokens of a matrix product; 1,16,128,512 without this.", valueName: "count,..."))
    var tokens: List<Int>?
    @Option(
        help: ArgumentHelp("Threads of a matrix-vector product; 1, 2, 4 ... and all CPUs without this.", valueName: "count,..."))
    var threads: List<Int>?
    @Option(help: ArgumentHelp("Parts: gemm, gemv, attention, elementwise.", valueName: "part,..."))
    var what: List<Part> = List(Part.allCases)
    @Option(help: "Rounds of ceiling and kernel in turns.")
    var rounds = 5
    @Flag(help: "Tables in Markdown.")
    var markdown = false
    @Flag(help: "Small and short, for a look whether everything runs; its figures say little.")
    var quick = false

    func validate() throws {
        guard rounds > 0 else { throw ValidationError("--rounds \(rounds): at least 1") }
        for count in tokens?.items ?? [] where count < 1 { throw ValidationError("--tokens \(count): at least 1") }
        let cpus = Machine.cpus.count
        for count in threads?.items ?? [] where count < 1 || count > cpus {
            throw ValidationError("--threads \(count): 1 to \(cpus), the CPUs this process may use")
        }
        _ = try tables()
        _ = try formats()
    }

    func run() throws {
        let tables = try tables()
        let report = Report(markdown: markdown)
        let sampling = Sampling(rounds: quick ? min(rounds, 2) : rounds, seconds: quick ? 0.001 : 0.01)
        print(Machine.header(tables.map(\.name)))
        let parts = Set(what.items.map(\.rawValue))
        report.print(try CeilingTable.measure(sampling))
        for table in tables {
            // The plain reference is some hundred times slower.
            let small = quick || table.name == KernelTable.scalar.name
            if parts.contains("gemm") {
                let large = [Shape(1536, 576), Shape(4096, 4096), Shape(11008, 4096)]
                let shapes = shapes?.items ?? [Shape(576, 576)] + (small ? [Shape(48, 1024)] : large)
                let tokens = tokens?.items ?? (small ? [1, 33] : [1, 16, 128, 512])
                report.print(try GEMM(table: table, shapes: shapes, tokens: tokens, sampling: sampling).measure(try formats()))
            }
            if parts.contains("gemv") {
                let bytes = small ? 32 << 20 : Machine.bytesBeyondCaches
                let gemv = GEMV(table: table, bytes: bytes, threads: threads?.items ?? Machine.threadCounts, sampling: sampling)
                report.print(try gemv.measure(try formats()))
            }
            if parts.contains("attention") {
                report.print(try Attention(table: table, small: small, sampling: sampling).measure())
            }
            if parts.contains("elementwise") {
                report.print(try Elementwise(table: table, sizes: small ? [576] : [576, 4096], sampling: sampling).measure())
            }
        }
        print("\nEvery result was the scalar table's, bit for bit.")
    }

    private func tables() throws -> [KernelTable] {
        let supported = KernelTable.supported
        guard let isa else { return Array(supported.prefix(1)) }
        if isa.items == ["all"] { return supported }
        return try isa.items.map { name in
            guard let table = supported.first(where: { $0.name == name }) else {
                throw ValidationError("--isa \(name): this machine runs \(supported.map(\.name).joined(separator: ", "))")
            }
            return table
        }
    }

    private func formats() throws -> [WeightFormat] {
        guard let format else { return WeightFormat.all }
        return try format.items.map { name in
            guard let found = WeightFormat.all.first(where: { $0.name.lowercased() == name.lowercased() }) else {
                throw ValidationError("--format \(name): there are \(WeightFormat.all.map(\.name).joined(separator: ", "))")
            }
            return found
        }
    }
}
