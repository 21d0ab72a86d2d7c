import CCeilings
import Foundation

/// What the figures depend on: the machine that they were measured on.
enum Machine {
    /// The CPUs that this process may use.
    static let cpus: [Int32] = {
        var list = [Int32](repeating: 0, count: 1024)
        let count = ceiling_cpus(&list, list.count)
        // A machine of more CPUs than the C library's set has room for: all of them, then.
        return count > 0 ? Array(list.prefix(count)) : (0..<Int32(ProcessInfo.processInfo.activeProcessorCount)).map { $0 }
    }()

    /// 1, 2, 4 ... and all.
    static var threadCounts: [Int] {
        var counts = [1]
        while counts[counts.count - 1] * 2 < cpus.count { counts.append(counts[counts.count - 1] * 2) }
        return cpus.count > 1 ? counts + [cpus.count] : counts
    }

    /// Bytes of the largest cache, 32 MiB when /sys does not say.
    static let largestCache: Int = {
        let sizes = (0..<8).compactMap { bytes("/sys/devices/system/cpu/cpu0/cache/index\($0)/size") }
        return sizes.max() ?? 32 << 20
    }()

    /// Weights that no cache holds a good part of, yet a quarter of the free memory at most.
    static var bytesBeyondCaches: Int {
        max(64 << 20, min(max(512 << 20, 8 * largestCache), availableMemory / 4))
    }

    static func header(_ tables: [String]) -> String {
        let load = text("/proc/loadavg").split(separator: " ").prefix(1).joined()
        return """
            machine    \(value("model name", in: "/proc/cpuinfo") ?? "unknown CPU"), \(cpus.count) CPUs, \
            largest cache \(largestCache >> 20) MiB
            kernels    \(tables.joined(separator: ", "))
            load       \(load.isEmpty ? "unknown" : load) before the start
            """
    }

    private static var availableMemory: Int {
        let field = value("MemAvailable", in: "/proc/meminfo")?.split(separator: " ").first
        return (field.flatMap { Int($0) } ?? 4 << 20) * 1024
    }

    private static func text(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    /// The first `key : value` line.
    private static func value(_ key: String, in path: String) -> String? {
        for line in text(path).split(separator: "\n") where line.hasPrefix(key) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        return nil
    }

    /// "32768K" or "32M" in bytes.
    private static func bytes(_ path: String) -> Int? {
        let size = text(path).trimmingCharacters(in: .whitespacesAndNewlines)
        guard let number = Int(size.prefix { $0.isNumber }) else { return nil }
        return size.hasSuffix("K") ? number << 10 : size.hasSuffix("M") ? number << 20 : number
    }
}
