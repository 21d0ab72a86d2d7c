import Foundation
import KVFabric
import Synchronization
import XCTest

/// Barriers, interrupts and boards in memory that processes share: with faults in the middle of waits, and between two processes.
final class SharedWaitTests: XCTestCase {
    private func memory(_ lines: Int) throws -> SharedMemory {
        try MemoryFile(label: "waits").next(lines * CacheLine.bytes)
    }

    /// The same memory as a second process would see it: mapped once more.
    private func views(_ lines: Int) throws -> [Lines] {
        let file = try MemoryFile(label: "waits")
        let other = try file.next(lines * CacheLine.bytes)
        let again = try MemoryFile(attachingTo: file.descriptor)
        return [Lines(of: other), Lines(of: try again.next(lines * CacheLine.bytes))]
    }

    // MARK: Memory files

    func testPartsAreTheSameMemoryInOrder() throws {
        let file = try MemoryFile(label: "parts")
        let made = try [100, 5000, 1 << 20].map { try file.next($0) }
        try file.seal()
        assertThrows(.system(call: "ftruncate to \(file.count + 4096) bytes", errno: EPERM)) { _ = try file.next(1) }
        let attached = try MemoryFile(attachingTo: file.descriptor)
        for (index, part) in made.enumerated() {
            XCTAssertEqual(part.count, [100, 5000, 1 << 20][index])
            XCTAssertEqual(part.pointer.load(fromByteOffset: part.count - 1, as: UInt8.self), 0)
            part.pointer.storeBytes(of: UInt8(index + 1), toByteOffset: part.count - 1, as: UInt8.self)
            let same = try attached.next(part.count)
            XCTAssertEqual(same.pointer.load(fromByteOffset: part.count - 1, as: UInt8.self), UInt8(index + 1))
            XCTAssertNotEqual(same.pointer, part.pointer)
        }
        XCTAssertThrowsError(try attached.next(1)) { error in
            guard case .invalid(let field, _)? = error as? FabricError else { return XCTFail("\(error)") }
            XCTAssertEqual(field, "size of the memory file")
        }
        for count in [0, -1, Int.max] { XCTAssertThrowsError(try MemoryFile(label: "parts").next(count)) }
    }

    // MARK: Barriers and interrupts

