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

/// A rank's notes of one prefill, its times and its work. Allocates only at init.
final class RankRecord: LayerRecorder, @unchecked Sendable {
    // Written by one worker during a run, read between runs, perhaps by another process.
    private static let marks = 5
    private let region: Region
    private let times: UnsafeMutablePointer<UInt64>
    /// CPU time of the recording worker at the same marks.
    private let busy: UnsafeMutablePointer<UInt64>
    private let counts: UnsafeMutablePointer<Accounting.Work>
    private let layers: Int

    init(layers: Int, in memory: RunMemory) throws(EngineError) {
        self.layers = layers
        let marks = layers * Self.marks
        let stamp = MemoryLayout<UInt64>.stride
        region = try memory.region(2 * marks * stamp + layers * MemoryLayout<Accounting.Work>.stride, for: "a rank's record")
        times = region.base.bindMemory(to: UInt64.self, capacity: marks)
        busy = (region.base + marks * stamp).bindMemory(to: UInt64.self, capacity: marks)
        counts = (region.base + 2 * marks * stamp).bindMemory(to: Accounting.Work.self, capacity: layers)
    }

    func reset() {
        times.update(repeating: 0, count: layers * Self.marks)
        busy.update(repeating: 0, count: layers * Self.marks)
        counts.update(repeating: Accounting.Work(), count: layers)
    }

    /// By layer.
    var work: [Accounting.Work] { Array(UnsafeBufferPointer(start: counts, count: layers)) }

    func record(_ work: AttentionWork, layer: Int) {
        counts[layer].rectangle += work.rectangle
        counts[layer].causal += work.causal
        counts[layer].scores += work.scores
    }

    /// Rows of keys and of values.
    func sent(rows: Int, layer: Int) { counts[layer].rows += rows }

    func record(_ mark: LayerMark, layer: Int) {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        record(
            mark, layer: layer, at: MonotonicClock.now, busy: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    /// Of a device, which is busy all the time that it takes.
    func record(_ mark: LayerMark, layer: Int, at time: UInt64) { record(mark, layer: layer, at: time, busy: time) }

    private func record(_ mark: LayerMark, layer: Int, at time: UInt64, busy: UInt64) {
        let index =
            switch mark {
            case .begin: 0
            case .projected: 1
            case .received: 2
            case .sent: 3
            case .end: 4
            }
        times[layer * Self.marks + index] = time
        self.busy[layer * Self.marks + index] = busy
    }

    /// The spans between the marks, in seconds since `start` (nanoseconds of the monotonic clock).
    func spans(rank: Int, since start: UInt64) -> [Timeline.Span] {
        var spans: [Timeline.Span] = []
        for layer in 0..<layers {
            let times = times + layer * Self.marks
            let busy = busy + layer * Self.marks
            var last = times[0]
            var lastBusy = busy[0]
            if last < start { continue }
            // A chain receives and then sends, an all-gather the other way round.
            let exchange = times[2] <= times[3] ? [(Timeline.Activity.wait, 2), (.send, 3)] : [(.send, 3), (.wait, 2)]
            for (activity, mark) in [(.compute, 1)] + exchange + [(.compute, 4)] where times[mark] > last {
                let next = times[mark]
                let nextBusy = busy[mark]
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
