import Glibc

/// A rank's way out to all others in a simulated network: what it sends goes through one after the other, at the egress's bandwidth, between
/// bursts of others' traffic.
///
/// Nothing waits here: an egress only says when a message would have come. One thread at a time; the same calls give the same moments.
package final class Egress: @unchecked Sendable {
    // Sendable by hand: used by the one thread that sends for its rank, and between runs by the engine's.
    private let nanosecondsPerByte: Double
    private let latency: Double
    private let jitter: Double
    private let meanBurst: Double
    private let meanGap: Double
    private let seed: UInt64

    // In nanoseconds since the first message.
    private var origin: UInt64?
    private var free = 0.0
    private var burst = 0.0..<0.0
    // Two sequences, so that a message's jitter does not depend on how many bursts there were.
    private var jitters: Noise
    private var bursts: Noise

    /// - Parameters:
    ///   - bandwidth: bytes per second; infinite: none is lost.
    ///   - latency: seconds from a message's last byte to its delivery.
    ///   - jitter: at most so many seconds more, uniformly.
    ///   - burstShare: of the time that side traffic takes the whole egress, 0 ..< 1.
    ///   - burstDuration: the mean length of such a burst, in seconds; lengths and gaps are exponential.
    package init(
        bandwidth: Double = .infinity, latency: Double = 0, jitter: Double = 0, burstShare: Double = 0, burstDuration: Double = 0,
        seed: UInt64 = 0
    ) {
        nanosecondsPerByte = bandwidth > 0 ? 1e9 / bandwidth : 0
        self.latency = max(0, latency) * 1e9
        self.jitter = max(0, jitter) * 1e9
        let share = min(max(0, burstShare), 0.99)
        meanBurst = share > 0 ? max(0, burstDuration) * 1e9 : 0
        meanGap = share > 0 ? meanBurst * (1 - share) / share : 0
        self.seed = seed
        jitters = Noise(seed)
        bursts = Noise(~seed)
    }

    /// When a message sent now comes to its receiver; the egress is taken until its last byte has left.
    package func delivery(of bytes: Int, at now: UInt64) -> UInt64 {
        let origin = origin ?? now
        self.origin = origin
        var time = max(free, Double(now - min(now, origin)))
        var rest = Double(bytes) * nanosecondsPerByte
        while meanBurst > 0 {
            // Side traffic goes first, and stops a message that is on its way.
            if burst.lowerBound > time {
                if time + rest <= burst.lowerBound { break }
                rest -= burst.lowerBound - time
            }
            time = max(time, burst.upperBound)
            let start = burst.upperBound + bursts.exponential(mean: meanGap)
            burst = start..<start + bursts.exponential(mean: meanBurst)
        }
        free = time + rest
        // A moment that is years away does for all that come later.
        return origin &+ UInt64(min(free + latency + jitter * jitters.uniform(), 1e18))
    }

    /// Begins again, with the same sequence.
    package func reset() {
        origin = nil
        free = 0
        burst = 0..<0
        jitters = Noise(seed)
        bursts = Noise(~seed)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014) as real numbers.
private struct Noise {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    /// 0 ..< 1.
    mutating func uniform() -> Double {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
    }

    mutating func exponential(mean: Double) -> Double { -mean * log(1 - uniform()) }
}
