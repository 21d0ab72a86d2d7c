/// What memory there is to be had at a moment.
package enum AvailableMemory {
    /// Bytes that the machine (`MemAvailable`) and this process's control groups can still give; nil where neither is known.
    /// - Parameter root: of /proc and /sys; tests have their own.
    package static func bytes(root: String = "") -> Int? {
        let files = SystemFiles(root: root)
        let machine = files.memory(at: "/proc/meminfo", prefix: "").reported
        return [machine, ControlGroup.memoryAvailable(files: files)].compactMap(\.self).min().map { Int(clamping: $0) }
    }

    /// Of the machine alone.
    package static func machine(root: String = "") -> Int? {
        SystemFiles(root: root).memory(at: "/proc/meminfo", prefix: "").reported.map { Int(clamping: $0) }
    }
}
