import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Why an output cannot be written: names the file.
package struct OutputError: Error, CustomStringConvertible, Sendable, Equatable {
    package let path: String
    package let reason: String
    /// The system's errno; 0 where it was not asked.
    package let code: Int32

    package var description: String { "\(path): cannot be written: \(reason)" }

    init(_ path: String, _ reason: String, code: Int32 = 0) {
        self.path = path
        self.reason = reason
        self.code = code
    }

    init(_ path: String, errno code: Int32) { self.init(path, String(cString: strerror(code)), code: code) }
}

/// A file that is written whole or not at all.
///
/// | the path names | what happens |
/// |---|---|
/// | nothing, or a regular file | a nameless file in the same folder takes the bytes; `commit` gives it the name, in one step |
/// | a symbolic link | the same for the link's target, in the target's folder; the link stays |
/// | a device or a FIFO | its bytes are written as they come |
/// | /dev/stdout, /dev/stderr, /dev/fd/N | the open descriptor's bytes are written as they come |
/// | a folder | `OutputError` |
///
/// A regular file keeps its permissions (and owner, where that may be set); a new one has those of the umask. Without `commit`, a regular file
/// is as it was. Opening fails where writing would: whoever opens outputs before the work learns of a wrong path before the work.
package final class OutputFile: Sendable {
    private struct State {
        /// Below 0: closed.
        var descriptor: Int32
        /// The name of the file that is not yet the output; nil: it has none.
        var temporary: String?
    }

    package let path: String
    /// What `commit` replaces; nil: written through.
    private let target: String?
    private let state: Mutex<State>

    /// Seconds that a FIFO without a reader is waited for.
    package static let patience = 10.0

    /// - Parameter isPrivate: a regular file is readable and writable by its owner alone, from the beginning.
    /// - Throws: `OutputError`.
    package init(_ path: String, isPrivate: Bool = false) throws(OutputError) {
        self.path = path
        switch try OutputPath(path) {
        case .descriptor(let number):
            let copy = fcntl(number, F_DUPFD_CLOEXEC, 3)
            guard copy >= 0 else { throw OutputError(path, errno: errno) }
            target = nil
            state = Mutex(State(descriptor: copy))
        case .through:
            target = nil
            state = Mutex(State(descriptor: try Self.openThrough(path)))
        case .regular(let target, let mode, let owner):
            self.target = target
            let mode: mode_t? = isPrivate ? 0o600 : mode
            let file = try Self.create(beside: target, mode ?? 0o666, for: path)
            // Before the first byte; another's file stays another's where that may be.
            if let owner, fchown(file.descriptor, owner.user, owner.group) != 0 {}
            if let mode, fchmod(file.descriptor, mode) != 0 {
                let error = OutputError(path, errno: errno)
                close(file.descriptor)
                if let name = file.temporary { unlink(name) }
                throw error
            }
            state = Mutex(file)
        }
    }

    deinit {
        state.withLock { state in
            if state.descriptor >= 0 { close(state.descriptor) }
            if let temporary = state.temporary { unlink(temporary) }
        }
    }

    /// Learns whether the path can be written, and changes nothing: no reader of a FIFO sees an end of file.
    /// - Throws: `OutputError`.
    package static func check(_ path: String) throws(OutputError) {
        if case .through = try OutputPath(path) {
            guard access(path, W_OK) == 0 else { throw OutputError(path, errno: errno) }
        } else {
            _ = try OutputFile(path)
        }
    }

    /// Replaces the file by this text, in one step.
    /// - Throws: `OutputError`.
    package static func write(_ text: String, to path: String, isPrivate: Bool = false) throws(OutputError) {
        let file = try OutputFile(path, isPrivate: isPrivate)
        try file.write(text)
        try file.commit()
    }

    /// - Throws: `OutputError`.
    package func write(_ text: String) throws(OutputError) {
        var text = text
        let error = text.withUTF8 { bytes -> OutputError? in
            do throws(OutputError) { try write(UnsafeRawBufferPointer(bytes)) } catch { return error }
            return nil
        }
        if let error { throw error }
    }

    /// - Throws: `OutputError`.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(OutputError) {
        let code = state.withLock { state -> Int32 in
            var rest = bytes
            while let base = rest.baseAddress, !rest.isEmpty {
                #if canImport(Glibc)
                    let count = Glibc.write(state.descriptor, base, rest.count)
                #else
                    let count = Musl.write(state.descriptor, base, rest.count)
                #endif
                if count < 0 {
                    if errno == EINTR { continue }
                    return errno
                }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            return 0
        }
        if code != 0 { throw OutputError(path, errno: code) }
    }

    /// The output is what was written, under its name; nothing can be written afterwards.
    /// - Throws: `OutputError`; a regular file is as it was before.
    package func commit() throws(OutputError) {
        let code = state.withLock { state -> Int32 in
            var code: Int32 = 0
            if let target {
                if state.temporary == nil {
                    let name = Self.temporaryName(beside: target)
                    if linkat(AT_FDCWD, "/proc/self/fd/\(state.descriptor)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 {
                        state.temporary = name
                    } else {
                        code = errno
                    }
                }
                if let name = state.temporary {
                    if code == 0 { code = rename(name, target) == 0 ? 0 : errno }
                    // A file that is itself mounted, as containers do, cannot be replaced: it takes the bytes.
                    let isMounted = code == EBUSY
                    if isMounted { code = Self.copy(state.descriptor, to: target) }
                    if isMounted || code != 0 { unlink(name) }
                    state.temporary = nil
                }
            }
            // What a file system on a network refuses late.
            if close(state.descriptor) != 0, code == 0 { code = errno }
            state.descriptor = -1
            return code
        }
        if code != 0 { throw OutputError(path, errno: code) }
    }

    /// - Returns: 0 or the errno.
    private static func copy(_ source: Int32, to target: String) -> Int32 {
        let descriptor = open(target, O_WRONLY | O_TRUNC | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        var offset: off_t = 0
        while true {
            let count = sendfile(descriptor, source, &offset, 1 << 30)
            if count < 0, errno == EINTR { continue }
            let code = count < 0 ? errno : 0
            if count > 0 { continue }
            return close(descriptor) == 0 || code != 0 ? code : errno
        }
    }

    // MARK: Opening

    private static func temporaryName(beside target: String) -> String {
        let folder = target.lastIndex(of: "/").map { String(target[...$0]) } ?? ""
        return "\(folder).kvcpu-\(getpid())-\(String(UInt64.random(in: 0 ... .max), radix: 36)).tmp"
    }

    /// Without a name where the file system can, so that nothing is left behind however the process ends.
    private static func create(beside target: String, _ mode: mode_t, for path: String) throws(OutputError) -> State {
        let folder = target.lastIndex(of: "/").map { String(target[...$0]) } ?? "."
        // O_TMPFILE is a macro that Swift does not import: its own bit and O_DIRECTORY's.
        let nameless = open(folder, 0o20000000 | O_DIRECTORY | O_RDWR | O_CLOEXEC, mode)
        if nameless >= 0 {
            // It gets its name through /proc.
            if access("/proc/self/fd/\(nameless)", F_OK) == 0 { return State(descriptor: nameless) }
            close(nameless)
        }
        let name = temporaryName(beside: target)
        let descriptor = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw OutputError(path, errno: errno) }
        return State(descriptor: descriptor, temporary: name)
    }

    /// A device or FIFO, open for writing.
    private static func openThrough(_ path: String) throws(OutputError) -> Int32 {
        var waited = 0.0
        while true {
            // Without waiting, as a FIFO that nobody reads would be waited for without end.
            let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
            if descriptor >= 0 {
                let flags = fcntl(descriptor, F_GETFL)
                _ = fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK)
                return descriptor
            }
            if errno == EINTR { continue }
            guard errno == ENXIO else { throw OutputError(path, errno: errno) }
            guard waited < patience else { throw OutputError(path, "nobody reads it", code: ENXIO) }
            usleep(20_000)
            waited += 0.02
        }
    }
}
