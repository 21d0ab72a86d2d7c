import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// Order within and across streams, events, graphs, peers; and that the emulator shows what a mistake does.
final class StreamTests: EmulatedTestCase {
    func testCopies() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let (a, b) = (try context.allocate(400, for: "a"), try context.allocate(400, for: "b"))
        let values = (0..<100).map(Int32.init)
        try stream.upload(values, to: a.address)
        try stream.copy(a.address, to: b.address, bytes: 400)
        try stream.zero(b.address, bytes: 4)
        XCTAssertEqual(try stream.values(b.address, 100, of: Int32(7)), [0] + values.dropFirst())
        XCTAssertTrue(try stream.isDone())
    }

    /// A stream's work is not done before somebody asks for it twice.
    func testStreamsAreLate() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let memory = try context.allocate(4, for: "it")
        let host = try context.pinned(4)
        host.base.storeBytes(of: 1, as: Int32.self)
        try stream.upload(host.base, to: memory.address, bytes: 4)
        host.base.storeBytes(of: 2, as: Int32.self)
        XCTAssertFalse(try stream.isDone())
        XCTAssertEqual(try stream.values(memory.address, 1, of: Int32(0)), [2], "pinned memory is read when its turn comes")
    }

    func testMissingWaitIsSeenAndAWaitHelps() throws {
        let context = try open().context(0)
        let (first, second) = (try context.stream(), try context.stream())
        let memory = try context.allocate(4, for: "it")
        let copy = try context.allocate(4, for: "its copy")
        try first.upload([Int32(5)], to: memory.address)
        try second.copy(memory.address, to: copy.address, bytes: 4)
        XCTAssertEqual(try second.values(copy.address, 1, of: Int32(1)), [0])

        let event = try context.event()
        try first.upload([Int32(6)], to: memory.address)
        try first.record(event)
        try first.upload([Int32(7)], to: memory.address)
        try second.wait(event)
        try second.copy(memory.address, to: copy.address, bytes: 4)
        XCTAssertFalse(try event.isDone())
        XCTAssertEqual(try second.values(copy.address, 1, of: Int32(1)), [6], "as far as the event and no further")
        XCTAssertTrue(try event.isDone())
        XCTAssertEqual(try first.values(memory.address, 1, of: Int32(1)), [7])
    }

    func testTimedEvents() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let memory = try context.allocate(1 << 20, for: "it")
        let (start, end) = (try context.event(timed: true), try context.event(timed: true))
        try stream.record(start)
        try stream.zero(memory.address, bytes: 1 << 20)
        try stream.record(end)
        XCTAssertEqual(try error { _ = try end.milliseconds(since: start) }.code, .call)
        try stream.finish()
        XCTAssertGreaterThan(try end.milliseconds(since: start), 0)
        let plain = try context.event()
        try stream.record(plain)
        XCTAssertTrue(try error { _ = try plain.milliseconds(since: start) }.description.contains("INVALID_HANDLE"))
    }

    func testDeadlineAndInterruption() throws {
        let context = try open(["FAULT": "cuStreamQuery:600:after=0"]).context(0)
        let stream = try context.stream()
        XCTAssertEqual(
            try error { try stream.synchronise(deadline: monotonicNow() + 3_000_000, isInterrupted: { false }) },
            CUDAError(.deadline, "device 0's stream: the deadline passed"))
        var asked = 0
        let error = try error {
            try stream.synchronise(deadline: .max) {
                asked += 1
                return asked == 5
            }
        }
        XCTAssertEqual(error, CUDAError(.interrupted, "device 0's stream: interrupted"))
    }

    func testGraphs() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let (a, b) = (try context.allocate(8, for: "a"), try context.allocate(8, for: "b"))
        let host = try context.pinned(4)
        host.base.storeBytes(of: 1, as: Int32.self)
        let graph = try stream.capture { () throws(CUDAError) in
            try stream.upload(host.base, to: a.address, bytes: 4)
            try stream.copy(a.address, to: b.address, bytes: 4)
        }
        XCTAssertEqual(try stream.values(b.address, 1, of: Int32(9)), [0], "captured, not done")
        for value in Int32(3)..<6 {
            host.base.storeBytes(of: value, as: Int32.self)
            try stream.launch(graph)
            XCTAssertEqual(try stream.values(b.address, 1, of: Int32(9)), [value])
        }
    }

    func testGraphWithABranch() throws {
        let context = try open().context(0)
        let (stream, branch) = (try context.stream(), try context.stream())
        let (fork, join) = (try context.event(), try context.event())
        let (a, b) = (try context.allocate(4, for: "a"), try context.allocate(4, for: "b"))
        try stream.upload([Int32(4)], to: a.address)
        func record(joined: Bool) throws(CUDAError) -> DeviceGraph {
            try stream.capture { () throws(CUDAError) in
                try stream.record(fork)
                try branch.wait(fork)
                try branch.copy(a.address, to: b.address, bytes: 4)
                try branch.record(join)
                if joined { try stream.wait(join) }
                try stream.zero(a.address, bytes: 4)
            }
        }
        XCTAssertTrue(try error { _ = try record(joined: false) }.description.contains("STREAM_CAPTURE_UNJOINED"))
        try stream.launch(try record(joined: true))
        XCTAssertEqual(try stream.values(b.address, 1, of: Int32(9)), [4])
    }

    func testForbiddenInACapture() throws {
        let context = try open().context(0)
        let (stream, other) = (try context.stream(), try context.stream())
        let outside = try context.event()
        let memory = try context.allocate(4, for: "it")
        try other.zero(memory.address, bytes: 4)
        try other.record(outside)
        func text(_ body: () throws(CUDAError) -> Void) throws -> String {
            try error { _ = try stream.capture(body) }.description
        }
        XCTAssertTrue(
            try text { () throws(CUDAError) in _ = try stream.isDone() }
                .hasPrefix("cuStreamQuery failed with 900 CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"))
        XCTAssertTrue(
            try text { () throws(CUDAError) in _ = try context.allocate(4, for: "it") }.hasPrefix("cuMemAlloc failed with 900"))
        XCTAssertTrue(try text { () throws(CUDAError) in try stream.wait(outside) }.contains("STREAM_CAPTURE_ISOLATION"))
        // The stream works again after each.
        try stream.zero(memory.address, bytes: 4)
        try stream.finish()
        XCTAssertTrue(try stream.isDone())
    }

    func testTouchingBeyondAnAllocation() throws {
        let context = try open().context(0)
        let stream = try context.stream()
        let (a, b) = (try context.allocate(100, for: "a"), try context.allocate(200, for: "b"))
        try stream.copy(b.address, to: a.address, bytes: 101)
        let error = try error { try stream.finish() }
        XCTAssertEqual(
            error,
            CUDAError(
                .call, "cuStreamQuery failed with 700 CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"))
        XCTAssertTrue(try self.error { _ = try context.stream() }.description.contains("ILLEGAL_ADDRESS"), "the context is lost")
    }

    func testPeers() throws {
        let cuda = try open(["DEVICES": "2"])
        let (left, right) = (try cuda.context(0), try cuda.context(1))
        let (a, b) = (try left.allocate(4, for: "a"), try right.allocate(4, for: "b"))
        let (stream, other) = (try left.stream(), try right.stream())
        try stream.upload([Int32(8)], to: a.address)
        try stream.copy(a.address, of: left, to: b.address, of: right, bytes: 4)
        try stream.finish()
        XCTAssertEqual(try other.values(b.address, 1, of: Int32(0)), [8], "needs no peer access")
        try left.enablePeer(right)
        try left.enablePeer(right)
        try stream.copy(b.address, to: a.address, bytes: 4)
        try stream.finish()
        // The other way round it is not enabled.
        try other.copy(a.address, to: b.address, bytes: 4)
        XCTAssertTrue(try error { try other.finish() }.description.contains("ILLEGAL_ADDRESS"))
    }

    func testPeersThatCannot() throws {
        let cuda = try open(["DEVICES": "2", "PEERS": "0"])
        let (left, right) = (try cuda.context(0), try cuda.context(1))
        XCTAssertTrue(try error { try left.enablePeer(right) }.description.contains("CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"))
    }

    func testAStreamOfAnotherDeviceIsWaitedFor() throws {
        let cuda = try open(["DEVICES": "2"])
        let (left, right) = (try cuda.context(0), try cuda.context(1))
        let (a, b) = (try left.allocate(4, for: "a"), try right.allocate(4, for: "b"))
        let (stream, other, event) = (try left.stream(), try right.stream(), try left.event())
        try stream.upload([Int32(3)], to: a.address)
        try stream.copy(a.address, of: left, to: b.address, of: right, bytes: 4)
        try stream.record(event)
        try other.wait(event)
        XCTAssertEqual(try other.values(b.address, 1, of: Int32(0)), [3])
    }

    func testThreadsWithAStreamEach() throws {
        let cuda = try open(["DEVICES": "2"])
        let contexts = [try cuda.context(0), try cuda.context(1)]
        let failures = Failures()
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            do {
                let context = contexts[thread % 2]
                let stream = try context.stream()
                let (a, b) = (try context.allocate(400, for: "a"), try context.allocate(400, for: "b"))
                for round in 0..<50 {
                    let values = (0..<100).map { Int32(thread * 1_000_000 + round * 1000 + $0) }
                    try stream.upload(values, to: a.address)
                    try stream.copy(a.address, to: b.address, bytes: 400)
                    if try stream.values(b.address, 100, of: Int32(0)) != values {
                        failures.add("wrong values on thread \(thread)")
                    }
                }
            } catch {
                failures.add("\(error)")
            }
        }
        XCTAssertEqual(failures.all, [])
    }

    private final class Failures: @unchecked Sendable {
        private let lock = NSLock()
        private var texts: [String] = []
        var all: [String] { lock.withLock { texts } }
        func add(_ text: String) { lock.withLock { texts.append(text) } }
    }
}
