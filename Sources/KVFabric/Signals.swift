import CKVLinux
import Glibc
import Synchronization

/// SIGINT (Ctrl-C), SIGTERM and SIGHUP, told to whoever handles them, on a thread of their own.
///
/// Until the first handler is set they end the process, as usual; also where a handler was set and is gone.
package enum Signals {
    package typealias Handler = @Sendable (_ signal: Int32) -> Void

    private static let handler = Mutex<Handler?>(nil)
    /// False: they could not be had; they end the process as usual.
    private static let areTold: Bool = {
        let signals = [SIGINT, SIGTERM, SIGHUP]
        let end = ckv_signals_told(signals, Int32(signals.count))
        guard end >= 0 else { return false }
        var thread = pthread_t()
        let argument = UnsafeMutableRawPointer(bitPattern: Int(end))
        if pthread_create(&thread, nil, { Signals.read(Int32(Int(bitPattern: $0))) }, argument) == 0 { return true }
        for signal in signals { Glibc.signal(signal, SIG_DFL) }
        return false
    }()

    /// Sets the one handler; nil: none.
    package static func handle(_ new: Handler?) {
        handler.withLock { $0 = new }
        _ = areTold
    }

    private static func read(_ end: Int32) -> UnsafeMutableRawPointer? {
        var byte: UInt8 = 0
        while true {
            let count = Glibc.read(end, &byte, 1)
            if count < 0, errno == EINTR { continue }
            guard count == 1 else { return nil }
            let signal = Int32(byte)
            // Outside the lock: it may take its time, and set another.
            if let handler = handler.withLock({ $0 }) { handler(signal) } else { ckv_signals_end_by(signal) }
        }
    }
}

/// The process's standard streams and arguments, as it was started with them.
package enum Startup {
    /// Gives standard streams that are closed to something that can neither be read nor written: first of all.
    package static func openStreams() { _ = ckv_streams_open() }

    /// The arguments without the program's name; nil where the system does not tell.
    package static var arguments: [String]? {
        var values: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = ckv_arguments(&values)
        guard count > 0, let values else { return nil }
        return (1..<max(1, Int(count))).compactMap { values[$0].map { String(cString: $0) } }
    }
}
