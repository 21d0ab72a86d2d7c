#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A file mapped read-only for its lifetime.
final class MappedFile: @unchecked Sendable {
    // Immutable; the pages are read-only.
    let path: String
    let bytes: UnsafeRawBufferPointer

    enum Failure: Error {
        case notFound, notAFile, empty
        case system(call: String, code: Int32)

        var reason: String {
            switch self {
            case .notFound: "no such file"
            case .notAFile: "not a regular file"
            case .empty: "the file is empty"
            case .system(let call, let code): "\(call): \(String(cString: strerror(code)))"
            }
        }
    }

    init(path: String) throws(Failure) {
        self.path = path
        // A FIFO without a writer would not open otherwise.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw errno == ENOENT ? .notFound : .system(call: "open", code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(call: "fstat", code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
        guard status.st_size > 0 else { throw .empty }
        let size = Int(status.st_size)
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
            throw .system(call: "mmap", code: errno)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    /// What no file holds: a copy of `contents`, not empty.
    /// - Parameter name: in messages.
    init(name: String, contents: [UInt8]) throws(Failure) {
        path = name
        guard !contents.isEmpty else { throw .empty }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS
        guard let base = mmap(nil, contents.count, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED else {
            throw .system(call: "mmap", code: errno)
        }
        contents.withUnsafeBytes { base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count) }
        bytes = UnsafeRawBufferPointer(start: base, count: contents.count)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}
