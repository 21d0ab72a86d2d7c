import Foundation
import KVFabric
import KVGGUF
import KVModel

/// Short names for what a plan depends on. Against mistakes, not against forgery.
enum Fingerprint {
    /// 16 hexadecimal digits (FNV-1a, 64 bit).
    static func of(_ parts: [String]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for part in parts {
            for byte in part.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = (hash ^ 0xff) &* 0x100_0000_01b3
        }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// Of the metadata (arrays by their beginning), every tensor's name, shape and type, and the file's size: cheap, and enough to tell apart
    /// what takes another time.
    static func model(_ file: GGUFFile) -> String {
        let metadata = file.metadata.keys.map { "\($0)=\(file.metadata[$0]?.short ?? "")" }
        let tensors = file.tensors.map { "\($0.name) \($0.dimensions) \($0.type.name)" }
        return of(["\(file.fileBytes)"] + metadata + tensors)
    }

    /// Readable: what of the machine the ranks run on, and how.
    static func machine(_ topology: Topology, _ placement: Placement, kernels: String) -> String {
        let cpus = placement.ranks.map { "\(CPUList($0.cpus))" }.joined(separator: "/")
        let caches = Set(topology.cpus.map(\.cacheGroup)).count
        return "\(processor); CPUs \(cpus) of \(topology.cpus.count), \(topology.nodes.count) nodes, \(caches) last-level caches"
            + (topology.cpuQuota.map { ", quota \($0)" } ?? "") + (placement.isPinned ? "" : ", not pinned") + "; \(kernels)"
    }

    /// The CPU's name.
    private static let processor: String = {
        guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else { return "unknown" }
        for key in ["model name", "Hardware", "CPU part"] {
            if let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key) }) {
                return String(line.split(separator: ":").last ?? "").trimmingCharacters(in: .whitespaces)
            }
        }
        return "unknown"
    }()

    /// The type that most weights have.
    static func weights(_ file: GGUFFile) -> String {
        var elements: [TensorType: Int] = [:]
        for tensor in file.tensors { elements[tensor.type, default: 0] += tensor.elements }
        return elements.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key.name.lowercased() ?? "none"
    }
}
