import KVFabric
import KVModel

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

/// A rank's notes of one prefill, its times and its work; written by its worker 0, read between runs. Allocates only at init.
final class RankRecord: LayerRecorder, @unchecked Sendable {
    private static let marks = 5
    private let times: UnsafeMutablePointer<UInt64>
    private let counts: UnsafeMutablePointer<Accounting.Work>
    private let layers: Int

    init(layers: Int) {
        self.layers = layers
        times = .allocate(capacity: layers * Self.marks)
        counts = .allocate(capacity: layers)
        reset()
    }

    deinit {
        times.deallocate()
        counts.deallocate()
    }

    func reset() {
        times.update(repeating: 0, count: layers * Self.marks)
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
        let index =
            switch mark {
            case .begin: 0
            case .projected: 1
            case .received: 2
            case .sent: 3
            case .end: 4
            }
        times[layer * Self.marks + index] = MonotonicClock.now
    }

    /// The spans between the marks, in seconds since `start` (nanoseconds of the monotonic clock).
    func spans(rank: Int, since start: UInt64) -> [Timeline.Span] {
        var spans: [Timeline.Span] = []
        for layer in 0..<layers {
            let marks = times + layer * Self.marks
            var last = marks[0]
            if last < start { continue }
            // A chain receives and then sends, an all-gather the other way round.
            let exchange: [(Timeline.Activity, UInt64)] = [(.wait, marks[2]), (.send, marks[3])]
            let ends = [(.compute, marks[1])] + exchange.sorted { $0.1 < $1.1 } + [(.compute, marks[4])]
            for (activity, next) in ends where next > last {
                spans.append(
                    Timeline.Span(
                        rank: rank, layer: layer, activity: activity, start: Double(last - start) * 1e-9,
                        end: Double(next - start) * 1e-9))
                last = next
            }
        }
        return spans
    }
}
