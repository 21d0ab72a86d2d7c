import CCeilings

/// Large memory of whole pages, huge ones where there are some; whoever writes a page first has it on its own node.
final class Memory: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let bytes: Int

    init(bytes: Int) throws(BenchmarkError) {
        guard bytes > 0, let base = ceiling_allocate(bytes) else { throw .noMemory(bytes: bytes) }
        self.base = base
        self.bytes = bytes
    }

    deinit { ceiling_release(base, bytes) }
}

/// Elements on their own cache lines.
final class Buffer<Element>: @unchecked Sendable {
    let base: UnsafeMutablePointer<Element>
    let count: Int

    init(_ count: Int, _ value: Element) {
        self.count = count
        let bytes = max(1, count) * MemoryLayout<Element>.stride
        base = UnsafeMutableRawPointer.allocate(byteCount: (bytes + 127) / 128 * 128, alignment: 128)
            .bindMemory(to: Element.self, capacity: max(1, count))
        base.initialize(repeating: value, count: count)
    }

    convenience init(_ values: [Element], _ value: Element) {
        self.init(values.count, value)
        for (index, element) in values.enumerated() { base[index] = element }
    }

    deinit { UnsafeMutableRawPointer(base).deallocate() }

    subscript(index: Int) -> Element { base[index] }

    /// The same bytes.
    func equals(_ other: Buffer<Element>) -> Bool {
        let bytes = count * MemoryLayout<Element>.stride
        return count == other.count
            && UnsafeRawBufferPointer(start: base, count: bytes).elementsEqual(
                UnsafeRawBufferPointer(start: other.base, count: bytes))
    }
}
