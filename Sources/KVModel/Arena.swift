import CKVKernels
import Synchronization

/// The scratch of one team: every buffer a forward pass writes, reserved once. Nothing is allocated after it is made.
package final class Arena: @unchecked Sendable {
    // The team's workers write disjoint parts, ordered by the team's barriers (see CPUOperations).

    /// A float buffer, [tokens, width], and its int8 form where a quantised matrix reads it.
    struct Buffer {
        var floats: UnsafeMutablePointer<Float>
        var width: Int
        var values: UnsafeMutablePointer<Int8>?
        var scales: UnsafeMutablePointer<Float>?
        var sums: UnsafeMutablePointer<ckv_sums>?
        var offsets: UnsafeMutablePointer<Float>?

        fileprivate init(_ place: BufferLayout, _ base: UnsafeMutableRawPointer) {
            floats = (base + place.floats).assumingMemoryBound(to: Float.self)
            width = place.width
            values = place.int8.map { (base + $0.values).assumingMemoryBound(to: Int8.self) }
            scales = place.int8.map { (base + $0.scales).assumingMemoryBound(to: Float.self) }
            sums = place.int8.map { (base + $0.sums).assumingMemoryBound(to: ckv_sums.self) }
            offsets = place.int8.map { (base + $0.offsets).assumingMemoryBound(to: Float.self) }
        }
    }

    /// A row as two int8 digits, laid out as two tokens: the second holds what the first leaves, so that their products' sum has
    /// some 15 bits of the row.
    struct Digits {
        let width: Int
        let rest: UnsafeMutablePointer<Float>
        let values: UnsafeMutablePointer<Int8>
        let scales: UnsafeMutablePointer<Float>
        let sums: UnsafeMutablePointer<ckv_sums>
        let offsets: UnsafeMutablePointer<Float>

        /// - Parameter x: [width], a multiple of the activation block.
        func split(_ x: UnsafePointer<Float>, _ table: UnsafePointer<ckv_table>) {
            let blocks = width / Int(CKV_BLOCK)
            table.pointee.quantise(x, width, values, scales, sums, offsets)
            for index in 0..<width {
                // A fused step: one rounding, the same on every machine.
                rest[index] = x[index].addingProduct(-scales[index / Int(CKV_BLOCK)], Float(values[index]))
            }
            table.pointee.quantise(rest, width, values + width, scales + blocks, sums + blocks, offsets + blocks)
        }
    }

    /// Tokens of one piece of a chunk: enough to pay for unpacking a weight, few enough to stay in the second-level cache.
    package static let pieceTokens = 256

    let buffers: [Buffer]
    /// Per worker, one token's row for itself: what all workers compute alike needs no barrier.
    let own: [(normed: Buffer, attended: Buffer)]
    /// Per worker, for attention.
    let scratch: [UnsafeMutableRawPointer]
    /// Per worker, one row's two int8 digits.
    let digits: [Digits]
    /// The experts of a piece's tokens, [token, used]; nothing where there are none.
    let choices: UnsafeMutablePointer<ExpertChoice>
    /// Per worker, those of a single token, [used].
    let ownChoices: [UnsafeMutablePointer<ExpertChoice>]
    /// Per worker, the choices by expert.
    let routes: [ExpertRoutes?]
    /// Decode: what each key block contributes, [key/value head, block, head of group, head dimension + 2].
    let partials: UnsafeMutablePointer<Float>
    let partialBlocks: Int
    /// Query tokens of one unit of attention work.
    let unitTokens: Int
    /// Units of attention work handed out so far, of each cache that the team reads; two cache lines apart. As the next one in the arena's
    /// memory, which workers of several processes may share.
    private let tickets: UnsafeMutableRawPointer
    private let caches: Int
    /// The first layer behind which a value was found that is no number; see `faultyLayer`.
    let fault: UnsafeMutablePointer<Atomic<UInt32>>
    /// Chunk tokens × layers done, for progress.
    let progress: UnsafeMutablePointer<Atomic<Int>>
    package let chunkCapacity: Int
    package let region: Region

    /// - Parameters:
    ///   - chunk: the largest number of tokens in one chunk.
    ///   - context: the largest number of positions.
    ///   - workers: of the team.
    ///   - caches: that it reads (see ``CacheSet``).
    ///   - memory: gives so many bytes; nil: address space of its own.
    /// - Throws: `ModelError` when there is none.
    package init(
        _ geometry: Geometry, weights: Weights, chunk: Int, context: Int, workers: Int, caches: Int = 1,
        in memory: ((Int) throws(ModelError) -> Region)? = nil
    ) throws(ModelError) {
        let piece = min(chunk, Self.pieceTokens)
        let group = geometry.group
        let unitTokens = min(piece, max(16, (192 + group - 1) / group))
        let blocks = (context + Int(CKV_KEYS) - 1) / Int(CKV_KEYS)
        var layout = Layout()
        let progressOffset = layout.reserve(128)
        let offsets = Activation.allCases.map { activation -> BufferLayout in
            let (tokens, width) = activation.extent(geometry, chunk: chunk, piece: piece)
            // Only what a matrix reads has an int8 form.
            let int8 = weights.needsInt8 && [.normed, .attended, .gate, .expertInput, .expertGate].contains(activation)
            return layout.reserve(tokens: tokens, width: width, int8: int8)
        }
        let ownOffsets = (0..<workers).map { _ in
            [geometry.embedding, geometry.queryWidth].map { layout.reserve(tokens: 1, width: $0, int8: weights.needsInt8) }
        }
        let scratchBytes = ckv_attention_scratch(geometry.headDimension, group, unitTokens)
        let scratchOffsets = (0..<workers).map { _ in layout.reserve(scratchBytes) }
        let blockCount = geometry.embedding / Int(CKV_BLOCK)
        let digitOffsets = (0..<workers).map { _ in
            (
                layout.reserve(geometry.embedding * 4), layout.reserve(2 * geometry.embedding), layout.reserve(8 * blockCount),
                layout.reserve(8 * blockCount), layout.reserve(8 * blockCount)
            )
        }
        let choiceBytes = (geometry.experts?.used ?? 0) * MemoryLayout<ExpertChoice>.stride
        let choicesOffset = layout.reserve(piece * choiceBytes)
        let ownChoicesOffsets = (0..<workers).map { _ in layout.reserve(choiceBytes) }
        let routesOffsets = (0..<workers).map { _ in
            geometry.experts.map { ExpertRoutes.reserve($0, tokens: piece, in: &layout) }
        }
        let partialsOffset = layout.reserve(geometry.heads * blocks * (geometry.headDimension + 2) * 4)
        let ticketsOffset = layout.reserve(caches * Self.ticketBytes)

        let region = try Region.of(layout.bytes, for: "an arena", lent: try memory?(layout.bytes))
        let base = region.base
        self.region = region
        progress = (base + progressOffset).assumingMemoryBound(to: Atomic<Int>.self)
        fault = (base + progressOffset + 64).assumingMemoryBound(to: Atomic<UInt32>.self)
        func floats(_ offset: Int) -> UnsafeMutablePointer<Float> { (base + offset).assumingMemoryBound(to: Float.self) }
        buffers = offsets.map { Buffer($0, base) }
        own = ownOffsets.map { (normed: Buffer($0[0], base), attended: Buffer($0[1], base)) }
        scratch = scratchOffsets.map { base + $0 }
        let width = geometry.embedding
        digits = digitOffsets.map { rest, values, scales, sums, offsets in
            Digits(
                width: width, rest: floats(rest), values: (base + values).assumingMemoryBound(to: Int8.self),
                scales: floats(scales),
                sums: (base + sums).assumingMemoryBound(to: ckv_sums.self), offsets: floats(offsets))
        }
        choices = (base + choicesOffset).assumingMemoryBound(to: ExpertChoice.self)
        ownChoices = ownChoicesOffsets.map { (base + $0).assumingMemoryBound(to: ExpertChoice.self) }
        routes = routesOffsets.map { offsets in offsets.map { ExpertRoutes(base, $0) } }
        partials = floats(partialsOffset)
        partialBlocks = blocks
        tickets = base + ticketsOffset
        self.caches = caches
        self.unitTokens = unitTokens
        chunkCapacity = chunk
    }

    subscript(_ activation: Activation) -> Buffer { buffers[activation.rawValue] }

    /// Between runs: no unit handed out, nothing done.
    package func reset() {
        for cache in 0..<caches { ticket(cache).pointee.store(0, ordering: .relaxed) }
        progress.pointee.store(0, ordering: .relaxed)
        fault.pointee.store(0, ordering: .relaxed)
    }

    /// Below 2^31: `Atomic`'s maximum takes larger values for negative ones.
    private static let mostFaults = UInt32(Int32.max)

    /// Notes that hidden rows behind a layer (-1: the embeddings) hold NaN or infinite values. The first layer counts.
    func note(faultBehind layer: Int) {
        fault.pointee.max(Self.mostFaults - UInt32(layer + 1), ordering: .relaxed)
    }

    /// The first layer behind which a run that locates them (see `Job.locates`) found such values, -1: the embeddings; nil: none.
    package var faultyLayer: Int? {
        let value = fault.pointee.load(ordering: .relaxed)
        return value == 0 ? nil : Int(Self.mostFaults - value) - 1
    }

    private static let ticketBytes = 128

    func ticket(_ cache: Int) -> UnsafeMutablePointer<Atomic<Int>> {
        // An `Atomic<Int>` is that integer and nothing else; the memory begins zeroed.
        (tickets + cache * Self.ticketBytes).assumingMemoryBound(to: Atomic<Int>.self)
    }

    package var tokenLayersDone: Int { progress.pointee.load(ordering: .relaxed) }

    /// Some more tokens have gone through a layer.
    package func add(progress tokens: Int) { progress.pointee.add(tokens, ordering: .relaxed) }

    /// Takes the last token's logits from elsewhere.
    package func setLogits(_ values: UnsafePointer<Float>) {
        self[.logits].floats.update(from: values, count: self[.logits].width)
    }

    /// The last token's logits, [vocabulary].
    package var logits: UnsafePointer<Float> { UnsafePointer(self[.logits].floats) }

    /// Where a buffer's parts lie.
    fileprivate struct BufferLayout {
        let floats: Int
        let width: Int
        let int8: (values: Int, scales: Int, sums: Int, offsets: Int)?
    }
}

extension Layout {
    /// Floats [tokens, width], and their int8 form where it is wanted and there are whole blocks.
    fileprivate mutating func reserve(tokens: Int, width: Int, int8: Bool) -> Arena.BufferLayout {
        let floats = reserve(tokens * width * 4)
        guard int8, width % Int(CKV_BLOCK) == 0 else { return .init(floats: floats, width: width, int8: nil) }
        let blocks = tokens * width / Int(CKV_BLOCK)
        return .init(
            floats: floats, width: width,
            int8: (reserve(tokens * width), reserve(blocks * 4), reserve(blocks * 4), reserve(blocks * 4)))
    }
}
