import Foundation
import KVGGUF
import KVModel
import KVRunahead

/// One measured test, with llama-bench's field names.
struct BenchRow: Encodable {
    let buildCommit: String
    let cpuInfo: String
    let modelFilename: String
    let modelType: String
    let modelSize: Int
    let modelNParams: Int
    let nThreads: Int
    let ranks: Int
    let threadsPerRank: Int
    let strategy: String
    let partition: String
    let link: String
    let rankMode: String
    let kernels: String
    let activations: String
    let typeK: String
    let typeV: String
    let nPrompt: Int
    let nGen: Int
    let nDepth: Int
    /// Query-key dot products of one head in all layers, computed by the busiest rank and in sum, and rows of K and V exchanged.
    let busiestScores: Int
    let totalScores: Int
    let rowsExchanged: Int
    let testTime: String
    let avgNs: Int
    let stddevNs: Int
    let avgTs: Double
    let stddevTs: Double
    let samplesNs: [Int]
    let samplesTs: [Double]

    /// - Parameter samples: seconds.
    init(
        _ engine: Engine, prompt: Int, generated: Int, depth: Int, strategy: Configuration.Strategy, partition: String,
        samples: [Double], accounting: Accounting? = nil
    ) {
        let information = engine.information
        buildCommit = Kvcpu.version
        cpuInfo = Self.processor
        modelFilename = information.modelPath
        modelType = Self.type(of: engine.file)
        modelSize = engine.file.tensors.reduce(0) { $0 + ($1.byteCount ?? 0) }
        modelNParams = engine.file.tensors.reduce(0) { $0 + $1.elements }
        ranks = information.ranks
        threadsPerRank = information.threadsPerRank
        nThreads = ranks * threadsPerRank
        self.strategy = strategy.rawValue
        self.partition = partition
        link = information.link.rawValue
        rankMode = engine.configuration.rankMode.rawValue
        kernels = information.kernels
        activations = engine.configuration.activations.rawValue
        typeK = engine.configuration.cacheElement.rawValue
        typeV = typeK
        nPrompt = prompt
        nGen = generated
        nDepth = depth
        let work = accounting?.total ?? []
        busiestScores = work.map(\.scores).max() ?? 0
        totalScores = work.reduce(0) { $0 + $1.scores }
        rowsExchanged = work.reduce(0) { $0 + $1.rows }
        testTime = ISO8601DateFormatter().string(from: Date())
        samplesNs = samples.map { Int($0 * 1e9) }
        samplesTs = samples.map { Double(prompt + generated) / $0 }
        let times = Self.statistics(samplesNs.map(Double.init))
        avgNs = Int(times.0)
        stddevNs = Int(times.1)
        (avgTs, stddevTs) = Self.statistics(samplesTs)
    }

    /// Mean and sample standard deviation.
    static func statistics(_ values: [Double]) -> (Double, Double) {
        let mean = values.reduce(0, +) / Double(max(1, values.count))
        guard values.count > 1 else { return (mean, 0) }
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (mean, (squares / Double(values.count - 1)).squareRoot())
    }

    private static let processor: String = {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("model name") })
        else { return "unknown" }
        return String(line.split(separator: ":").last ?? "").trimmingCharacters(in: .whitespaces)
    }()

    /// Architecture, size and the type that most weights have, as "llama 135M Q4_1".
    static func type(of file: GGUFFile) -> String {
        var elements: [TensorType: Int] = [:]
        for tensor in file.tensors { elements[tensor.type, default: 0] += tensor.elements }
        let main = elements.max { $0.value < $1.value }?.key.name ?? ""
        let architecture = (try? file.metadata.string("general.architecture", default: "")) ?? ""
        let size = (try? file.metadata.string("general.size_label", default: "")) ?? ""
        return [architecture, size, main].filter { !$0.isEmpty }.joined(separator: " ")
    }
}

/// Prints rows as they come (md, jsonl, csv) or together (json).
struct BenchReport {
    let format: BenchFormat
    private var rows: [BenchRow] = []

    init(format: BenchFormat) { self.format = format }

    mutating func add(_ row: BenchRow) throws(Failure) {
        switch format {
        case .json: break
        case .jsonl: try Terminal.report(Self.json(row, pretty: false) + "\n")
        case .csv:
            if rows.isEmpty { try Terminal.report(Self.columns(row).map(\.0).joined(separator: ",") + "\n") }
            try Terminal.report(Self.columns(row).map { "\"\($0.1)\"" }.joined(separator: ",") + "\n")
        case .md:
            if rows.isEmpty {
                try Terminal.report(
                    Self.line(["model", "size", "params", "ranks", "threads", "strategy", "partition", "kernels", "test", "t/s"]))
                try Terminal.report("| --- | ---: | ---: | ---: | ---: | --- | --- | --- | ---: | ---: |\n")
            }
            try Terminal.report(Self.markdown(row))
        }
        rows.append(row)
    }

    func finish() throws(Failure) {
        if format == .json { try Terminal.report(Self.json(rows, pretty: true) + "\n") }
    }

    private static func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }

    private static func markdown(_ row: BenchRow) -> String {
        let parts = [row.nPrompt > 0 ? "pp\(row.nPrompt)" : "", row.nGen > 0 ? "tg\(row.nGen)" : ""].filter { !$0.isEmpty }
        let test = parts.joined(separator: "+") + (row.nDepth > 0 ? " @ d\(row.nDepth)" : "")
        return line([
            row.modelType, MemoryPlan.text(row.modelSize), String(format: "%.2f M", Double(row.modelNParams) / 1e6),
            "\(row.ranks)", "\(row.nThreads)", row.strategy, row.partition, row.kernels, test,
            String(format: "%.2f ± %.2f", row.avgTs, row.stddevTs),
        ])
    }

    private static func json(_ value: some Encodable, pretty: Bool) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting =
            pretty ? [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes] : [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(value)).map { String(decoding: $0, as: UTF8.self) } ?? "null"
    }

    /// Names and values without the samples, as llama-bench's csv.
    private static func columns(_ row: BenchRow) -> [(String, String)] {
        guard let object = try? JSONSerialization.jsonObject(with: Data(json(row, pretty: false).utf8)) as? [String: Any] else {
            return []
        }
        return object.filter { !$0.key.hasPrefix("samples_") }.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
    }
}
