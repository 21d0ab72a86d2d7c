#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A run of memory: reserved address space, whose pages come with the first touch; or somebody else's, who is kept alive with it.
package final class Region: @unchecked Sendable {
    // Constant; who writes what of the memory is for those who use it to settle.
    package let base: UnsafeMutableRawPointer
    package let bytes: Int
    /// Of memory that was lent; nil: it is ours to give back.
    private let owner: (any AnyObject & Sendable)?

    /// - Parameter what: it is for, as the error names it.
    /// - Throws: `ModelError` when there is no address space.
    package init(reserving bytes: Int, for what: String) throws(ModelError) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let base = mmap(nil, max(bytes, 1), PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else {
            throw ModelError(.memory, "no address space for \(what) of \(bytes) bytes: errno \(errno)")
        }
        self.base = base
        self.bytes = max(bytes, 1)
        owner = nil
    }

    /// `lent` if it is large enough, else address space of its own.
    /// - Throws: `ModelError` when what is lent is too small, or there is none.
    static func of(_ bytes: Int, for what: String, lent: Region?) throws(ModelError) -> Region {
        guard let lent else { return try Region(reserving: bytes, for: what) }
        guard lent.bytes >= bytes else { throw ModelError(.memory, "\(lent.bytes) bytes lent for \(what) of \(bytes)") }
        return lent
    }

    /// Memory that `owner` keeps, zeroed, such as what processes share.
    package init(base: UnsafeMutableRawPointer, bytes: Int, owner: any AnyObject & Sendable) {
        self.base = base
        self.bytes = bytes
        self.owner = owner
    }

    deinit {
        if owner == nil { munmap(base, bytes) }
    }
}

/// Offsets of parts of a region, each on cache lines of its own.
package struct Layout: Sendable {
    package private(set) var bytes = 0
    private let alignment: Int

    /// - Parameter alignment: of each part, in bytes; on CPUs two cache lines.
    package init(alignment: Int = 128) { self.alignment = alignment }

    package mutating func reserve(_ count: Int) -> Int {
        let offset = bytes
        bytes += (count + alignment - 1) / alignment * alignment
        return offset
    }
}
