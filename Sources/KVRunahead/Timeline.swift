import KVFabric
import KVModel

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// When a rank computed, waited for a segment, and sent one, layer by layer, in one prefill.
public struct Timeline: Sendable {
    public enum Activity: String, Sendable, CaseIterable {
        case compute, wait, send
    }
    public struct Span: Sendable {
        public let rank: Int
        public let layer: Int
        public let activity: Activity
        /// Seconds since the prefill began.
        public let start: Double
        public let end: Double
        /// Seconds of CPU that the rank's first worker used: less than the duration where it slept, or where others had its CPU.
        public let busy: Double
        public var duration: Double { end - start }
    }
    public let spans: [Span]
    public let ranks: Int

    /// Seconds that a rank spent on an activity.
    public func total(_ activity: Activity, rank: Int) -> Double {
        spans.reduce(0) { $1.rank == rank && $1.activity == activity ? $0 + $1.duration : $0 }
    }

    /// Chrome's trace format (chrome://tracing, Perfetto): one complete event per span, times in microseconds, a row per rank.
    public var chromeTrace: String {
        let rows = (0..<ranks).map { rank in
            "{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":\(rank),\"args\":{\"name\":\"rank \(rank)\"}}"
        }
        let events = spans.map { span in
            "{\"name\":\"\(span.activity.rawValue)\",\"cat\":\"prefill\",\"ph\":\"X\",\"pid\":1,\"tid\":\(span.rank),"
                + "\"ts\":\(span.start * 1e6),\"dur\":\(span.duration * 1e6),\"args\":{\"layer\":\(span.layer)}}"
        }
        return "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + (rows + events).joined(separator: ",\n") + "\n]}\n"
    }
}

/// A rank's notes of one prefill; written by its worker 0, read between runs. Allocates only at init.
final class RankTimeline: LayerRecorder, @unchecked Sendable {
    private static let marks = 5
    private let times: UnsafeMutablePointer<UInt64>
    /// CPU time of the recording worker at the same marks.
    private let busy: UnsafeMutablePointer<UInt64>
    private let layers: Int

    init(layers: Int) {
        self.layers = layers
        times = .allocate(capacity: layers * Self.marks)
        busy = .allocate(capacity: layers * Self.marks)
        reset()
    }

    deinit {
        times.deallocate()
        busy.deallocate()
    }

    func reset() {
        times.update(repeating: 0, count: layers * Self.marks)
        busy.update(repeating: 0, count: layers * Self.marks)
    }

    func record(_ mark: LayerMark, layer: Int) {
        let index =
            switch mark {
            case .begin: 0
            case .projected: 1
            case .received: 2
            case .sent: 3
            case .end: 4
            }
        times[layer * Self.marks + index] = MonotonicClock.now
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        busy[layer * Self.marks + index] = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// The spans between the marks, in seconds since `start` (nanoseconds of the monotonic clock).
    func spans(rank: Int, since start: UInt64) -> [Timeline.Span] {
        let activities: [Timeline.Activity] = [.compute, .wait, .send, .compute]
        var spans: [Timeline.Span] = []
        for layer in 0..<layers {
            var last = times[layer * Self.marks]
            var lastBusy = busy[layer * Self.marks]
            if last < start { continue }
            for (index, activity) in activities.enumerated() {
                let next = times[layer * Self.marks + index + 1]
                if next <= last { continue }
                let nextBusy = busy[layer * Self.marks + index + 1]
                spans.append(
                    Timeline.Span(
                        rank: rank, layer: layer, activity: activity, start: Double(last - start) * 1e-9,
                        end: Double(next - start) * 1e-9, busy: Double(nextBusy &- lastBusy) * 1e-9))
                last = next
                lastBusy = nextBusy
            }
        }
        return spans
    }
}
