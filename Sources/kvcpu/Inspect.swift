import ArgumentParser
import Foundation
import KVFabric
import KVGGUF
import KVModel
import KVRunahead
import Logging

struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows a model's metadata, tensors and memory plan, the machine, and the placement that would be chosen.")

    @OptionGroup var model: ModelOptions
    @OptionGroup var engine: EngineOptions
    @Flag(help: "All metadata, arrays in full")
    var all = false
    @Flag(help: "List every tensor")
    var tensors = false
    @Option(help: "Write this tensor as F32 to -o")
    var tensor: String?
    @Flag(help: "Load the model, compute a short prompt, and show where every thread ran and where the pages are")
    var placement = false
    @Option(name: [.short, .long], help: "A safetensors file, with --tensor; text or json, with --placement")
    var output: String?

    func validate() throws {
        if placement {
            if tensor != nil { throw ValidationError("--placement and --tensor are different tasks: give one") }
            guard ["text", "json", nil].contains(output) else {
                throw ValidationError("--output is \"\(output ?? "")\"; with --placement it must be text or json")
            }
        } else if (tensor == nil) != (output == nil) {
            throw ValidationError("--tensor NAME and -o FILE belong together")
        }
    }

    func run() throws {
        let source = try model.source()
        if placement {
            let engine = try Engine(
                try engine.configuration(source), logger: Logger(label: "kvcpu") { _ in SwiftLogNoOpLogHandler() })
            for notice in engine.information.notices { Terminal.note(notice) }
            let report = PlacementReport(proof: try engine.withRanksBlocking { try $0.proof() })
            try Terminal.report(output == "json" ? report.json : report.text)
            return
        }
        let file = try source.open()
        if let tensor, let output {
            try write(tensor, of: file, to: output)
            return
        }
        try Terminal.report(metadata(file) + tensorTable(file))
        try Terminal.report(machine(Topology.read()) + DeviceReport.text())
        let opening = try Opening(try engine.configuration(source))
        try Terminal.report(plan(opening, try opening.devicePlans()))
    }

    private func metadata(_ file: GGUFFile) -> String {
        var text = "\(file.path): \(file.hasData ? "\(file.container), \(MemoryPlan.text(file.fileBytes))" : "no file")\n"
        for key in file.metadata.keys {
            guard let value = file.metadata[key] else { continue }
            if case .array(let array) = value, all {
                let items = array.elementType == .string ? array.strings() : array.values().map(\.short)
                text += "  \(line(key)) = [\(line(items.joined(separator: ", ")))]\n"
            } else if case .string(let string) = value, all {
                text += "  \(line(key)) = \"\(string)\"\n"
            } else {
                text += "  \(line(key)) = \(line(value.short))\n"
            }
        }
        return text
    }

    /// What is told on one line, whatever line breaks a file has in it.
    private func line(_ text: String) -> String { text.replacingOccurrences(of: "\n", with: "\\n") }

    private func tensorTable(_ file: GGUFFile) -> String {
        var types: [TensorType: (count: Int, elements: Int, bytes: Int)] = [:]
        for tensor in file.tensors {
            let old = types[tensor.type] ?? (0, 0, 0)
            types[tensor.type] = (old.count + 1, old.elements + tensor.elements, old.bytes + (tensor.byteCount ?? 0))
        }
        var text = "tensors\n"
        for (type, sum) in types.sorted(by: { $0.value.bytes > $1.value.bytes }) {
            text += "  \(type): \(sum.count) tensors, \(sum.elements) elements, \(MemoryPlan.text(sum.bytes))\n"
        }
        if tensors {
            for tensor in file.tensors { text += "  \(line(tensor.name)) \(tensor.type) \(tensor.dimensions)\n" }
        }
        return text
    }

    private func machine(_ topology: Topology) -> String {
        var text = "machine\n"
        for node in topology.nodes {
            text +=
                "  node \(node.id): CPUs \(Self.list(node.cpus)), \(MemoryPlan.text(Int(clamping: node.memoryTotal))), "
                + "\(MemoryPlan.text(Int(clamping: node.memoryFree))) free\n"
        }
        for (group, cpus) in Dictionary(grouping: topology.cpus, by: \.cacheGroup).sorted(by: { $0.key < $1.key }) {
            text += "  last-level cache \(group): CPUs \(Self.list(cpus.map(\.id)))\n"
        }
        let cores = Dictionary(grouping: topology.cpus) { "\($0.package) \($0.core)" }.count
        text += "  \(topology.cpus.count) CPUs on \(cores) cores, allowed \(Self.list(topology.allowed))"
        text += topology.cpuQuota.map { ", quota \($0) CPUs" } ?? ""
        text += topology.memoryLimit.map { ", memory limit \(MemoryPlan.text(Int(clamping: $0)))" } ?? ""
        text += "\n  kernels \(Kernels.supported.map(\.name).joined(separator: ", "))\n"
        return text + topology.notes.map { "  \($0)\n" }.joined()
    }

    private func plan(_ opening: Opening, _ devices: [DevicePlan]) -> String {
        let geometry = opening.model.geometry
        var text =
            "model\n  \(geometry.layers) layers, embedding \(geometry.embedding), \(geometry.heads) heads on "
            + "\(geometry.keyValueHeads) key/value heads of \(geometry.headDimension), feed-forward \(geometry.feedForward), "
            + "vocabulary \(geometry.vocabulary)\n"
        let memory = opening.memory
        text +=
            "memory plan for \(opening.contextLength) positions\n  weights \(MemoryPlan.text(memory.weights)), KV-cache "
            + "\(MemoryPlan.text(memory.caches)), scratch \(MemoryPlan.text(memory.arenas)), rings \(MemoryPlan.text(memory.rings)): "
            + "\(MemoryPlan.text(memory.total)) of \(memory.available.map(MemoryPlan.text) ?? "an unknown amount")\n"
        for node in memory.nodes {
            text +=
                "  node \(node.id): weights \(MemoryPlan.text(node.weights)), KV-cache \(MemoryPlan.text(node.caches)), scratch "
                + "\(MemoryPlan.text(node.arenas)), rings \(MemoryPlan.text(node.rings)): \(MemoryPlan.text(node.total)) of "
                + "\(MemoryPlan.text(node.available))\n"
        }
        if memory.nodes.count > 1 { text += "  weights: \(memory.mode.rawValue)\n" }
        for device in devices { text += "  \(device.text)\n" }
        text += "placement\n"
        for (index, rank) in opening.placement.ranks.enumerated() {
            text +=
                "  rank \(index): CPUs \(rank.cpus.map(String.init).joined(separator: ",")), "
                + (rank.node.map { "node \($0)" } ?? "no node") + (opening.placement.isPinned ? "" : ", not pinned") + "\n"
        }
        if opening.configuration.rankMode == .process {
            text += "  ranks are processes; one that is stopped is given up after \(opening.configuration.silenceLimit) s\n"
        }
        return text + opening.placement.notes.map { "  \($0)\n" }.joined()
    }

    /// "0-3,8".
    private static func list(_ cpus: [Int]) -> String {
        var parts: [String] = []
        var cpus = cpus.sorted()[...]
        while let first = cpus.popFirst() {
            var last = first
            while cpus.first == last + 1 { last = cpus.removeFirst() }
            parts.append(first == last ? "\(first)" : "\(first)-\(last)")
        }
        return parts.joined(separator: ",")
    }

    private func write(_ name: String, of file: GGUFFile, to output: String) throws {
        guard let info = file.tensor(name) else {
            let near = file.tensors.map(\.name).filter { $0.contains(name) || name.contains($0) }.prefix(8)
            let known = near.isEmpty ? file.tensors.prefix(4).map(\.name) : Array(near)
            throw Failure.run("\(file.path): no tensor \(name); there is for instance \(known.joined(separator: ", "))")
        }
        do {
            let target = try OutputFile(output)
            let floats = try Weights.floats(of: info, in: file)
            let writer = try SafetensorsWriter(target, tensors: [(name, "F32", info.dimensions.reversed())])
            try floats.withUnsafeBytes { try writer.append($0, to: name) }
            try writer.finish()
        } catch { throw Failure.run("\(error)") }
    }
}
