import KVFabric
import KVModel

/// Where an engine's threads and pages really are, as the kernel tells, beside what was planned.
package struct PlacementProof: Sendable, Encodable {
    /// A worker: the CPU that was asked for (nil: not pinned), those that it may run on, and those that it was seen on.
    package struct Worker: Sendable, Encodable {
        package let asked: Int?
        package let affinity: [Int]
        package let seen: [Int]
    }

    /// Some memory that a rank reads or writes.
    package struct Memory: Sendable, Encodable {
        /// "weights", "KV-cache", "scratch" or "ring".
        package let what: String
        /// The node where it was to be; nil: none in particular.
        package let planned: Int?
        /// Pages on each node, those that nobody has touched, and those of which the kernel tells nothing.
        package let pages: [String: Int]
        package let untouched: Int
        package let unknown: Int
        /// The part of the pages there are that is on the planned node, in per cent.
        package let percentOnPlanned: Double?
    }

    package struct Rank: Sendable, Encodable {
        package let rank: Int
        package let node: Int?
        /// Where it computes, if not on its CPUs: what it reads is there.
        package let device: String?
        package let workers: [Worker]
        package let memory: [Memory]
    }

    /// The run that was looked at.
    package let promptTokens: Int
    package let decodedTokens: Int
    package let weights: String
    package let link: String
    package let ranks: [Rank]
    /// What is not as planned, in words; empty: all is.
    package internal(set) var off: [String] = []
    /// What could not be found out, and what the system refused.
    package internal(set) var notes: [String] = []
    /// Pages that are on another node than planned.
    package internal(set) var pagesOffNode = 0

    /// Less than this part on the planned node is told of.
    fileprivate static let enough = 0.99
}

extension Ranks {
    /// Computes a prompt and decodes after it, and looks where the threads ran and where the pages are. Blocks for as long as that takes.
    /// - Parameters:
    ///   - tokens: of the prompt; fewer where the context is short.
    ///   - steps: tokens decoded.
    /// - Throws: `EngineError`.
    package func proof(tokens: Int = 256, steps: Int = 4) throws(EngineError) -> PlacementProof {
        let count = max(1, min(max(tokens, 64 * ranks.count), contextLength - steps))
        let decoded = max(0, min(steps, contextLength - count))
        let watches = try watches()
        let look = { for watch in watches { watch.look() } }
        let prompt = (0..<count).map { Int32(($0 * 7919 + 13) % model.geometry.vocabulary) }
        _ = try prefill(prompt) { _ in look() }
        look()
        for step in 0..<decoded {
            try decode(prompt[step % count])
            look()
        }
        return ProofMaker(self, watches).proof(tokens: count, steps: decoded)
    }
}

/// Compares what is with what was planned.
private struct ProofMaker {
    let ranks: Ranks
    let watches: [WorkerWatch]
    var off: [String] = []
    var notes: [String] = []
    var pagesOffNode = 0

    init(_ ranks: Ranks, _ watches: [WorkerWatch]) {
        self.ranks = ranks
        self.watches = watches
    }

    func proof(tokens: Int, steps: Int) -> PlacementProof {
        var maker = self
        let parts = ranks.placement.ranks.indices.map { maker.rank($0) }
        maker.checkInterleaved()
        maker.notes += ranks.workerNotes
        var proof = PlacementProof(
            promptTokens: tokens, decodedTokens: steps, weights: ranks.configuration.resolvedMemory(ranks.placement).rawValue,
            link: ranks.link.rawValue, ranks: parts)
        proof.off = maker.off
        proof.notes = ranks.notices + maker.notes
        proof.pagesOffNode = maker.pagesOffNode
        return proof
    }

