package import Synchronization

// The one file that binds `Synchronization.Atomic` to memory not made by it: a cache line in the heap, or memory
// shared with another process. An `Atomic` of a fixed-width integer is that integer and nothing else, so zeroed
// memory is a valid one; `Ring` relies on both sides of a mapping seeing the same word.

/// A 32-bit atomic word in memory that someone else owns. Futexes work on these.
package typealias SharedWord32 = UnsafeMutablePointer<Atomic<UInt32>>

/// A 64-bit atomic word in memory that someone else owns.
package typealias SharedWord64 = UnsafeMutablePointer<Atomic<UInt64>>

extension UnsafeMutableRawPointer {
    /// The 32-bit word at this many bytes from here (a multiple of 4). Does not touch the memory.
    package func word32(at offset: Int) -> SharedWord32 {
        (self + offset).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// The 64-bit word at this many bytes from here (a multiple of 8). Does not touch the memory.
    package func word64(at offset: Int) -> SharedWord64 {
        (self + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Zeroed memory of whole cache lines for words; the owner deallocates it.
    static func allocateLines(_ count: Int) -> UnsafeMutableRawPointer {
        let lines = allocate(byteCount: count * CacheLine.bytes, alignment: CacheLine.bytes)
        lines.initializeMemory(as: UInt8.self, repeating: 0, count: count * CacheLine.bytes)
        return lines
    }
}

/// The distance at which two words do not disturb each other: two lines of 64 bytes, as they are fetched in pairs.
package enum CacheLine {
    package static let bytes = 128
}
