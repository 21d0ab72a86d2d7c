import Foundation

/// Bytes from a file, a pipe, a device or standard input, never more than a bound.
struct Input {
    /// Bytes of a text that no context holds: at six bytes a token, more than ten million tokens.
    static let textLimit = 64 << 20

    /// In messages.
    let name: String
    private let descriptor: Int32
    private let limit: Int
    /// Seconds that bytes are waited for; nil: as long as it takes.
    private let patience: Double?
    private let isOwn: Bool

    /// Reads to the end.
    /// - Parameters:
    ///   - path: nil or "-": standard input.
    ///   - limit: bytes.
    ///   - patience: seconds that a FIFO's writer, or a device, is waited for.
    /// - Throws: `Failure` (run) naming the file, for folders, for what cannot be read, and for more bytes than the limit.
    static func read(_ path: String?, limit: Int = textLimit, patience: Double = 30) throws(Failure) -> [UInt8] {
        let input = try Input(path, limit: limit, patience: patience)
        defer { input.close() }
        return try input.read()
    }

    private init(_ path: String?, limit: Int, patience: Double) throws(Failure) {
        self.limit = limit
        guard let path, path != "-" else {
            (name, descriptor, self.patience, isOwn) = ("standard input", STDIN_FILENO, nil, false)
            return
        }
        name = path
        isOwn = true
        guard !path.utf8.contains(0) else { throw .run("\(path): the name has a NUL") }
        if let number = Self.descriptor(path) {
            // The shell's <(…): a pipe as standard input is one.
            descriptor = fcntl(number, F_DUPFD_CLOEXEC, 3)
            self.patience = nil
        } else {
            // Without waiting, as a FIFO that nobody writes would be waited for without end.
            descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
            self.patience = patience
        }
        guard descriptor >= 0 else { throw .run("\(path): \(String(cString: strerror(errno)))") }
    }

    /// N of /dev/fd/N.
    private static func descriptor(_ path: String) -> Int32? {
        if path == "/dev/stdin" { return STDIN_FILENO }
        for folder in ["/dev/fd/", "/proc/self/fd/"] where path.hasPrefix(folder) { return Int32(path.dropFirst(folder.count)) }
        return nil
    }

    private func close() {
        if isOwn { Foundation.close(descriptor) }
    }

    private func fail(_ reason: String) -> Failure { .run("\(name): \(reason)") }

    private func read() throws(Failure) -> [UInt8] {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw fail(String(cString: strerror(errno))) }
        let tooMuch = fail("more than \(limit >> 20) MiB")
        if status.st_mode & S_IFMT == S_IFREG, status.st_size > limit { throw tooMuch }
        var bytes: [UInt8] = []
        if status.st_mode & S_IFMT == S_IFREG { bytes.reserveCapacity(Int(status.st_size)) }
        var block = [UInt8](repeating: 0, count: 1 << 16)
        let waits = status.st_mode & S_IFMT != S_IFREG
        while true {
            if waits { try wait() }
            let count = Foundation.read(descriptor, &block, block.count)
            if count < 0 {
                if errno == EINTR || errno == EAGAIN { continue }
                throw fail(String(cString: strerror(errno)))
            }
            if count == 0 { return bytes }
            guard count <= limit - bytes.count else { throw tooMuch }
            bytes += block[..<count]
        }
    }

    /// Until there are bytes, or the end.
    private func wait() throws(Failure) {
        let limit = patience.map { Int32(min(1e6, $0) * 1000) } ?? -1
        var file = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            let found = poll(&file, 1, limit)
            if found > 0 { return }
            if found == 0 { throw fail("nothing came within \(patience ?? 0) s") }
            if errno != EINTR { throw fail(String(cString: strerror(errno))) }
        }
    }

    /// Says so where standard input has bytes that nobody will read.
    /// - Parameter option: what the text is taken from instead.
    static func noteUnread(_ option: String) {
        var status = stat()
        guard fstat(STDIN_FILENO, &status) == 0 else { return }
        let isUnread: Bool
        switch status.st_mode & S_IFMT {
        case S_IFREG: isUnread = lseek(STDIN_FILENO, 0, SEEK_CUR) < status.st_size
        case S_IFIFO, S_IFSOCK:
            var file = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            isUnread = poll(&file, 1, 0) > 0 && Int32(file.revents) & POLLIN != 0
        default: isUnread = false
        }
        if isUnread { Terminal.note("standard input is not read: \(option) is given") }
    }
}

/// Lines of standard input, of bounded length.
final class InputLines {
    private let limit: Int
    private var bytes: [UInt8] = []
    private var start = 0
    private var isAtEnd = false

    /// - Parameter limit: bytes of a line.
    init(limit: Int = Input.textLimit) { self.limit = limit }

    enum Line: Equatable {
        case text(String)
        /// Why it is not taken; the next line can be.
        case refused(String)
        case end
    }

    /// - Throws: `Failure` where standard input cannot be read.
    func next() throws(Failure) -> Line {
        var isTooLong = false
        var searched = start
        while true {
            if let end = bytes[searched...].firstIndex(of: 0x0A) {
                let line = bytes[start..<end]
                start = end + 1
                return isTooLong ? refusal : take(line)
            }
            if bytes.count - start > limit {
                isTooLong = true
                bytes.removeAll(keepingCapacity: true)
                start = 0
            }
            searched = bytes.count
            if isAtEnd {
                guard isTooLong || start < bytes.count else { return .end }
                let line = bytes[start...]
                start = bytes.count
                return isTooLong ? refusal : take(line)
            }
            if start > 0 {
                bytes.removeSubrange(..<start)
                searched -= start
                start = 0
            }
            try fill()
        }
    }

    private var refusal: Line { .refused("a line of more than \(limit >> 20) MiB is not taken") }

    private func take(_ line: ArraySlice<UInt8>) -> Line {
        let line = line.last == 0x0D ? line.dropLast() : line
        guard let text = String(validating: line, as: UTF8.self) else {
            let offset = PromptOptions.firstInvalid(Array(line))
            return .refused("the line is not UTF-8 (first wrong byte at offset \(offset)): it is not taken")
        }
        return .text(text)
    }

    private func fill() throws(Failure) {
        var block = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(STDIN_FILENO, &block, block.count)
            if count >= 0 {
                isAtEnd = count == 0
                bytes += block[..<count]
                return
            }
            if errno == EAGAIN {
                var file = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                _ = poll(&file, 1, -1)
            } else if errno != EINTR {
                throw .run("standard input: \(String(cString: strerror(errno)))")
            }
        }
    }
}
