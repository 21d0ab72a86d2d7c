import Foundation
import KVModel

/// What a configuration takes in memory, known before anything is loaded.
public struct MemoryPlan: Sendable {
    /// Bytes of the repacked weights.
    public let weights: Int
    /// Bytes of all ranks' KV-caches.
    public let caches: Int
    /// Bytes of all ranks' and decode's scratch.
    public let arenas: Int
    /// Bytes of the rings between ranks.
    public let rings: Int
    /// Bytes that the machine (and the control group) can still give; nil when unknown.
    public let available: Int?

    public var total: Int { weights + caches + arenas + rings }

    /// - Throws: `EngineError` (memory) saying what is needed and what there is.
    package func check() throws(EngineError) {
        guard let available, total > available else { return }
        throw EngineError(
            .memory,
            "needs \(Self.text(total)) (weights \(Self.text(weights)), KV-cache \(Self.text(caches)), scratch "
                + "\(Self.text(arenas)), rings \(Self.text(rings))), has \(Self.text(available)); "
                + "a smaller context (-c), fewer ranks or an f16 cache takes less")
    }

    /// "1.5 GiB".
    public static func text(_ bytes: Int) -> String {
        var value = Double(bytes)
        for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
            if value < 1024 { return unit == "B" ? "\(bytes) B" : String(format: "%.1f %@", value, unit) }
            value /= 1024
        }
        return String(format: "%.1f PiB", value)
    }

    /// `MemAvailable` of the machine, in bytes.
    static func machineAvailable() -> Int? {
        guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
        for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
            let words = line.split(separator: " ")
            if words.count > 1, let kilobytes = Int(words[1]) { return kilobytes * 1024 }
        }
        return nil
    }
}
