/// Zeroed cache lines for atomic words: in the heap, or in memory that processes share.
package final class Lines: @unchecked Sendable {
    // Constant; what lies there is for those who use it to settle.
    package let base: UnsafeMutableRawPointer
    /// Other processes may see them: who sleeps on their words sleeps so that these can wake him.
    package let isShared: Bool
    /// Who keeps the lines; nil: this object does.
    private let owner: (any AnyObject & Sendable)?

    /// Of this process alone.
    package init(_ count: Int) {
        base = .allocateLines(count)
        isShared = false
        owner = nil
    }

    /// Those of memory that processes share.
    package init(of memory: SharedMemory) {
        base = memory.pointer
        isShared = true
        owner = memory
    }

    /// Some of these, from the given one on.
    package init(of lines: Lines, from line: Int) {
        base = lines.base + line * CacheLine.bytes
        isShared = lines.isShared
        owner = lines
    }

    deinit {
        if owner == nil { base.deallocate() }
    }
}
