package import KVModel

extension Activation {
    /// Sums and scores are float32 on a device, the inputs of products elements.
    var isFloat: Bool {
        switch self {
        case .hidden, .update, .router, .sharedWeight, .logits, .expertOutput: true
        case .normed, .query, .key, .value, .attended, .gate, .up, .expertInput, .expertGate, .expertUp: false
        }
    }

    var elementBytes: Int { isFloat ? MemoryLayout<Float>.stride : ElementType.bytes }
}

/// A rank's scratch on a device, and the few numbers that go there and come back with every run.
final class DeviceBuffers: Sendable {
    /// Tokens of a piece: enough to keep a device busy.
    static let pieceTokens = 4096
    /// The most parts that decode's attention over the keys is split in.
    private static let mostSplits = 64
    /// Tokens whose logits are computed at once, where all are wanted.
    static let logitsTokens = 64

    private let memory: DeviceMemory
    private let offsets: [Int]
    private let widths: [Int]
    private let idsAt, firstsAt, partialsAt, choicesAt, weightsAt, sourcesAt, rowsAt: Int
    /// Token ids and first positions on their way.
    private let numbers: PinnedMemory
    /// The last token's, on their way back.
    let logits: PinnedMemory
    /// Of experts, on their way back and forth: [3, rows].
    let routes: PinnedMemory
    private let chunk: Int

    private struct Plan {
        var bytes = 0
        mutating func reserve(_ count: Int) -> Int {
            defer { bytes += (count + 255) / 256 * 256 }
            return bytes
        }
    }

    init(_ geometry: Geometry, chunk: Int, on context: DeviceContext) throws(CUDAError) {
        let piece = min(chunk, Self.pieceTokens)
        let layout = Self.layout(geometry, chunk: chunk)
        (offsets, widths) = (layout.offsets, layout.widths)
        (idsAt, firstsAt, partialsAt) = (layout.ids, layout.firsts, layout.partials)
        (choicesAt, weightsAt, sourcesAt, rowsAt) = (layout.choices, layout.weights, layout.sources, layout.rows)
        self.chunk = chunk
        memory = try context.allocate(layout.bytes, for: "a rank's scratch")
        numbers = try context.pinned((chunk + Self.firsts(chunk)) * MemoryLayout<Int32>.stride)
        logits = try context.pinned(geometry.vocabulary * MemoryLayout<Float>.stride)
        routes = try context.pinned(3 * piece * (geometry.experts?.used ?? 0) * MemoryLayout<Int32>.stride)
    }

    /// What a rank's scratch takes of a device.
    static func bytes(_ geometry: Geometry, chunk: Int) -> Int { layout(geometry, chunk: chunk).bytes }

    /// Every piece's first position, and the last token's.
    private static func firsts(_ chunk: Int) -> Int { (chunk + pieceTokens - 1) / pieceTokens + 1 }

    private static func layout(_ geometry: Geometry, chunk: Int) -> (
        bytes: Int, offsets: [Int], widths: [Int], ids: Int, firsts: Int, partials: Int, choices: Int, weights: Int, sources: Int,
        rows: Int
    ) {
        let piece = min(chunk, pieceTokens)
        var plan = Plan()
        var offsets: [Int] = []
        var widths: [Int] = []
        for activation in Activation.allCases {
            let (tokens, width) = activation.extent(geometry, chunk: chunk, piece: piece)
            widths.append(width)
            offsets.append(plan.reserve((activation == .logits ? logitsTokens : tokens) * width * activation.elementBytes))
        }
        let ids = plan.reserve(chunk * 4)
        let firsts = plan.reserve(firsts(chunk) * 4)
        let partials = plan.reserve(geometry.heads * mostSplits * (geometry.headDimension + 2) * 4)
        let routed = piece * (geometry.experts?.used ?? 0) * 4
        let (choices, weights) = (plan.reserve(routed), plan.reserve(routed))
        let (sources, rows) = (plan.reserve(routed), plan.reserve(routed))
        return (plan.bytes, offsets, widths, ids, firsts, partials, choices, weights, sources, rows)
    }

    subscript(_ activation: Activation, _ row: Int = 0) -> UInt64 {
        memory.address
            + UInt64(offsets[activation.rawValue] + row * widths[activation.rawValue] * activation.elementBytes)
    }

    func width(_ activation: Activation) -> Int { widths[activation.rawValue] }

    var ids: UInt64 { memory.address + UInt64(idsAt) }
    var partials: UInt64 { memory.address + UInt64(partialsAt) }
    /// Of experts: the chosen ones and their weights, [tokens, used]; each row's token; each choice's row.
    var choices: UInt64 { memory.address + UInt64(choicesAt) }
    var weights: UInt64 { memory.address + UInt64(weightsAt) }
    var sources: UInt64 { memory.address + UInt64(sourcesAt) }
    var rows: UInt64 { memory.address + UInt64(rowsAt) }

    /// Where a piece's first position lies.
    func first(of piece: Range<Int>, chunk: Int) -> UInt64 {
        // A piece that does not begin where pieces do is the last token.
        let isLast = piece.lowerBound % Self.pieceTokens != 0
        let slot = isLast ? Self.firsts(self.chunk) - 1 : piece.lowerBound / Self.pieceTokens
        return memory.address + UInt64(firstsAt + 4 * slot)
    }

    /// Token ids and first positions, from pinned memory: it must not be written again before the run is done.
    func upload(_ job: Job, on stream: DeviceStream) throws(CUDAError) {
        let count = job.positions.count
        let values = numbers.base.assumingMemoryBound(to: Int32.self)
        if let tokens = job.tokens { values.update(from: tokens, count: count) }
        let firsts = values + chunk
        let slots = Self.firsts(chunk)
        for slot in 0..<slots - 1 { firsts[slot] = Int32(clamping: job.positions.lowerBound + slot * Self.pieceTokens) }
        firsts[slots - 1] = Int32(clamping: job.positions.lowerBound + count - 1)
        try stream.upload(values, to: ids, bytes: 4 * count)
        try stream.upload(firsts, to: memory.address + UInt64(firstsAt), bytes: 4 * slots)
    }
}

extension CUDAOperations {
    /// What a rank's scratch takes of a device, the workspace of its products included.
    package static func bytes(_ geometry: Geometry, chunk: Int) -> Int {
        DeviceBuffers.bytes(geometry, chunk: chunk) + (32 << 20)
    }
}
