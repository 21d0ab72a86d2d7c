import CKVLinux

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A file mapped read-only for its lifetime. One that shrinks meanwhile reads as zeros there, and `change` tells.
final class MappedFile: @unchecked Sendable {
    // Immutable; the pages are read-only.
    let path: String
    let bytes: UnsafeRawBufferPointer
    /// Open as long as the mapping, so that a removed file can be opened again by its number; -1: no file.
    let descriptor: Int32
    /// Of the file when it was opened; empty for what no file holds.
    let state: String
    private let watch: Int32

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
        let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK
        let way = OpenFiles.way(to: path)
        var descriptor = open(way, flags)
        if descriptor < 0, way != path { descriptor = open(path, flags) }
        guard descriptor >= 0 else { throw errno == ENOENT ? .notFound : .system(call: "open", code: errno) }
        do throws(Failure) {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw .system(call: "fstat", code: errno) }
            guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
            guard status.st_size > 0 else { throw .empty }
            let size = Int(status.st_size)
            guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
                throw .system(call: "mmap", code: errno)
            }
            bytes = UnsafeRawBufferPointer(start: base, count: size)
            state = Self.state(status)
            watch = ckv_mapping_watch(base, size)
        } catch {
            close(descriptor)
            throw error
        }
        self.descriptor = descriptor
    }

    /// Device, number, size and times of the last change of contents and of anything.
    private static func state(_ status: stat) -> String {
        "\(status.st_dev) \(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
    }

    /// What has happened to the file since it was opened; nil: nothing, so that all that was read until now is what it held then. A file that was
    /// renamed or removed is the same.
    var change: String? {
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return "it cannot be looked at any more" }
        if ckv_mapping_is_damaged(watch) != 0 || Int(status.st_size) < bytes.count {
            return "it has shrunk from \(bytes.count) to \(status.st_size) bytes"
        }
        return Self.state(status) == state ? nil : "it has been written to"
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
        descriptor = -1
        state = ""
        watch = -1
    }

    deinit {
        ckv_mapping_forget(watch)
        munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
        if descriptor >= 0 { close(descriptor) }
    }
}
