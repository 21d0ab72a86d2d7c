/// A cursor over untrusted little-endian bytes: every step is checked against the end.
struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    var remaining: Int { bytes.count - position }

    /// The next `count` bytes, or nil when there are fewer.
    mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, count <= remaining else { return nil }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type) -> T? {
        take(MemoryLayout<T>.size).map { T(littleEndian: $0.loadUnaligned(as: T.self)) }
    }

    /// A count that fits an Int.
    mutating func count() -> Int? { integer(UInt64.self).flatMap { Int(exactly: $0) } }

    /// A length-prefixed string's bytes.
    mutating func stringBytes() -> UnsafeRawBufferPointer? { count().flatMap { take($0) } }
}
