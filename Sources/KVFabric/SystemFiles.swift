import Glibc

/// Small text files of /sys and /proc, or of a copy of them below another root.
struct SystemFiles {
    let root: String

    /// The file's text without the white space around it; nil if it cannot be read, or is not UTF-8.
    func text(at path: String) -> String? {
        let file = open(root + path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        // Their size is not known before they are read. No file of interest comes near the bound.
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16_384)
        while bytes.count < 4 << 20 {
            let count = Glibc.read(file, &block, block.count)
            if count < 0 { return nil }
            if count == 0 { break }
            bytes += block[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        let lines = text.drop(while: \.isWhitespace)
        return String(lines.prefix(lines.count - lines.reversed().prefix(while: \.isWhitespace).count))
    }

    func integer(at path: String) -> Int? { text(at: path).flatMap { Int($0) } }

    func lines(at path: String) -> [Substring] { text(at: path)?.split(separator: "\n") ?? [] }

    /// MemTotal, MemFree, and what of it all can be had (MemAvailable, which nodes do not tell, without its reserves), in bytes; 0 where they
    /// are not given; `reported` is MemAvailable as such.
    func memory(at path: String, prefix: String) -> (total: UInt64, free: UInt64, available: UInt64, reported: UInt64?) {
        var found: [String: UInt64] = [:]
        for line in lines(at: path) where line.hasPrefix(prefix) {
            let words = line.dropFirst(prefix.count).split { $0 == " " || $0 == ":" }
            guard words.count >= 2, let kibibytes = UInt64(words[1]) else { continue }
            found[String(words[0])] = kibibytes.multipliedReportingOverflow(by: 1024).partialValue
        }
        let free = found["MemFree"] ?? 0
        let files = ["Active(file)", "Inactive(file)", "SReclaimable"].reduce(0) { $0 &+ (found[$1] ?? 0) }
        return (found["MemTotal"] ?? 0, free, free.addingReportingOverflow(files).partialValue, found["MemAvailable"])
    }
}