    private mutating func rank(_ rank: Int) -> PlacementProof.Rank {
        let placed = ranks.placement.ranks[rank]
        let watch = watches[rank]
        let workers = placed.cpus.indices.map { worker in
            let asked = ranks.placement.isPinned ? placed.cpus[worker] : nil
            return PlacementProof.Worker(asked: asked, affinity: watch.affinities[worker], seen: watch.seen[worker].sorted())
        }
        for (index, worker) in workers.enumerated() {
            guard let asked = worker.asked, worker.affinity != [asked] || !worker.seen.allSatisfy({ $0 == asked }) else { continue }
            off.append(
                "rank \(rank), worker \(index): asked for CPU \(asked), may run on \(CPUList(worker.affinity)), was seen on "
                    + "\(CPUList(worker.seen))")
        }
        if ranks.devices[rank] != .cpu {
            return .init(rank: rank, node: placed.node, device: "\(ranks.devices[rank])", workers: workers, memory: [])
        }
        let single = ranks.placement.nodes.count == 1 ? ranks.placement.nodes[0] : nil
        var memory: [PlacementProof.Memory?] = ranks.copies.copies(of: rank).map { copy in
            let region = ranks.copies.all[copy].region
            return look(rank, "weights", [pages(region)], planned: ranks.copies.nodes[copy] ?? single)
        }
        let isOwn = ranks.link == .ring
        memory.append(look(rank, "KV-cache", [pages(ranks.ranks[rank].cache.region)], planned: isOwn ? placed.node : single))
        memory.append(look(rank, "scratch", [pages(ranks.ranks[rank].arena.region)], planned: placed.node))
        let rings = ranks.rings(into: rank)
        if !rings.isEmpty { memory.append(look(rank, "ring", rings, planned: placed.node)) }
        return .init(rank: rank, node: placed.node, device: nil, workers: workers, memory: memory.compactMap { $0 })
    }

    private var isShared: Bool { ranks.configuration.rankMode == .process }

    private func pages(_ region: Region) -> Pages { Pages(region.base, bytes: region.bytes) }

    private mutating func look(_ rank: Int, _ what: String, _ parts: [Pages], planned: Int?) -> PlacementProof.Memory? {
        var residence = Residence()
        for part in parts {
            do { residence = residence + (try part.residence(isShared: isShared)) } catch {
                let note = "where pages are is not known: \(error)"
                if !notes.contains(note) { notes.append(note) }
                return nil
            }
        }
        if let planned, residence.share(of: planned) < PlacementProof.enough {
            for (node, count) in residence.byNode.sorted(by: { $0.key < $1.key }) where node != planned {
                let name = what == "weights" ? "weight" : what
                off.append(
                    "rank \(rank): \(percent(count, residence.present)) % of its \(name) pages are on node \(node) (planned: node \(planned))"
                )
            }
        }
        if let planned { pagesOffNode += residence.present - (residence.byNode[planned] ?? 0) }
        return PlacementProof.Memory(
            what: what, planned: planned, pages: Dictionary(uniqueKeysWithValues: residence.byNode.map { ("\($0)", $1) }),
            untouched: residence.absent, unknown: residence.unknown,
            percentOnPlanned: planned.map { (residence.share(of: $0) * 1000).rounded() / 10 })
    }

    /// One copy for several nodes is to be on all of them alike, to some five per cent or a huge page.
    private mutating func checkInterleaved() {
        let nodes = ranks.placement.nodes
        guard ranks.configuration.resolvedMemory(ranks.placement) == .interleave,
            let residence = try? pages(ranks.copies.all[0].region).residence(isShared: isShared)
        else { return }
        let even = 1 / Double(nodes.count)
        let tolerance = max(0.05, 513 / Double(max(1, residence.present)))
        for node in Set(nodes).union(residence.byNode.keys).sorted() {
            let planned = nodes.contains(node) ? even : 0
            guard abs(residence.share(of: node) - planned) > tolerance else { continue }
            off.append(
                "\(percent(residence.byNode[node] ?? 0, residence.present)) % of the weights' pages are on node \(node) (planned: "
                    + "\(Int((planned * 100).rounded())) %)")
        }
    }

    private func percent(_ count: Int, _ total: Int) -> Int { Int((Double(count) / Double(max(1, total)) * 100).rounded()) }
}
