import Foundation
import KVFabric
import XCTest

final class SharedMemoryTests: XCTestCase {
    private var fileName: String { "/kvfabric-memory-\(getpid())" }

    func testAnonymousIsZeroedAndWritable() throws {
        let memory = try SharedMemory.anonymous(label: "plain", count: 10_000)
        XCTAssertEqual(memory.count, 10_000)
        XCTAssertNil(memory.name)
        let bytes = UnsafeMutableRawBufferPointer(start: memory.pointer, count: memory.count)
        XCTAssertTrue(bytes.allSatisfy { $0 == 0 })
        bytes[9_999] = 1
    }

    func testTwoMappingsOfOneFileAreTheSameBytes() throws {
        let first = try SharedMemory.anonymous(label: "shared", count: 4096)
        let second = try SharedMemory.attach(descriptor: first.descriptor)
        XCTAssertNotEqual(first.pointer, second.pointer)
        XCTAssertEqual(second.count, 4096)
        first.pointer.storeBytes(of: 42, toByteOffset: 8, as: Int.self)
        XCTAssertEqual(second.pointer.load(fromByteOffset: 8, as: Int.self), 42)
    }

    /// Shrinking would turn the other side's next access into a bus error.
    func testAnonymousCannotBeResized() throws {
        let memory = try SharedMemory.anonymous(label: "sealed", count: 8192)
        XCTAssertEqual(ftruncate(memory.descriptor, 4096), -1)
        XCTAssertEqual(errno, EPERM)
    }

    func testDescriptorsAreNotInherited() throws {
        let anonymous = try SharedMemory.anonymous(label: "closed", count: 4096)
        let named = try SharedMemory.create(name: fileName, count: 4096)
        let again = try SharedMemory.open(name: fileName)
        let attached = try SharedMemory.attach(descriptor: anonymous.descriptor)
        for memory in [anonymous, named, again, attached] {
            XCTAssertEqual(fcntl(memory.descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC)
        }
    }

    func testNamedLivesAsLongAsItsOwner() throws {
        var owner: SharedMemory? = try SharedMemory.create(name: fileName, count: 4096)
        owner?.pointer.storeBytes(of: 7, as: Int.self)
        XCTAssertThrowsError(try SharedMemory.create(name: fileName, count: 4096)) { error in
            XCTAssertEqual(error as? FabricError, .system(call: "shm_open \(self.fileName)", errno: EEXIST))
        }
        let guest = try SharedMemory.open(name: fileName)
        owner = nil
        XCTAssertEqual(guest.pointer.load(as: Int.self), 7, "a mapping outlives the name")
        XCTAssertThrowsError(try SharedMemory.open(name: fileName)) { error in
            XCTAssertEqual(error as? FabricError, .system(call: "shm_open \(self.fileName)", errno: ENOENT))
            XCTAssertTrue("\(error)".contains("No such file or directory"), "\(error)")
        }
        try SharedMemory.unlink(name: fileName)
    }

    func testMappingsAndDescriptorsAreReturned() throws {
        func open() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
        let before = try open()
        for _ in 0..<50 {
            let memory = try SharedMemory.create(name: fileName, count: 4096)
            _ = try SharedMemory.attach(descriptor: memory.descriptor)
            _ = try? SharedMemory.create(name: fileName, count: 4096)
        }
        XCTAssertEqual(try open(), before)
    }

    func testImpossibleSizes() {
        XCTAssertThrowsError(try SharedMemory.anonymous(label: "none", count: 0))
        XCTAssertThrowsError(try SharedMemory.anonymous(label: "less", count: -1))
        XCTAssertThrowsError(try SharedMemory.anonymous(label: "all", count: Int.max))
        XCTAssertThrowsError(try SharedMemory.create(name: fileName, count: 1 << 60))
        XCTAssertThrowsError(try SharedMemory.open(name: fileName), "nothing is left behind")
        XCTAssertThrowsError(try SharedMemory.attach(descriptor: -1))
    }
}
