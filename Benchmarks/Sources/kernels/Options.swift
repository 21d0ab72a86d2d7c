import ArgumentParser

/// Values separated by commas.
struct List<Item: ExpressibleByArgument>: ExpressibleByArgument {
    let items: [Item]
    init(_ items: [Item]) { self.items = items }
    init?(argument: String) {
        let texts = argument.split(separator: ",", omittingEmptySubsequences: false)
        items = texts.compactMap { Item(argument: String($0)) }
        if items.isEmpty || items.count != texts.count { return nil }
    }
    var defaultValueDescription: String { items.map(\.defaultValueDescription).joined(separator: ",") }
}

/// A weight matrix: rows are outputs, columns are what is summed over.
struct Shape: ExpressibleByArgument, CustomStringConvertible {
    let rows: Int
    let columns: Int
    init(_ rows: Int, _ columns: Int) { (self.rows, self.columns) = (rows, columns) }
    init?(argument: String) {
        let sides = argument.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard let rows = sides.first, let columns = sides.last, sides.count <= 2, rows > 0, columns > 0 else { return nil }
        self.init(rows, columns)
    }
    var description: String { "\(rows)x\(columns)" }
}

/// What ends a benchmark.
enum BenchmarkError: Error, CustomStringConvertible {
    /// A kernel's result is not the scalar table's.
    case differs(String)
    case noMemory(bytes: Int)
    case noThread(cpu: Int)
    /// A thread has not finished in time.
    case late(seconds: Double)
    /// Random blocks of a format cannot be made.
    case blocks(format: String, String)

    var description: String {
        switch self {
        case .differs(let what): "check failed: \(what), unlike the scalar table"
        case .noMemory(let bytes): "no memory for \(bytes) bytes"
        case .noThread(let cpu): "no thread could be bound to CPU \(cpu)"
        case .late(let seconds): "a thread has not finished within \(seconds) s"
        case .blocks(let format, let reason): "random blocks of \(format): \(reason)"
        }
    }
}
