import KVCUDA
package import KVFabric
import KVModel

/// What becomes of a link from a rank, for tests: one that fails.
package typealias LinkDetour = @Sendable (_ from: Int, any Link) -> any Link

/// The ways between ranks: a chain for KV-Runahead, a link of every ordered pair and barriers for all-gathers. Each is made when it is first
/// needed, by `prepare`; where ranks are processes, all have all of them, and say at a run's begin which ends they are.
final class Connections: @unchecked Sendable {
    // Sendable by hand: made and reset between runs, read by workers during one.
    let kind: Configuration.Link
    private let nodes: [Int?]
    private var ranks: Int { nodes.count }
    private let memory: RunMemory
    private let devices: DeviceRanks?
    private let detour: LinkDetour?
    private let rows: Rows
    private let wait: WaitStrategy
    private let profile: LinkProfile?
    /// The ranks' ways out, where links are throttled.
    private let egresses: [Egress]
    /// The memory of each rank's ways in.
    private(set) var rings: [(receiver: Int, pages: Pages)] = []
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

    /// - Parameter nodes: each rank's, for the memory that it reads.
    init(
        _ kind: Configuration.Link, nodes: [Int?], rows: Rows, wait: WaitStrategy, throttle profile: LinkProfile?,
        in memory: RunMemory, devices: DeviceRanks? = nil, detour: LinkDetour? = nil
    ) {
        self.kind = kind
        self.nodes = nodes
        self.rows = rows
        self.wait = wait
        self.profile = profile
        self.memory = memory
        self.devices = devices
        self.detour = detour
        egresses = profile.map { profile in nodes.indices.map { profile.egress(rank: $0) } } ?? []
    }

    /// Makes what a strategy needs and is not there yet.
    /// - Throws: `EngineError` when the system gives no memory.
    func prepare(_ strategy: Configuration.Strategy) throws(EngineError) {
        if strategy == .runahead {
            while chain.count < ranks - 1 {
                chain.append(try link(from: chain.count, to: chain.count + 1, bytes: rows.chainRing))
            }
        }
        guard strategy.gathers, barriers.isEmpty else { return }
        var mesh: [[(any Link)?]] = []
        for from in 0..<ranks {
            var links: [(any Link)?] = []
            for to in 0..<ranks { links.append(from == to ? nil : try link(from: from, to: to, bytes: rows.meshRing(ranks))) }
            mesh.append(links)
        }
        self.mesh = mesh
        barriers = try (1...ranks).map { (count) throws(EngineError) in
            Barrier(count: count, wait: wait, in: try memory.lines(Barrier.lines))
        }
    }

    private func link(from rank: Int, to receiver: Int, bytes: Int) throws(EngineError) -> any Link {
        let node = nodes[receiver]
        let isMovable = memory.isShared
        do {
            let ring =
                kind == .ring
                ? try memory.ring("kv-link", capacity: bytes, node: node)
                : try memory.ring("kv-descriptors", capacity: SharedCacheLink.capacity(segments: 1024), node: node)
            rings.append((receiver, ring.pages))
            var link: any Link =
                switch kind {
                case .ring: try RingLink(ring, isMovable: isMovable, wait: wait)
                case .shared, .auto: try SharedCacheLink(ring, isMovable: isMovable, wait: wait)
                }
            if !egresses.isEmpty {
                link = try ThrottledLink(
                    link, egress: egresses[rank],
                    by: try memory.ring("kv-deliveries", capacity: ThrottledLink.capacity(segments: 1024), node: node),
                    isMovable: isMovable, wait: wait)
            }
            return detour?(rank, link) ?? link
        } catch let error as EngineError { throw error } catch { throw EngineError(.system, "link between ranks: \(error)") }
    }

    // MARK: A rank's ends, at a run's begin

    /// Tells a rank of its neighbours among those that take part. Allocates nothing, save for devices.
    /// - Throws: `CUDAError` where there is no way between two devices.
    func join(_ rank: Rank, _ book: OrderBook) throws(CUDAError) {
        let index = rank.index
        let chunk = book[index]
        let place = (0..<index).reduce(0) { $0 + (book[$1].isEmpty ? 0 : 1) }
        let isLast = (index + 1..<ranks).allSatisfy { book[$0].isEmpty }
        let before = place == 0 ? nil : chain[place - 1]
        let after = isLast ? nil : chain[place]
        before?.take(.receiver)
        after?.take(.sender)
        guard let device = rank.device, let devices else {
            rank.runahead.prepare(chunk: chunk.first, before: before, after: after)
            return
        }
        func way(_ link: (any Link)?, from: Int?, to: Int?) throws(CUDAError) -> DeviceRunahead.Way? {
            guard let link, let from, let to else { return nil }
            return DeviceRunahead.Way(link: link, handoff: try devices.handoff(from: from, to: to))
        }
        let previous = (0..<index).last { !book[$0].isEmpty }
        let next = (index + 1..<ranks).first { !book[$0].isEmpty }
        device.prepare(
            chunk: chunk.first, before: try way(before, from: previous, to: index), after: try way(after, from: index, to: next))
    }

    /// Tells a rank of all others that take part. Allocates nothing.
    func gather(_ rank: Rank, _ book: OrderBook) {
        let index = rank.index
        let count = (0..<ranks).reduce(0) { $0 + (book[$1].isEmpty ? 0 : 1) }
        rank.allGather.prepare(own: book[index], barrier: barriers[count - 1])
        for other in 0..<ranks where other != index && !book[other].isEmpty {
            guard let there = mesh[index][other], let back = mesh[other][index] else { continue }
            there.take(.sender)
            back.take(.receiver)
            rank.allGather.add(.init(rank: other, positions: book[other], there: there, back: back))
        }
    }

    // MARK: Their owner's side

    /// Drops what an interrupted run left; between runs.
    func reset() throws(EngineError) {
        for link in all {
            do { try link.reset() } catch { throw EngineError(.system, "link between ranks: \(error)") }
        }
        for barrier in barriers { barrier.reset() }
    }

    var bytesSent: UInt64 { all.reduce(devices?.bytesSent ?? 0) { $0 + $1.bytesSent } }

    private var all: [any Link] { chain + mesh.joined().compactMap(\.self) }
}