    func testBarrierCarriesWrites() throws {
        let workers = 6
        // One mapping: the thread sanitizer takes words at two addresses for two words.
        let lines = Lines(of: try memory(Barrier.lines))
        let barriers = (0..<2).map { _ in Barrier(count: workers, wait: .sleeping, in: lines) }
        let interrupt = Interrupt(in: Lines(of: try memory(1)))
        let cells = UnsafeMutablePointer<Int>.allocate(capacity: workers)
        cells.initialize(repeating: 0, count: workers)
        defer { cells.deallocate() }
        nonisolated(unsafe) let shared = cells
        let findings = Findings()
        onThreads(workers) { index in
            findings.record("worker \(index)") {
                for round in 1...200 {
                    shared[index] = round
                    try barriers[index % 2].wait(interrupt, deadline: patience)
                    let sum = (0..<workers).reduce(0) { $0 + shared[$1] }
                    if sum != round * workers { findings.add("round \(round): sum \(sum)") }
                    try barriers[index % 2].wait(interrupt, deadline: patience)
                }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    /// One of five raises the interrupt, by its own view of it, while the others wait; then all begin again.
    func testInterruptRaisedInTheMiddleOfAWait() throws {
        let barriers = try views(Barrier.lines).map { Barrier(count: 5, wait: .init(spins: 64), in: $0) }
        let interrupts = try views(1).map { Interrupt(in: $0) }
        let findings = Findings()
        for round in 0..<20 {
            onThreads(5) { index in
                if index == 4 {
                    if round % 2 == 1 { usleep(2000) }
                    return interrupts[round % 2].raise()
                }
                do throws(FabricError) {
                    try barriers[index % 2].wait(interrupts[index % 2], deadline: patience)
                    findings.add("\(index) got through")
                } catch {
                    if error != .interrupted { findings.add("\(error)") }
                }
            }
            XCTAssertTrue(interrupts.allSatisfy(\.isRaised))
            XCTAssertEqual(interrupts[0].generation, UInt64(round + 1))
            interrupts[1].reset()
            barriers[0].reset()
            onThreads(5) { index in
                findings.record("worker \(index)") { try barriers[index % 2].wait(interrupts[index % 2], deadline: patience) }
            }
        }
        XCTAssertEqual(findings.all, [])
    }

    /// A member that never comes: the deadline passes for the one, who raises the interrupt for the others.
    func testDeadlineOfAnAbandonedBarrier() throws {
        let barriers = try views(Barrier.lines).map { Barrier(count: 4, wait: .sleeping, in: $0) }
        let interrupts = try views(1).map { Interrupt(in: $0) }
        let findings = Findings()
        onThreads(3) { index in
            do throws(FabricError) {
                let deadline = index == 0 ? MonotonicClock.deadline(after: 0.03) : patience
                try barriers[index % 2].wait(interrupts[index % 2], deadline: deadline)
            } catch {
                if error == .deadline("barrier") { interrupts[1].raise() }
                findings.add("\(error)")
            }
        }
        XCTAssertEqual(findings.all.sorted(), ["barrier: the deadline passed", "interrupted", "interrupted"])
    }

    // MARK: Boards

    /// An owner who is not the group's process: orders go by the board alone.
    func testBoardOfAnotherView() throws {
        let views = try views(JobBoard.lines)
        let owner = JobBoard(label: "group", count: 3, wait: .sleeping, in: views[0])
        owner.start()
        assertThrows(.busy("group: 0 of 3 workers are there; the group")) { try owner.join(deadline: patience) }
        let board = JobBoard(label: "group", count: 3, wait: .sleeping, in: views[1])
        let findings = Findings()
        let group = WorkerGroup(label: "group", cpus: [0, 0, 0], node: nil, board: board) { worker in
            findings.record("worker \(worker)") {
                try board.barrier.wait(Interrupt(), deadline: patience)
                findings.add("\(worker)")
            }
        }
        try owner.awaitWorkers(deadline: patience)
        for round in 1...50 {
            owner.start()
            try owner.join(deadline: patience)
            XCTAssertEqual(findings.all.count, 3 * round)
        }
        group.shutdown()
        owner.start()
        assertThrows(.busy("group: 0 of 3 workers are there; the group")) { try owner.join(deadline: patience) }
    }

    /// Workers that do not come, or do not finish: the owner's waits end by deadline or by trouble, and can be joined later.
    func testOwnerDoesNotWaitForEver() throws {
        let board = JobBoard(label: "group", count: 1, wait: .sleeping)
        let soon = MonotonicClock.deadline(after: 0.02)
        assertThrows(.deadline("start of the workers")) { try board.awaitWorkers(deadline: soon) }
        assertThrows(.peerGone("killed")) {
            try board.awaitWorkers(deadline: patience, trouble: { .peerGone("killed") })
        }
        let release = DispatchSemaphore(value: 0)
        let group = WorkerGroup(label: "group", cpus: [0], node: nil, board: board) { _ in release.wait() }
        board.start()
        assertThrows(.peerGone("killed")) { try board.join(deadline: patience, trouble: { .peerGone("killed") }) }
        assertThrows(.deadline("join of a worker group")) { try board.join(deadline: MonotonicClock.deadline(after: 0.02)) }
        release.signal()
        try board.join(deadline: patience)
        group.shutdown()
    }

    // MARK: Rings whose ends move

    /// Three that have a ring take its ends in turns; nobody's end closes it.
    func testEndsMove() throws {
        let file = try MemoryFile(label: "ring")
        let ring = try Ring(makingIn: try file.next(Ring.bytes(capacity: 256)), capacity: 256)
        let interrupt = Interrupt()
        var links = [try RingLink(ring, isMovable: true, wait: .sleeping)]
        for _ in 0..<2 {
            let other = try MemoryFile(attachingTo: file.descriptor)
            let same = try Ring(attachingTo: try other.next(Ring.bytes(capacity: 256)))
            links.append(try RingLink(same, isMovable: true, wait: .sleeping))
        }
        for round in 0..<9 {
            let (sender, receiver) = (links[round % 3], links[(round + 1) % 3])
            sender.take(.sender)
            receiver.take(.receiver)
            let segment = Segment(layer: round, rows: 0..<4)
            let findings = Findings()
            onThreads(2) { index in
                findings.record("end \(index)") {
                    // More than the ring holds.
                    var bytes = [UInt8](repeating: index == 0 ? UInt8(round + 1) : 0, count: 600)
                    if index == 0 {
                        try bytes.withUnsafeBytes {
                            try sender.send(segment, key: $0, value: $0, deadline: patience, interrupt: interrupt)
                        }
                    } else {
                        var values = bytes
                        try bytes.withUnsafeMutableBytes { key in
                            try values.withUnsafeMutableBytes { value in
                                try receiver.receive(segment, key: key, value: value, deadline: patience, interrupt: interrupt)
                            }
                        }
                        if bytes + values != [UInt8](repeating: UInt8(round + 1), count: 1200) { findings.add("other bytes") }
                    }
                }
            }
            XCTAssertEqual(findings.all, [])
            XCTAssertEqual(links[0].bytesSent, UInt64(1200 * (round + 1)))
        }
        // What an interrupted run left is dropped by anyone.
        links[0].take(.sender)
        let segment = Segment(layer: 0, rows: 0..<1)
        try [UInt8](repeating: 9, count: 8).withUnsafeBytes {
            try links[0].send(segment, key: $0, value: $0, deadline: patience, interrupt: interrupt)
        }
        try links[2].reset()
        links[1].take(.receiver)
        assertThrows(.deadline("bytes in a ring")) {
            var byte: UInt8 = 0
            try withUnsafeMutableBytes(of: &byte) {
                try links[1].receive(
                    segment, key: $0, value: $0, deadline: MonotonicClock.deadline(after: 0.02), interrupt: interrupt)
            }
        }
    }

    // MARK: Children

    private func shell(_ script: String, _ descriptors: [Int32] = []) throws -> Child {
        try Child("/bin/sh", arguments: ["sh", "-c", script], variable: "KVFABRIC_CHILD=yes", descriptors: descriptors)
    }

    func testHowChildrenEnd() throws {
        XCTAssertEqual(try shell("exit 7").reap(within: 60), .exited(code: 7))
        XCTAssertEqual(try shell("kill -11 $$").reap(within: 60), .killed(by: 11))
        let child = try shell("sleep 60")
        XCTAssertNil(child.reap())
        XCTAssertEqual(child.state, .running)
        kill(child.pid, SIGSTOP)
        while child.state != .stopped { usleep(1000) }
        child.kill()
        XCTAssertEqual(child.reap(within: 60), .killed(by: SIGKILL))
        XCTAssertEqual(child.reap(), .killed(by: SIGKILL))
        XCTAssertEqual(child.state, .ending)
        XCTAssertThrowsError(try Child("/nowhere", arguments: [], variable: "A=b", descriptors: [])) { error in
            XCTAssertEqual(error as? FabricError, .system(call: "start of /nowhere", errno: ENOENT))
        }
    }

    /// Who starts a child does not wait for it to go on: one that is stopped at its birth is there, is seen to be stopped, and goes on from there.
    func testStoppedAtBirth() throws {
        let list = "/proc/\(try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self"))/children"
        try XCTSkipUnless(FileManager.default.fileExists(atPath: list), "the kernel does not list children")
        let known = try String(contentsOfFile: list, encoding: .utf8)
        let own = try String(contentsOfFile: "/proc/self/cmdline", encoding: .utf8)
        var early = 0
        var rounds = 0
        // More where none was met early enough.
        while rounds < 60 || early == 0 && rounds < 1000 {
            rounds += 1
            let isStarted = Atomic(false)
            let stopped = Atomic<Int32>(0)
            let hunter = Thread {
                while !isStarted.load(ordering: .acquiring) {
                    guard let now = try? String(contentsOfFile: list, encoding: .utf8), now != known,
                        let pid = now.split(separator: " ").last.flatMap({ Int32($0) })
                    else { continue }
                    kill(pid, SIGSTOP)
                    return stopped.store(pid, ordering: .releasing)
                }
            }
            hunter.start()
            let start = MonotonicClock.now
            let child = try shell("exit 7")
            XCTAssertLessThan(Double(MonotonicClock.now - start) * 1e-9, 30)
            isStarted.store(true, ordering: .releasing)
            while !hunter.isFinished { usleep(100) }
            let pid = stopped.load(ordering: .acquiring)
            if pid != 0 {
                XCTAssertEqual(pid, child.pid)
                if try String(contentsOfFile: "/proc/\(pid)/cmdline", encoding: .utf8) == own { early += 1 }
                // A signal is on its way for a moment; one that came with the last breath stops nothing.
                let deadline = MonotonicClock.deadline(after: 30)
                while child.state == .running, MonotonicClock.now < deadline { usleep(100) }
                XCTAssertNotEqual(child.state, .running)
                kill(pid, SIGCONT)
            }
            XCTAssertEqual(child.reap(within: 60), .exited(code: 7))
        }
        print("\(early) of \(rounds) were stopped before they were the program")
        XCTAssertGreaterThan(early, 0)
    }

    /// It has what it was given and nothing else, in a group of its own.
    func testWhatChildrenInherit() throws {
        let memory = try SharedMemory.anonymous(label: "given", count: 4096)
        let leak = open("/dev/null", O_RDONLY)
        defer { close(leak) }
        // The shell's builtins alone: descriptors 0 to 4 and no more; its process group is its own.
        let script = """
            test "$KVFABRIC_CHILD" = yes || exit 1
            for fd in 0 1 2 3 4; do test -e /proc/$$/fd/$fd || exit 2; done
            test -e /proc/$$/fd/5 && exit 3
            test -e /proc/$$/fd/\(leak) && test \(leak) -gt 4 && exit 4
            read -r pid name state ppid group rest < /proc/$$/stat
            test "$group" = $$ || exit 5
            read line && exit 6
            exit 0
            """
        XCTAssertEqual(try shell(script, [memory.descriptor]).reap(within: 60), .exited(code: 0))
    }

    /// Letting go of a child ends it, stopped or not, and leaves no zombie.
    func testLetGo() throws {
        for signal in [0, SIGSTOP] {
            var child: Child? = try shell("sleep 60")
            let pid = child?.pid ?? 0
            if signal != 0 { kill(pid, signal) }
            child = nil
            XCTAssertEqual(kill(pid, 0), -1)
            XCTAssertEqual(errno, ESRCH)
        }
    }
}
