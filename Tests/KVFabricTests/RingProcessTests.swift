import Foundation
import KVFabric
import XCTest

/// Two processes, one ring. Each test starts this test program again with one of the `testChild` methods, which are
/// skipped in the first process.
final class RingProcessTests: XCTestCase {
    private static let messages = Messages(count: Messages.many, largest: 8)
    private static let capacity = 1 << 14

    private func fileName(_ what: String) -> String { "/kvfabric-\(what)-\(getpid())" }

    private func role(_ expected: String) throws -> [String] {
        let fields = ChildProcess.role?.split(separator: " ").map(String.init) ?? []
        guard fields.first == expected else { throw XCTSkip("for the second process only") }
        return Array(fields.dropFirst())
    }

    // MARK: This process writes, the other one reads; they meet by name

    func testMillionsByName() throws {
        let name = fileName("name")
        let memory = try SharedMemory.create(name: name, count: Ring.bytes(capacity: Self.capacity))
        // Starts so that the positions pass the end of their 64 bits on the way.
        let ring = try Ring(makingIn: memory, capacity: Self.capacity, position: UInt64.max - 100_000)
        let producer = try RingProducer(ring, wait: .spinning, silence: 60_000_000_000)
        let child = try ChildProcess(test: "KVFabricTests.RingProcessTests/testChildReads", role: "reads \(name)")
        do {
            try Self.messages.write(to: producer)
        } catch {
            XCTFail("\(error)")
        }
        producer.close()
        XCTAssertNil(child.join())
    }

    func testChildReads() throws {
        let fields = try role("reads")
        let ring = try Ring(attachingTo: .open(name: fields[0]))
        try Self.messages.read(from: RingConsumer(ring, wait: .spinning, silence: 60_000_000_000))
    }

    // MARK: The other one writes, through an inherited descriptor

    func testMillionsByDescriptor() throws {
        let memory = try SharedMemory.anonymous(label: "inherited", count: Ring.bytes(capacity: Self.capacity))
        let consumer = try RingConsumer(Ring(makingIn: memory, capacity: Self.capacity), wait: .sleeping)
        let child = try ChildProcess(
            test: "KVFabricTests.RingProcessTests/testChildWrites", role: "writes", descriptor: memory.descriptor)
        do {
            try Self.messages.read(from: consumer)
        } catch {
            XCTFail("\(error)")
        }
        XCTAssertNil(child.join())
    }

    func testChildWrites() throws {
        _ = try role("writes")
        let ring = try Ring(attachingTo: .attach(descriptor: ChildProcess.descriptor))
        try Self.messages.write(to: RingProducer(ring, wait: .sleeping))
    }

    // MARK: The other one dies

    /// A peer that is killed closes nothing: its end shows in the process table alone.
    func testKilledPeerIsGone() throws {
        let name = fileName("killed")
        let memory = try SharedMemory.create(name: name, count: Ring.bytes(capacity: 64))
        let ring = try Ring(makingIn: memory, capacity: 64)
        let producer = try RingProducer(ring, wait: .sleeping)
        let consumerHasCome = [UInt8](repeating: 1, count: 65)
        let child = try ChildProcess(test: "KVFabricTests.RingProcessTests/testChildHangs", role: "hangs \(name)")
        // More than the ring holds: goes through once the child has read a byte, so it has its role by then.
        try consumerHasCome.withUnsafeBytes { try producer.write($0, deadline: patience, interrupt: nil) }
        child.kill()
        XCTAssertThrowsError(
            try consumerHasCome.withUnsafeBytes { try producer.write($0, deadline: patience, interrupt: nil) }
        ) { error in
            guard case .peerGone(let reason)? = error as? FabricError else { return XCTFail("\(error)") }
            XCTAssertTrue(reason.hasPrefix("the consumer, process ") && reason.hasSuffix(" ended"), reason)
        }
        XCTAssertNotNil(child.join())
    }

    func testChildHangs() throws {
        let fields = try role("hangs")
        let consumer = try RingConsumer(Ring(attachingTo: .open(name: fields[0])), wait: .sleeping)
        var byte: UInt8 = 0
        try withUnsafeMutableBytes(of: &byte) { try consumer.read(into: $0, deadline: patience, interrupt: nil) }
        // The parent kills this process; should it be gone itself, so is this one after a minute.
        sleep(60)
    }
}
