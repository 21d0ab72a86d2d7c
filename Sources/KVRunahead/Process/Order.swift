import KVFabric
import KVModel

/// What the workers are to do: all that a run is made of, beside its token ids and each rank's positions. Plain values, as it lies in memory
/// that processes share.
struct Order {
    enum Kind: UInt8 {
        /// Pack the weights, each worker its share.
        case pack
        /// Compute a prompt, each rank its positions.
        case prefill
        /// Compute a prompt by the workers of all ranks as one team.
        case together
        /// Compute one token, by all workers as one team.
        case decode
        /// Say where it runs (see `WorkerWatch`).
        case locate
    }

    var kind = Kind.pack
    var strategy = Configuration.Strategy.runahead
    /// Of every token, else of the last one only.
    var allLogits = false
    /// Values that are no numbers are looked for behind every layer.
    var locates = false
    /// Of the prompt.
    var tokens = 0
    /// The rank whose cache a team of all workers works on, and which computes the last token's logits of a prompt.
    var rank = 0
    /// Of the one token, which the book has.
    var position = 0

    init(_ kind: Kind) { self.kind = kind }
}

/// Where the order at hand lies, with the prompt's ids and each rank's positions. Written between runs by the ranks' owner, read by all workers
/// during one: their boards stand between (see `JobBoard`).
final class OrderBook: @unchecked Sendable {
    let ranks: Int
    let capacity: Int
    private let region: Region
    private let place: UnsafeMutablePointer<Order>
    /// The token to decode.
    let token: UnsafeMutablePointer<Int32>
    private let chunks: UnsafeMutablePointer<Positions>
    private let ids: UnsafeMutablePointer<Int32>
    private let notes: UnsafeMutableRawPointer
    /// The first of each rank's workers among all.
    private let firstWorkers: [Int]

    /// - Parameters:
    ///   - workers: of each rank.
    ///   - capacity: tokens of the longest prompt.
    init(workers: [Int], capacity: Int, in memory: RunMemory) throws(EngineError) {
        ranks = workers.count
        firstWorkers = workers.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        self.capacity = capacity
        let chunksAt = 256
        let idsAt = (chunksAt + ranks * MemoryLayout<Positions>.stride + 127) / 128 * 128
        let notesAt = (idsAt + capacity * MemoryLayout<Int32>.stride + 127) / 128 * 128
        region = try memory.region(notesAt + firstWorkers[ranks] * WorkerWatch.noteBytes, for: "orders")
        notes = region.base + notesAt
        token = (region.base + 128).bindMemory(to: Int32.self, capacity: 1)
        place = region.base.bindMemory(to: Order.self, capacity: 1)
        chunks = (region.base + chunksAt).bindMemory(to: Positions.self, capacity: ranks)
        ids = (region.base + idsAt).bindMemory(to: Int32.self, capacity: capacity)
    }

    var order: Order {
        get { place.pointee }
        set { place.pointee = newValue }
    }

    /// A rank's positions of the prompt.
    subscript(rank: Int) -> Positions {
        get { chunks[rank] }
        set { chunks[rank] = newValue }
    }

    /// The prompt's, from position 0 on.
    var tokens: UnsafePointer<Int32> { UnsafePointer(ids) }

    /// Where a worker notes where it runs.
    func note(rank: Int, worker: Int) -> UnsafeMutableRawPointer {
        notes + (firstWorkers[rank] + worker) * WorkerWatch.noteBytes
    }

    func setTokens(_ tokens: [Int32]) {
        for (index, id) in tokens.prefix(capacity).enumerated() { ids[index] = id }
    }
}
