import Glibc

/// What can go wrong between ranks, workers and processes.
package enum FabricError: Error, Equatable, Sendable {
    /// The time allowed for this wait ran out.
    case deadline(_ what: String)
    /// The run was ended by its ``Interrupt``.
    case interrupted
    /// The other side of a ring closed it, ended, or has shown no sign of life.
    case peerGone(_ reason: String)
    /// The other side sent something else than what was due.
    case protocolViolation(expected: String, got: String)
    /// A system call failed.
    case system(call: String, errno: Int32)
    /// An argument or a header field has a value that cannot be worked with.
    case invalid(field: String, value: String)
    /// The system does not let as many threads run as are needed.
    case threads(started: Int, of: Int, for: String, errno: Int32)
    /// Handed a second job, or a second owner, while the first is still there.
    case busy(_ what: String)
}

extension FabricError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .deadline(let what): "\(what): the deadline passed"
        case .interrupted: "interrupted"
        case .peerGone(let reason): "the other side is gone: \(reason)"
        case .protocolViolation(let expected, let got): "expected \(expected), got \(got)"
        case .system(let call, let code): "\(call): \(String(cString: strerror(code))) (errno \(code))"
        case .invalid(let field, let value): "\(field) is \(value), which cannot be worked with"
        case .threads(let started, let count, let what, let code):
            "\(started) of \(count) threads for \(what) can be started: \(String(cString: strerror(code))) (errno \(code)); "
                + "the limits of processes and address space (ulimit -u, -v) or of the control group (pids.max) allow no more"
        case .busy(let what): "\(what) is busy"
        }
    }
}
