import Foundation
import Logging
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Standard output for the answer, standard error for everything else.
enum Terminal {
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }
    static var inputIsTerminal: Bool { isatty(STDIN_FILENO) == 1 }

    /// To standard error; what cannot be written there is lost.
    static func write(_ text: String) { _ = put(text, STDERR_FILENO) }
    static func line(_ text: String) { write(text + "\n") }
    static func error(_ message: String) {
        line(writesJSON ? JSONLogHandler.line(.error, label: "kvcpu", message) : "kvcpu: error: \(message)")
    }
    static func note(_ message: String) {
        line(writesJSON ? JSONLogHandler.line(.notice, label: "kvcpu", message) : "kvcpu: \(message)")
    }

    /// True: notes and errors are log events in JSON (`--log-format json`).
    static var writesJSON: Bool {
        get { json.load(ordering: .relaxed) }
        set { json.store(newValue, ordering: .relaxed) }
    }
    private static let json = Atomic<Bool>(false)

    /// To standard output.
    /// - Throws: `Failure` without a message when the reader has gone, as of `head`.
    static func output(_ text: String) throws(Failure) {
        guard put(text, STDOUT_FILENO) else { throw Failure(code: 1, message: "") }
    }

    private static func put(_ text: String, _ descriptor: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = Foundation.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count < 0 {
                    if errno == EINTR { continue }
                    return false
                }
                done += count
            }
            return true
        }
    }

    /// Columns of the terminal behind standard error; 80 when it is none.
    static var width: Int {
        var size = winsize()
        return ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20 ? Int(size.ws_col) : 80
    }

    static func warnIfDebugBuild() {
        #if DEBUG
            note("this is an unoptimised debug build: expect a tenth of the speed (swift build -c release)")
        #endif
    }
}

/// "12.3 ms", "4.56 s".
func duration(_ seconds: Double) -> String {
    seconds < 1 ? String(format: "%.1f ms", seconds * 1e3) : String(format: "%.2f s", seconds)
}
