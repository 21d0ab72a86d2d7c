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
    private let plan: Plan
    /// Token ids and first positions on their way.
    private let numbers: PinnedMemory
    /// The last token's, on their way back.
    let logits: PinnedMemory
    /// Of experts, on their way back and forth: [3, rows].
    let routes: PinnedMemory
    private let chunk: Int

    /// Where things lie, in bytes.
    private struct Plan {
        let bytes: Int
        /// By activation; widths in elements.
        let offsets, widths: [Int]
        let ids, firsts, partials: Int
        /// Of experts.
        let choices, weights, sources, rows: Int

        init(_ geometry: Geometry, chunk: Int) {
            let piece = min(chunk, pieceTokens)
            let extents = Activation.allCases.map { $0.extent(geometry, chunk: chunk, piece: piece) }
            var layout = Layout(alignment: 256)
            widths = extents.map(\.width)
            offsets = zip(Activation.allCases, extents).map { activation, extent in
                let tokens = activation == .logits ? logitsTokens : extent.rows
                return layout.reserve(tokens * extent.width * activation.elementBytes)
            }
            ids = layout.reserve(chunk * MemoryLayout<Int32>.stride)
            firsts = layout.reserve(DeviceBuffers.firsts(chunk) * MemoryLayout<Int32>.stride)
            partials = layout.reserve(geometry.heads * mostSplits * (geometry.headDimension + 2) * MemoryLayout<Float>.stride)
            let routed = piece * (geometry.experts?.used ?? 0) * MemoryLayout<Int32>.stride
            choices = layout.reserve(routed)
            weights = layout.reserve(routed)
            sources = layout.reserve(routed)
            rows = layout.reserve(routed)
            bytes = layout.bytes
        }
    }

    init(_ geometry: Geometry, chunk: Int, on context: DeviceContext) throws(CUDAError) {
        let piece = min(chunk, Self.pieceTokens)
        plan = Plan(geometry, chunk: chunk)
        self.chunk = chunk
        memory = try context.allocate(plan.bytes, for: "a rank's scratch")
        numbers = try context.pinned((chunk + Self.firsts(chunk)) * MemoryLayout<Int32>.stride)
        logits = try context.pinned(geometry.vocabulary * MemoryLayout<Float>.stride)
        routes = try context.pinned(3 * piece * (geometry.experts?.used ?? 0) * MemoryLayout<Int32>.stride)
    }

    /// What a rank's scratch takes of a device.
    static func bytes(_ geometry: Geometry, chunk: Int) -> Int { Plan(geometry, chunk: chunk).bytes }

    /// Every piece's first position, and the last token's.
    private static func firsts(_ chunk: Int) -> Int { (chunk + pieceTokens - 1) / pieceTokens + 1 }

    subscript(_ activation: Activation, _ row: Int = 0) -> UInt64 {
        memory.address
            + UInt64(plan.offsets[activation.rawValue] + row * width(activation) * activation.elementBytes)
    }

    func width(_ activation: Activation) -> Int { plan.widths[activation.rawValue] }

    var ids: UInt64 { memory.address + UInt64(plan.ids) }
    var partials: UInt64 { memory.address + UInt64(plan.partials) }
    /// Of experts: the chosen ones and their weights, [tokens, used]; each row's token; each choice's row.
    var choices: UInt64 { memory.address + UInt64(plan.choices) }
    var weights: UInt64 { memory.address + UInt64(plan.weights) }
    var sources: UInt64 { memory.address + UInt64(plan.sources) }
    var rows: UInt64 { memory.address + UInt64(plan.rows) }

    /// Where a piece's first position lies.
    func first(of piece: Range<Int>) -> UInt64 {
        // A piece that does not begin where pieces do is the last token.
        let isLast = piece.lowerBound % Self.pieceTokens != 0
        let slot = isLast ? Self.firsts(chunk) - 1 : piece.lowerBound / Self.pieceTokens
        return memory.address + UInt64(plan.firsts + MemoryLayout<Int32>.stride * slot)
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
        try stream.upload(firsts, to: memory.address + UInt64(plan.firsts), bytes: 4 * slots)
    }
}

extension CUDAOperations {
    /// What a rank's scratch takes of a device, the workspace of its products included.
    package static func bytes(_ geometry: Geometry, chunk: Int) -> Int {
        DeviceBuffers.bytes(geometry, chunk: chunk) + MatrixProducts.workspaceBytes
    }
}
