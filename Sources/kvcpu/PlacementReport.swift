import Foundation
import KVFabric
import KVRunahead

/// What `inspect --placement` writes.
struct PlacementReport {
    let proof: PlacementProof

    var json: String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return (try? encoder.encode(proof)).map { String(decoding: $0, as: UTF8.self) + "\n" } ?? "{}\n"
    }

    var text: String {
        var lines = [
            "placement after a prompt of \(proof.promptTokens) tokens and \(proof.decodedTokens) decoded ones: weights \(proof.weights), "
                + "link \(proof.link)"
        ]
        for rank in proof.ranks {
            let place = rank.device.map { "on \($0), " } ?? rank.node.map { "memory of node \($0), " } ?? ""
            lines.append("rank \(rank.rank)   " + place + workers(rank.workers))
            lines += rank.memory.map { memory in
                "  \(memory.what.padding(toLength: 9, withPad: " ", startingAt: 0))\(pages(memory))"
            }
        }
        lines += proof.notes
        let known = proof.ranks.contains { !$0.memory.isEmpty || $0.device != nil }
        lines += proof.off.isEmpty ? ["all is as planned" + (known ? "" : ", as far as is known")] : ["not as planned:"]
        lines += proof.off.map { "  \($0)" }
        return lines.map { $0 + "\n" }.joined()
    }

    private func workers(_ workers: [PlacementProof.Worker]) -> String {
        let got = CPUList(workers.flatMap(\.affinity))
        let seen = CPUList(workers.flatMap(\.seen))
        let asked = workers.compactMap(\.asked)
        if asked.count < workers.count { return "\(workers.count) threads not pinned, may run on \(got), seen on \(seen)" }
        let isExact = workers.allSatisfy { $0.affinity == $0.asked.map { [$0] } }
        return "CPUs asked \(CPUList(asked)), got \(got)\(isExact ? " (a thread each)" : ""), seen on \(seen)"
    }

    private func pages(_ memory: PlacementProof.Memory) -> String {
        let nodes = memory.pages.sorted { Int($0.key) ?? 0 < Int($1.key) ?? 0 }.map { "node \($0.key): \($0.value)" }
        var text = nodes.isEmpty ? "no pages yet" : "pages on " + nodes.joined(separator: ", ")
        if let percent = memory.percentOnPlanned, let planned = memory.planned, !nodes.isEmpty {
            text += String(format: "; %.1f %% on node %d as planned", percent, planned)
        }
        if memory.untouched > 0 { text += "; \(memory.untouched) untouched" }
        if memory.unknown > 0 { text += "; \(memory.unknown) not known" }
        return text
    }
}
