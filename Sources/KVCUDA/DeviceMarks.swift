import KVModel

/// When a device came to a layer's marks: events of its stream, read when the run is done.
final class DeviceMarks: @unchecked Sendable {
    // Sendable by hand: used as its operations are.
    private static let all: [LayerMark] = [.begin, .projected, .received, .sent, .end]
    private let start: DeviceEvent
    private let events: [DeviceEvent]
    private var noted: [Bool]
    private var startTime: UInt64 = 0
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
        try stream.record(start)
        startTime = monotonicNow()
    }

    func note(_ mark: LayerMark, layer: Int, on stream: DeviceStream) throws(CUDAError) {
        guard !isOff, let place = Self.all.firstIndex(of: mark) else { return }
        let index = layer * Self.all.count + place
        try stream.record(events[index])
        noted[index] = true
    }

    /// Whether the stream has come to a layer's end; true where that is not noted.
    func isPassed(_ layer: Int) throws(CUDAError) -> Bool {
        let index = layer * Self.all.count + Self.all.count - 1
        return isOff || !noted[index] ? true : try events[index].isDone()
    }

    /// - Throws: when one has not happened yet.
    func report(to recorder: any LayerRecorder) throws(CUDAError) {
        for index in events.indices where noted[index] {
            let time = try events[index].milliseconds(since: start)
            recorder.record(
                Self.all[index % Self.all.count], layer: index / Self.all.count, at: startTime + UInt64(max(0, time) * 1e6))
        }
    }
}
