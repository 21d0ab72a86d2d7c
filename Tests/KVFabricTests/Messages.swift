import Foundation
import KVFabric

/// A stream of numbered messages with checksums, the same on both sides of a ring.
///
/// A message is its number, its size, a checksum of both and of the bytes, and the bytes. A lost, repeated, torn or
/// reordered one does not have the number, size or checksum that is due.
struct Messages: Sendable {
    struct Torn: Error, CustomStringConvertible {
        let description: String
    }

    var count: Int
    /// Most bytes after a message's header.
    var largest: Int

    #if DEBUG
        // Debug builds and sanitizers take some hundred times longer a message.
        static let few = 2_000
        static let many = 200_000
    #else
        static let few = 100_000
        /// A third of the tests' ten million: between threads, between processes over a name, and over a descriptor.
        static let many = 3_400_000
    #endif

    private static let headerBytes = 24

    private static func fill(_ body: UnsafeMutableRawBufferPointer, number: UInt64) -> UInt64 {
        var state = number &* 0x9e37_79b9_7f4a_7c15 ^ UInt64(body.count)
        var checksum: UInt64 = 0xcbf2_9ce4_8422_2325 ^ number
        for index in body.indices {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            body[index] = UInt8(truncatingIfNeeded: state >> 56)
            checksum = (checksum ^ UInt64(body[index])) &* 0x100_0000_01b3
        }
        return checksum
    }

    private func size(_ number: Int) -> Int {
        Int((UInt64(number) &* 0x2545_f491_4f6c_dd1d) >> 33) % (largest + 1)
    }

    /// Calls the body with the bytes of each message, in a buffer that is used again.
    private func each(_ body: (Int, UnsafeMutableRawBufferPointer) throws -> Void) rethrows {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.headerBytes + largest, alignment: 8)
        defer { buffer.deallocate() }
        for number in 0..<count {
            let size = size(number)
            let message = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(Self.headerBytes + size)])
            let rest = UnsafeMutableRawBufferPointer(rebasing: message[Self.headerBytes...])
            message.storeBytes(of: UInt64(number), toByteOffset: 0, as: UInt64.self)
            message.storeBytes(of: UInt64(size), toByteOffset: 8, as: UInt64.self)
            message.storeBytes(of: Self.fill(rest, number: UInt64(number)), toByteOffset: 16, as: UInt64.self)
            try body(number, message)
        }
    }

    func write(to producer: RingProducer) throws {
        let deadline = MonotonicClock.deadline(after: 300)
        try each { _, message in
            try producer.write(UnsafeRawBufferPointer(message), deadline: deadline, interrupt: nil)
        }
    }

    func read(from consumer: RingConsumer) throws {
        let deadline = MonotonicClock.deadline(after: 300)
        let got = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.headerBytes + largest, alignment: 8)
        defer { got.deallocate() }
        try each { number, expected in
            let message = UnsafeMutableRawBufferPointer(rebasing: got[..<expected.count])
            try consumer.read(into: message, deadline: deadline, interrupt: nil)
            guard message.elementsEqual(expected) else {
                throw Torn(description: "message \(number): \(Array(message)) instead of \(Array(expected))")
            }
        }
        guard try consumer.peek(1).isEmpty else { throw Torn(description: "bytes after message \(count)") }
    }
}
