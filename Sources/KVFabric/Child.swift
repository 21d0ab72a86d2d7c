import CKVLinux
import Glibc

/// A process that this one has started. Killed and reaped when let go of; it learns of our end by its lifeline.
package final class Child: @unchecked Sendable {
    // Used by one thread at a time.
    package let pid: Int32
    /// The end of a pipe whose other end is the child's: that one's end of file means that we are gone.
    private let lifeline: Int32
    private var end: End?

    /// How a process ended.
    package enum End: Equatable, Sendable {
        case killed(by: Int32)
        case exited(code: Int32)
        /// Somebody else has waited for it.
        case unknown
    }

    /// The number under which the child finds its end of the lifeline; given descriptors follow.
    package static let firstDescriptor: Int32 = 3

    /// Starts a program that inherits the standard streams (with an empty input) and the descriptors given, nothing else; in a process group
    /// of its own, so that a terminal's signals are for us alone.
    ///
    /// - Parameter variable: "NAME=value", added to the environment.
    /// - Throws: `.system` naming the program.
    package init(
        _ program: String, arguments: [String], variable: String, descriptors: [Int32]
    ) throws(FabricError) {
        var pid: Int32 = 0
        let strings = arguments.map { strdup($0) }
        defer { for string in strings { free(string) } }
        let pointers = strings.map { $0.map { UnsafePointer($0) } } + [nil]
        var lifeline: Int32 = -1
        let code = ckv_process_start(program, pointers, variable, descriptors, Int32(descriptors.count), &pid, &lifeline)
        guard code == 0 else { throw .system(call: "start of \(program)", errno: code) }
        self.pid = pid
        self.lifeline = lifeline
    }

    deinit {
        kill()
        reap(within: 5)
        close(lifeline)
    }

    /// Ends it, also if it is stopped.
    package func kill() {
        if end == nil { _ = Glibc.kill(pid, SIGKILL) }
    }

    /// How it ended; nil while it runs. Allocates nothing.
    /// - Parameter limit: seconds to wait for its end.
    @discardableResult
    package func reap(within limit: Double = 0) -> End? {
        if let end { return end }
        let deadline = limit > 0 ? MonotonicClock.deadline(after: limit) : 0
        var signal: Int32 = 0
        var code: Int32 = 0
        while true {
            switch ckv_process_reap(pid, &signal, &code) {
            case 0:
                guard MonotonicClock.now < deadline else { return nil }
                usleep(200)
                continue
            case 1: end = signal == 0 ? .exited(code: code) : .killed(by: signal)
            default: end = .unknown
            }
            return end
        }
    }

    /// What holds it up, as the system says.
    package enum State: Sendable {
        /// It runs, or waits for a CPU, memory or a disk.
        case running
        case stopped
        /// Its threads are ending, or it has ended.
        case ending
    }

    package var state: State {
        switch UInt8(bitPattern: ckv_process_state(pid)) {
        case UInt8(ascii: "T"), UInt8(ascii: "t"): .stopped
        case UInt8(ascii: "Z"), UInt8(ascii: "X"), 0: .ending
        default: .running
        }
    }

    /// For the child: the system kills it when the thread that has started it ends, even if it is stopped then (see ``Children``).
    package static func endWithParentsThread() { _ = ckv_process_end_with_parent() }

    /// For the child: waits until our end, at most so many milliseconds; true if it has come.
    package static func awaitParentsEnd(milliseconds: Int32) -> Bool {
        var lifeline = pollfd(fd: firstDescriptor, events: Int16(POLLIN), revents: 0)
        return poll(&lifeline, 1, milliseconds) > 0
    }
}
