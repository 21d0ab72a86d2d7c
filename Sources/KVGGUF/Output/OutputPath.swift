#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What a path for an output names.
enum OutputPath {
    case descriptor(Int32)
    /// A device, FIFO or socket.
    case through
    /// - Parameters:
    ///   - target: behind all symbolic links.
    ///   - mode: nil where there is no such file yet, as `owner` is.
    case regular(target: String, mode: mode_t?, owner: (user: uid_t, group: gid_t)?)

    /// - Throws: `OutputError` for folders, for files that may not be written, and where there is no folder for the file.
    init(_ path: String) throws(OutputError) {
        guard !path.isEmpty else { throw OutputError(path, "the name is empty") }
        guard !path.utf8.contains(0) else { throw OutputError(path, "the name has a NUL") }
        var name = path
        // As many links as Linux follows.
        for _ in 0..<40 {
            if let number = Self.descriptor(name) {
                self = .descriptor(number)
                return
            }
            var status = stat()
            guard lstat(name, &status) == 0 else {
                guard errno == ENOENT else { throw OutputError(path, errno: errno) }
                if name.hasSuffix("/") { throw OutputError(path, errno: EISDIR) }
                self = .regular(target: name, mode: nil, owner: nil)
                return
            }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: throw OutputError(path, errno: EISDIR)
            case S_IFREG where !name.hasPrefix("/proc/"):
                guard access(name, W_OK) == 0 else { throw OutputError(path, errno: errno) }
                self = .regular(target: name, mode: status.st_mode & 0o777, owner: (status.st_uid, status.st_gid))
                return
            case S_IFLNK where !name.hasPrefix("/proc/"):
                let target = try Self.link(name, path)
                let folder = name.lastIndex(of: "/").map { String(name[...$0]) } ?? ""
                name = target.hasPrefix("/") ? target : folder + target
            default:
                self = .through
                return
            }
        }
        throw OutputError(path, errno: ELOOP)
    }

    /// N of /dev/fd/N and of its other names: opened anew, a file would be another place in it, a socket nothing at all.
    private static func descriptor(_ name: String) -> Int32? {
        switch name {
        case "/dev/stdout": return 1
        case "/dev/stderr": return 2
        default:
            for folder in ["/dev/fd/", "/proc/self/fd/"] where name.hasPrefix(folder) {
                let number = name.dropFirst(folder.count)
                if !number.isEmpty, number.utf8.allSatisfy({ (48...57).contains($0) }) { return Int32(number) }
            }
            return nil
        }
    }

    private static func link(_ name: String, _ path: String) throws(OutputError) -> String {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink(name, &bytes, bytes.count - 1)
        guard count >= 0 else { throw OutputError(path, errno: errno) }
        let target = bytes.withUnsafeBytes { String(validating: $0[..<count], as: UTF8.self) }
        guard let target else { throw OutputError(path, "the symbolic link's target is not UTF-8") }
        return target
    }
}
