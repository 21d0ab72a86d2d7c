package import KVFabric

/// A simulated network between the ranks, for measurements: what a rank sends shares its egress's bandwidth, comes later by the latency and
/// jitter, and waits for bursts of others' traffic. The bits stay the same.
public struct LinkProfile: Sendable, Equatable, Codable {
    /// Bytes per second that leave a rank, for all others together; infinite: as the machine does.
    public var bandwidth = Double.infinity
    /// Seconds from a message's last byte to its delivery.
    public var latency = 0.0
    /// At most so many seconds more, uniformly.
    public var jitter = 0.0
    /// The share of the time that side traffic takes a rank's egress, 0 ..< 1.
    public var bursts = 0.0
    /// The mean length of such a burst, in seconds.
    public var burst = 200e-6
    /// The same seed gives the same noise.
    public var seed: UInt64 = 0

    public init() {}

    package init(bandwidth: Double, latency: Double) {
        self.bandwidth = bandwidth
        self.latency = latency
    }

    /// Parses `bandwidth=10GB/s,latency=5us,jitter=1us,bursts=20%,burst=200us,seed=1`; what is not given stays as by default.
    /// - Throws: `EngineError` (request) naming key and value.
    public init(parsing text: String) throws(EngineError) {
        var given: Set<Substring> = []
        for pair in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { throw EngineError(.request, "throttle: \"\(pair)\" is not key=value") }
            let (key, value) = (parts[0], parts[1])
            guard given.insert(key).inserted else { throw EngineError(.request, "throttle: \(key) is given twice") }
            func number(_ units: [(String, Double)], _ wanted: String, _ isValid: (Double) -> Bool) throws(EngineError) -> Double {
                guard let parsed = Unit.value(of: value, in: units), isValid(parsed) else {
                    throw EngineError(.request, "throttle: \(key) is \"\(value)\"; it must be \(wanted)")
                }
                return parsed
            }
            switch key {
            case "bandwidth": bandwidth = try number(Unit.rates, "a rate of 1B/s or more, as 10GB/s or 300MB/s") { $0 >= 1 }
            case "latency": latency = try number(Unit.times, "a time of 0 to 3600s, as 5us") { 0...3600 ~= $0 }
            case "jitter": jitter = try number(Unit.times, "a time of 0 to 3600s, as 1us") { 0...3600 ~= $0 }
            case "bursts": bursts = try number(Unit.shares, "a share from 0% to 90%") { 0...0.9 ~= $0 }
            case "burst": burst = try number(Unit.times, "a time of 1us to 3600s, as 200us") { 1e-6...3600 ~= $0 }
            case "seed":
                guard let parsed = UInt64(value) else {
                    throw EngineError(.request, "throttle: seed is \"\(value)\"; it must be a number of 0 or more")
                }
                seed = parsed
            default:
                throw EngineError(
                    .request, "throttle: \"\(key)\" is none of bandwidth, latency, jitter, bursts, burst and seed")
            }
        }
    }

    private static let times = 0...3600.0
    private static let bursts = 1e-6...3600

    /// - Throws: `EngineError` (request) naming a field that a network cannot have.
    package func validate() throws(EngineError) {
        func require(_ holds: Bool, _ name: String, _ value: Double, _ rule: String) throws(EngineError) {
            if !holds { throw EngineError(.request, "throttle: \(name) is \(value); it must be \(rule)") }
        }
        try require(bandwidth > 0, "bandwidth", bandwidth, "above 0")
        try require(Self.times ~= latency, "latency", latency, "0 to 3600 s")
        try require(Self.times ~= jitter, "jitter", jitter, "0 to 3600 s")
        try require(0...0.9 ~= bursts, "bursts", bursts, "0 to 0.9")
        try require(Self.bursts ~= burst, "burst", burst, "0.000001 to 3600 s")
    }

    /// The way out of one rank.
    package func egress(rank: Int) -> Egress {
        Egress(
            bandwidth: bandwidth, latency: latency, jitter: jitter, burstShare: bursts, burstDuration: burst,
            seed: seed &+ UInt64(rank) &* 0x9e37_79b9_7f4a_7c15)
    }
}

/// Numbers with a unit, as links' options have them.
enum Unit {
    // A unit that ends in another one comes before it.
    static let rates = [("TB/s", 1e12), ("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3), ("KB/s", 1e3), ("B/s", 1)]
    static let times = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1)]
    static let shares = [("%", 0.01), ("", 1)]

    /// The value in the base unit, finite; nil where the text is not a number with one of the units.
    static func value(of text: some StringProtocol, in units: [(String, Double)]) -> Double? {
        guard let unit = units.first(where: { text.hasSuffix($0.0) }),
            let number = Double(text.dropLast(unit.0.count)), number.isFinite
        else { return nil }
        return number * unit.1
    }
}
