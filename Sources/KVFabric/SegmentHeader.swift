/// What goes through a ring ahead of a segment's bytes, or in their place.
struct SegmentHeader: Equatable {
    /// Its size in the ring: five fields without a gap, so its bytes are what it says.
    static let bytes = 5 * 8

    var layer: Int64
    var lower: Int64
    var upper: Int64
    /// Payload bytes that follow; 0 when they are only described.
    var keyBytes: Int64
    var valueBytes: Int64

    init(_ segment: Segment, keyBytes: Int, valueBytes: Int) {
        layer = Int64(segment.layer)
        lower = Int64(segment.rows.lowerBound)
        upper = Int64(segment.rows.upperBound)
        self.keyBytes = Int64(keyBytes)
        self.valueBytes = Int64(valueBytes)
    }

    func write(to producer: RingProducer, deadline: UInt64, interrupt: Interrupt) throws(FabricError) {
        var header = self
        try withUnsafeMutableBytes(of: &header) { (bytes) throws(FabricError) in
            try producer.write(UnsafeRawBufferPointer(bytes), deadline: deadline, interrupt: interrupt)
        }
    }

    /// Reads a header and holds it against the one due.
    func expect(from consumer: RingConsumer, deadline: UInt64, interrupt: Interrupt) throws(FabricError) {
        var got = self
        try withUnsafeMutableBytes(of: &got) { (bytes) throws(FabricError) in
            try consumer.read(into: bytes, deadline: deadline, interrupt: interrupt)
        }
        guard got == self else {
            throw .protocolViolation(expected: description, got: got.description)
        }
    }

    // Spelled out instead of a `Segment`: bytes from elsewhere need not make a range.
    private var description: String {
        "rows \(lower)..<\(upper) of layer \(layer) (\(keyBytes) + \(valueBytes) bytes follow)"
    }
}
