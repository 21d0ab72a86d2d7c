import KVModel

/// When a device came to a layer's marks: events of its stream, read when the run is done.
final class DeviceMarks: @unchecked Sendable {
    // Sendable by hand: used by the worker of its operations alone.
    private static let all: [LayerMark] = [.begin, .projected, .received, .sent, .end]
    private let start: DeviceEvent
    private let events: [DeviceEvent]
    private var noted: [Bool]
    private var startTime: UInt64 = 0
    /// Why a mark could not be noted, the first time.
    private var failure: CUDAError?
    /// While nothing is to be noted.
    var isOff = false

    init(layers: Int, on context: DeviceContext) throws(CUDAError) {
        start = try context.event(timed: true)
        var events: [DeviceEvent] = []
        for _ in 0..<layers * Self.all.count { events.append(try context.event(timed: true)) }
        self.events = events
        noted = [Bool](repeating: false, count: events.count)
    }

    /// The stream has nothing to do: what is asked of it now happens now.
    func begin(on stream: DeviceStream) throws(CUDAError) {
        for index in noted.indices { noted[index] = false }
        failure = nil
        // Before the event, as a worker may be interrupted between the two: nothing seems to happen later than it did.
        startTime = monotonicNow()
        try stream.record(start)
    }

    /// What goes wrong comes out of the next wait, or the report.
    func note(_ mark: LayerMark, layer: Int, on stream: DeviceStream) {
        guard !isOff, let place = Self.all.firstIndex(of: mark) else { return }
        let index = layer * Self.all.count + place
        do throws(CUDAError) {
            try stream.record(events[index])
            noted[index] = true
        } catch { failure = failure ?? error }
    }

    /// Waits until the stream has come to a layer's end, where that is noted.
    func wait(for layer: Int, deadline: UInt64, isInterrupted: () -> Bool) throws(CUDAError) {
        if let failure { throw failure }
        let index = layer * Self.all.count + Self.all.count - 1
        if noted[index] { try events[index].wait(deadline: deadline, isInterrupted: isInterrupted) }
    }

    /// - Throws: when one has not happened yet.
    func report(to recorder: any LayerRecorder) throws(CUDAError) {
        if let failure { throw failure }
        for index in events.indices where noted[index] {
            let time = try events[index].milliseconds(since: start)
            recorder.record(
                Self.all[index % Self.all.count], layer: index / Self.all.count, at: startTime + UInt64(max(0, time) * 1e6))
        }
    }
}
