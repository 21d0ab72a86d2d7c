import KVFabric
import KVModel

/// The ways between ranks: a chain for KV-Runahead, a link of every ordered pair and barriers for all-gathers. Each is made when it is first
/// needed, by `prepare`.
final class Connections {
    let kind: Configuration.Link
    private let ranks: Int
    private let rows: Rows
    private let wait: WaitStrategy
    private let profile: LinkProfile?
    /// Of each rank.
    private let nodes: [Int?]
    /// The memory of each rank's ways in.
    private(set) var rings: [(receiver: Int, pages: Pages)] = []
    /// The ranks' ways out, where links are throttled.
    private let egresses: [Egress]
    /// From each rank that takes part to the next one that does.
    private(set) var chain: [any Link] = []
    /// [from][to], without a rank's way to itself.
    private var mesh: [[(any Link)?]] = []
    /// For 1, 2, … ranks that take part.
    private var barriers: [Barrier] = []

    /// The sizes that rings are made from.
    struct Rows {
        let context: Int
        /// Of a position's keys (or values) in one layer.
        let bytes: Int

        init(_ geometry: Geometry, type: CacheType, context: Int) {
            self.context = context
            bytes = geometry.keyValueWidth * type.bytes
        }

        /// Room for two layers' whole prefix, within reason: a rank may then be two layers ahead of the next. Larger segments stream.
        var chainRing: Int { min(256 << 20, 2 * 2 * context * bytes + 4096) }

        /// Room for a layer's rows of a rank, and a bit: all ranks send before any receives.
        func meshRing(_ ranks: Int) -> Int { 2 * (context / ranks + 2) * bytes + 4096 }

        /// Of all rings that a strategy takes.
        func ringBytes(_ strategy: Configuration.Strategy, ranks: Int) -> Int {
            if strategy.gathers { return ranks * (ranks - 1) * Ring.roundedCapacity(meshRing(ranks)) }
            return strategy == .runahead ? (ranks - 1) * Ring.roundedCapacity(chainRing) : 0
        }
    }

    /// - Parameter nodes: of each rank, whose ways in lie there.
    init(_ kind: Configuration.Link, nodes: [Int?], rows: Rows, wait: WaitStrategy, throttle profile: LinkProfile?) {
        self.kind = kind
        self.nodes = nodes
        let ranks = nodes.count
        self.ranks = ranks
        self.rows = rows
        self.wait = wait
        self.profile = profile
        egresses = profile.map { profile in (0..<ranks).map { profile.egress(rank: $0) } } ?? []
    }

    /// Makes what a strategy needs and is not there yet.
    /// - Throws: `EngineError` when the system gives no memory.
    func prepare(_ strategy: Configuration.Strategy) throws(EngineError) {
        if strategy == .runahead {
            while chain.count < ranks - 1 { chain.append(try link(from: chain.count, to: chain.count + 1, bytes: rows.chainRing)) }
        }
        guard strategy.gathers, barriers.isEmpty else { return }
        var mesh: [[(any Link)?]] = []
        for from in 0..<ranks {
            var links: [(any Link)?] = []
            for to in 0..<ranks { links.append(from == to ? nil : try link(from: from, to: to, bytes: rows.meshRing(ranks))) }
            mesh.append(links)
        }
        self.mesh = mesh
        barriers = (1...ranks).map { Barrier(count: $0, wait: wait) }
    }

    private func link(from rank: Int, to receiver: Int, bytes: Int) throws(EngineError) -> any Link {
        do {
            let link: any Link
            switch kind {
            case .ring:
                let ring = try RingLink(capacity: bytes, node: nodes[receiver], wait: wait)
                rings.append((receiver, ring.pages))
                link = ring
            case .shared, .auto:
                let descriptors = try SharedCacheLink(node: nodes[receiver], wait: wait)
                rings.append((receiver, descriptors.pages))
                link = descriptors
            }
            return egresses.isEmpty ? link : try ThrottledLink(link, egress: egresses[rank], wait: wait)
        } catch { throw EngineError(.system, "link between ranks: \(error)") }
    }

    /// The other ranks as one sees them in an all-gather.
    func peers(of rank: Int, among active: [(rank: Int, positions: Positions)]) -> [AllGatherAttention.Peer] {
        active.compactMap { other in
            guard other.rank != rank, let there = mesh[rank][other.rank], let back = mesh[other.rank][rank] else { return nil }
            return .init(rank: other.rank, positions: other.positions, there: there, back: back)
        }
    }

    /// Of so many ranks.
    func barrier(_ count: Int) -> Barrier { barriers[count - 1] }

    /// Drops what an interrupted run left; between runs.
    func reset() throws(EngineError) {
        for link in all {
            do { try link.reset() } catch { throw EngineError(.system, "link between ranks: \(error)") }
        }
        for barrier in barriers { barrier.reset() }
    }

    var bytesSent: UInt64 { all.reduce(0) { $0 + $1.bytesSent } }

    private var all: [any Link] { chain + mesh.joined().compactMap(\.self) }
}
