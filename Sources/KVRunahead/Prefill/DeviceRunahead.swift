import KVCUDA
import KVFabric
import KVModel

/// KV-Runahead's exchange for a rank on a device. The host only asks: rows come and go beside the device's work, and its stream waits for them,
/// not the host. A link tells the next rank that the rows have been asked for; from and to ranks on CPUs it carries them.
final class DeviceRunahead: Attention, @unchecked Sendable {
    // `prepare` writes before a run begins, by the rank's only worker.

    /// To or from a neighbour.
    struct Way {
        let link: any Link
        /// Nil: the neighbour is on CPUs.
        let handoff: DeviceHandoff?
    }

    private let rank: Int
    private let operations: CUDAOperations
    /// What the host sees of the device's cache.
    private let image: KVCache
    private let devices: DeviceRanks
    private let record: RankRecord
    private let state: RunState
    private let run: SupervisedRun
    private var before: Way?
    private var after: Way?
    private var chunk = 0..<0

    init(
        rank: Int, _ operations: CUDAOperations, image: KVCache, devices: DeviceRanks, record: RankRecord, state: RunState,
        run: SupervisedRun
    ) {
        self.rank = rank
        self.operations = operations
        self.image = image
        self.devices = devices
        self.record = record
        self.state = state
        self.run = run
    }

    func prepare(chunk: Range<Int>, before: Way?, after: Way?) {
        self.chunk = chunk
        self.before = before
        self.after = after
    }

    func exchange(layer: Int, on operations: any Operations) throws(Stopped) {
        try operations.synchronise()
        if let before { try receive(layer, by: before) }
        operations.mark(.received, layer: layer)
        if let after { try send(layer, by: after) }
        operations.mark(.sent, layer: layer)
    }

    private func receive(_ layer: Int, by way: Way) throws(Stopped) {
        let segment = Segment(layer: layer, rows: 0..<chunk.lowerBound)
        let isDescribed = way.handoff != nil
        let none = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        do {
            try way.link.receive(
                segment, key: isDescribed ? none : image.keys(layer, segment.rows),
                value: isDescribed ? none : image.values(layer, segment.rows), deadline: state.deadline, interrupt: state.interrupt)
        } catch { throw state.failed(rank: rank, "receiving", layer: layer, error) }
        try attempt(layer) { () throws(CUDAError) in
            if let handoff = way.handoff {
                try handoff.receive(layer, on: operations.stream)
            } else {
                try operations.cache.upload(layer, segment.rows, from: image, on: operations.stream)
            }
        }
    }

    private func send(_ layer: Int, by way: Way) throws(Stopped) {
        let segment = Segment(layer: layer, rows: 0..<chunk.upperBound)
        let keys = UnsafeRawBufferPointer(image.keys(layer, segment.rows))
        let values = UnsafeRawBufferPointer(image.values(layer, segment.rows))
        let isDescribed = way.handoff != nil
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        try attempt(layer) { () throws(CUDAError) in
            if let handoff = way.handoff {
                try handoff.send(layer, segment.rows, behind: operations.stream)
                devices.handedOver(keys.count + values.count)
            } else {
                try operations.cache.download(layer, segment.rows, to: image, on: operations.stream)
                try operations.stream.synchronise(deadline: run.deadline, isInterrupted: { run.isInterrupted })
            }
        }
        do {
            try way.link.send(
                segment, key: isDescribed ? none : keys, value: isDescribed ? none : values, deadline: state.deadline,
                interrupt: state.interrupt)
        } catch { throw state.failed(rank: rank, "sending", layer: layer, error) }
        record.sent(rows: 2 * segment.rows.count, layer: layer)
    }

    private func attempt(_ layer: Int, _ body: () throws(CUDAError) -> Void) throws(Stopped) {
        do { try body() } catch { throw run.failed(error, layer: layer) }
    }

    // MARK: The image, between runs

    /// Brings the image's rows up to date.
    func download(_ rows: Range<Int>) throws(EngineError) {
        try move { (layer) throws(CUDAError) in try operations.cache.download(layer, rows, to: image, on: operations.stream) }
    }

    /// Brings the device's rows up to date.
    func upload(_ rows: Range<Int>) throws(EngineError) {
        try move { (layer) throws(CUDAError) in try operations.cache.upload(layer, rows, from: image, on: operations.stream) }
    }

    private func move(_ ask: (Int) throws(CUDAError) -> Void) throws(EngineError) {
        do throws(CUDAError) {
            for layer in 0..<image.geometry.layers { try ask(layer) }
            try operations.stream.synchronise(deadline: state.deadline, isInterrupted: { false })
        } catch { throw EngineError(error) }
    }

    /// Both compute on the same rows.
    func sharesCache(with other: DeviceRunahead) -> Bool { operations.cache === other.operations.cache }
}
