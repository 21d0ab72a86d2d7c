import Foundation
import KVGGUF
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

    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// To standard error, control characters made visible; what cannot be written there is lost.
    static func write(_ text: String) { _ = put(text.visible(), STDERR_FILENO) }
    static func line(_ text: String) { write(text + "\n") }
    /// A sequence that the terminal behind standard error is to obey; nothing from outside belongs into it.
    static func control(_ sequence: String) { _ = put(sequence, STDERR_FILENO) }
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

    /// A report to standard output, control characters made visible.
    /// - Throws: `Failure` as `raw`.
    static func report(_ text: String) throws(Failure) { try raw(text.visible()) }

    /// What a model or the user wrote, to standard output: as it is, but at a terminal control characters are made visible.
    /// - Parameter isRaw: at a terminal, too, it is as it is.
    /// - Throws: `Failure` as `raw`.
    static func output(_ text: String, isRaw: Bool = false) throws(Failure) {
        try raw(!isRaw && outputIsTerminal ? text.visible(bidi: false) : text)
    }

    /// To standard output as it is.
    /// - Throws: `Failure`, without a message when the reader has gone, as of `head`.
    static func raw(_ text: String) throws(Failure) {
        let code = put(text, STDOUT_FILENO)
        if code != 0 { throw Failure(code: 1, message: code == EPIPE ? "" : "standard output: \(String(cString: strerror(code)))") }
    }

    /// Finds a standard output that is closed before the work.
    /// - Throws: `Failure` naming it.
    static func checkOutput() throws(Failure) {
        let flags = fcntl(STDOUT_FILENO, F_GETFL)
        // So is what a closed stream is given at the start.
        guard flags >= 0, flags & O_ACCMODE != O_RDONLY else {
            throw .run("standard output: \(String(cString: strerror(EBADF)))")
        }
    }

    /// - Returns: 0 or the errno.
    private static func put(_ text: String, _ descriptor: Int32) -> Int32 {
        var text = text
        return text.withUTF8 { bytes in
            var done = 0
            while done < bytes.count {
                let count = Foundation.write(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done)
                if count < 0 {
                    if errno == EINTR { continue }
                    if errno == EAGAIN, waitToWrite(descriptor) { continue }
                    return errno
                }
                done += count
            }
            return 0
        }
    }

    /// A stream that another program has set not to wait.
    private static func waitToWrite(_ descriptor: Int32) -> Bool {
        var descriptor = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&descriptor, 1, -1) > 0 || errno == EINTR
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
