package import KVModel
package import Synchronization

/// What a run on a device is supervised by.
package protocol DeviceRun: AnyObject, Sendable {
    /// When a wait that begins now must have ended, in nanoseconds of CLOCK_MONOTONIC.
    var deadline: UInt64 { get }
    /// Somebody has ended the run.
    var isInterrupted: Bool { get }
    /// Ends the run for an error in a layer.
    func failed(_ error: CUDAError, layer: Int) -> Stopped
}

/// A rank's forward pass on a device: every operation is asked of the rank's stream, and done in order. One worker, who waits only where the
/// host needs a result.
package final class CUDAOperations: Computation, @unchecked Sendable {
    // Used by its worker alone while a run is under way, by the engine between runs.
    let geometry: Geometry
    let weights: DeviceWeights
    let kernels: DeviceKernels
    let products: MatrixProducts
    package let stream: DeviceStream
    package let cache: DeviceCache
    let buffers: DeviceBuffers
    let run: any DeviceRun
    /// Where logits and progress go.
    let host: Arena
    let marks: DeviceMarks
    /// Parts that decode's attention over the keys is split in, always as many.
    let splits: Int
    package let worker = 0
    /// Told of each layer's marks when the run is done.
    package weak var recorder: (any LayerRecorder)?
    /// Where the worker notes the layer that it has asked for, counted from 1, for those who watch it.
    package var reached: UnsafeMutablePointer<Atomic<UInt32>>?

    package private(set) var job = Job()
    package var chunk = Pieces(of: DeviceBuffers.pieceTokens)
    private(set) var layer = 0
    /// Layers that the device has done, as far as the host knows.
    private var done = 0
    /// The piece's first position, on the device.
    private(set) var first: UInt64 = 0
    /// The experts of the piece's tokens.
    var routes = DeviceRoutes()
    private var decoding = Decoding.unknown

    /// How one token is computed: what is asked for is always the same, so that it is recorded, once all kernels have run and thus are loaded.
    private enum Decoding {
        case unknown
        case seen
        case recorded(DeviceGraph)
    }

    /// - Parameters:
    ///   - host: arena of the rank, of which only logits and progress are used.
    ///   - chunk: the most tokens of a run.
    /// - Throws: `CUDAError`.
    package init(
        weights: DeviceWeights, geometry: Geometry, cache: DeviceCache, kernels: DeviceKernels, host: Arena, chunk: Int,
        run: any DeviceRun
    ) throws(CUDAError) {
        self.weights = weights
        self.geometry = geometry
        self.cache = cache
        self.kernels = kernels
        self.host = host
        self.run = run
        let context = cache.context
        stream = try context.stream()
        products = try context.products()
        buffers = try DeviceBuffers(geometry, chunk: chunk, on: context)
        splits = kernels.decodeSplits(
            heads: geometry.heads, kvHeads: geometry.keyValueHeads, positions: cache.capacity)
        marks = try DeviceMarks(layers: geometry.layers, on: context)
    }

    // MARK: Runs

    package func prepare(_ job: Job) {
        self.job = job
        marks.isOff = job.isDecode
        chunk = Pieces(of: DeviceBuffers.pieceTokens)
        chunk.keep(0..<job.positions.count)
        layer = 0
        done = 0
    }

    package func compute(_ forward: () throws(Stopped) -> Void) throws(Stopped) {
        do {
            try attempt { () throws(CUDAError) in
                try marks.begin(on: stream)
                try buffers.upload(job, on: stream)
            }
            try ask(forward)
            try attempt { () throws(CUDAError) in
                if case .last = job.logits {
                    try stream.download(
                        buffers[.logits], to: buffers.logits.base, bytes: geometry.vocabulary * MemoryLayout<Float>.stride)
                }
            }
            try wait()
            try follow(until: job.isDecode ? 0 : geometry.layers)
        } catch {
            // What is under way must not write into the next run.
            try? stream.synchronise(deadline: run.deadline, isInterrupted: { false })
            throw error
        }
        if case .last = job.logits {
            host.setLogits(buffers.logits.base.assumingMemoryBound(to: Float.self))
        }
        if let recorder { try attempt { () throws(CUDAError) in try marks.report(to: recorder) } }
    }

    private func ask(_ forward: () throws(Stopped) -> Void) throws(Stopped) {
        // The host looks at the experts that were chosen, which cannot be recorded.
        guard job.isDecode, geometry.experts == nil else { return try forward() }
        switch decoding {
        case .unknown:
            try forward()
            decoding = .seen
        case .seen:
            var stopped: Stopped?
            let graph = try attempt { () throws(CUDAError) in
                try stream.capture { () throws(CUDAError) in
                    do throws(Stopped) { try forward() } catch { stopped = error }
                }
            }
            if let stopped { throw stopped }
            decoding = .recorded(graph)
            try attempt { () throws(CUDAError) in try stream.launch(graph) }
        case .recorded(let graph): try attempt { () throws(CUDAError) in try stream.launch(graph) }
        }
    }

    /// Waits until all that was asked for is done.
    func wait() throws(Stopped) {
        try attempt { () throws(CUDAError) in
            try stream.synchronise(deadline: run.deadline, isInterrupted: { run.isInterrupted })
        }
    }

    /// Turns an error into the run's end.
    func attempt<T>(_ body: () throws(CUDAError) -> T) throws(Stopped) -> T {
        do { return try body() } catch { throw run.failed(error, layer: layer) }
    }

    // MARK: Pieces

    package func begin(piece index: Int) {
        chunk.begin(index)
        first = buffers.first(of: piece)
    }

    package func synchronise() throws(Stopped) {
        if run.isInterrupted { throw Stopped() }
        if !job.isDecode { try follow(until: layer - Self.layersAhead) }
    }

    /// The host asks for so many layers ahead of the device, and no more: a run that is interrupted then has little left to do.
    private static let layersAhead = 3

    /// Waits until the device has done the layers before `end`, and counts them.
    private func follow(until end: Int) throws(Stopped) {
        while done < end {
            try attempt { () throws(CUDAError) in
                try marks.wait(for: done, deadline: run.deadline, isInterrupted: { run.isInterrupted })
            }
            done += 1
            host.add(progress: job.positions.count)
        }
    }

    package func mark(_ mark: LayerMark, layer: Int) {
        self.layer = layer
        if mark == .begin, let reached { reached.pointee.store(UInt32(layer + 1), ordering: .relaxed) }
        if recorder != nil { marks.note(mark, layer: layer, on: stream) }
    }

    /// Where a token of the chunk lies in a buffer: chunk-wide ones by chunk, the others by piece.
    func row(_ activation: Activation, _ token: Int? = nil) -> UInt64 {
        let token = token ?? piece.lowerBound
        return buffers[activation, activation.isChunkWide ? token : token - piece.lowerBound]
    }
}
