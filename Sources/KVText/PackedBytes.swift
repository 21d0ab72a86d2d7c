/// Many short byte strings in one allocation: a vocabulary's tokens, or its merges.
///
/// A Swift `String` or `[UInt8]` for each of 49,152 tokens would cost as many allocations; here loading is one copy.
package struct PackedBytes: Sendable {
    /// All strings, one behind the other.
    package private(set) var bytes: [UInt8] = []
    /// Where each string ends in `bytes` (it starts where the one before it ends).
    private var ends: [Int] = []

    package init() {}

    package init(_ strings: some Sequence<String>) {
        for string in strings { append(string.utf8) }
    }

    package var count: Int { ends.count }

    package mutating func reserveCapacity(count: Int, bytes byteCount: Int) {
        ends.reserveCapacity(count)
        bytes.reserveCapacity(byteCount)
    }

    package mutating func append(_ string: some Sequence<UInt8>) {
        bytes.append(contentsOf: string)
        ends.append(bytes.count)
    }

    /// Appends without going through an iterator: the loading path.
    package mutating func append(_ string: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: string)
        ends.append(bytes.count)
    }

    /// Where string `index` lies in `bytes`.
    package func range(_ index: Int) -> Range<Int> {
        (index == 0 ? 0 : ends[index - 1])..<ends[index]
    }

    /// The length of the longest string. O(n).
    package var longest: Int {
        var start = 0
        var longest = 0
        for end in ends {
            longest = max(longest, end - start)
            start = end
        }
        return longest
    }

    package subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }

    /// String `index`, invalid UTF-8 shown as U+FFFD.
    package func string(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }
}
