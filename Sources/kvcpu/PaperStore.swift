import Foundation
import KVGGUF
import KVRunahead

/// What one case found, a line of the results file.
struct PaperResult: Codable, Sendable {
    struct Timing: Codable, Sendable {
        let name: String
        let strategy: String
        let throttle: String?
        /// Tokens of each rank.
        let sizes: [Int]
        /// Of each round, until the last token's logits.
        var seconds: [Double] = []
        /// Per rank, in the round of the median.
        var compute: [Double] = []
        var wait: [Double] = []
        var exchange: [Double] = []
        /// Rows of keys and of values exchanged in a layer, all ranks.
        var rows = 0

        var median: Double { seconds.median ?? 0 }
    }

    /// Bytes as planned before anything is loaded.
    struct Memory: Codable, Sendable {
        let link: String
        let weights, caches, arenas, rings: Int
    }

    let experiment: PaperExperiment
    let name: String
    /// Model, machine, kernels and version: figures of others mean nothing here.
    let key: PlanKey
    let ranks, threads, tokens, layers: Int
    var timings: [Timing] = []
    /// Of one layer, measured by the same engine.
    var costs: LayerCosts?
    /// KVR-S, and whether its search came to its end.
    var searched: [Int]?
    var isSettled: Bool?
    var memory: [Memory] = []

    func timing(_ name: String, _ throttle: String? = nil) -> Timing? {
        timings.first { $0.name == name && $0.throttle == throttle }
    }
}

/// Finished cases, one JSON document a line: what was interrupted goes on behind the last whole line.
final class PaperStore {
    private let path: String
    private var results: [PaperResult] = []

    /// - Throws: `Failure` naming the file. Lines that cannot be read, as of an interrupted or an older run, are left alone and said.
    init(folder: String, restart: Bool) throws(Failure) {
        path = folder + "/results.jsonl"
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            if restart, FileManager.default.fileExists(atPath: path) { try FileManager.default.removeItem(atPath: path) }
            guard FileManager.default.fileExists(atPath: path) else { return }
            let text = try String(contentsOfFile: path, encoding: .utf8)
            let lines = text.split(separator: "\n")
            results = lines.compactMap { try? JSONDecoder().decode(PaperResult.self, from: Data($0.utf8)) }
            if results.count < lines.count {
                Terminal.note("\(path): \(lines.count - results.count) of \(lines.count) lines cannot be read; ignored")
            }
        } catch { throw .run("\(path): \(systemReason(error))") }
    }

    /// The newest result of a case under these conditions.
    func find(_ item: PaperCase, _ key: PlanKey) -> PaperResult? {
        results.last { $0.experiment == item.experiment && $0.name == item.name && $0.key == key }
    }

    /// Appends a line at once.
    func add(_ result: PaperResult) throws(Failure) {
        results.append(result)
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            var line = try encoder.encode(result)
            line.append(0x0a)
            if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            let end = try file.seekToEnd()
            if end > 0 {
                // An interrupted line is ended first.
                try file.seek(toOffset: end - 1)
                if try file.read(upToCount: 1) != Data([0x0a]) { line.insert(0x0a, at: 0) }
            }
            try file.seekToEnd()
            try file.write(contentsOf: line)
            try file.close()
        } catch { throw .run("\(path): \(systemReason(error))") }
    }
}
