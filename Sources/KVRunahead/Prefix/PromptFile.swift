import Crypto
import Foundation
import KVGGUF
package import KVModel

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A prompt's keys and values in a file, for a later process (`--prompt-cache`).
///
/// | bytes | what |
/// |---|---|
/// | 8 | "KVCPUPRM" |
/// | 4 | version, little-endian as all that follows |
/// | 4 | length of the header |
/// | … | header, JSON: what the rows were computed with, and how many tokens there are |
/// | 4 each | token ids |
/// | … | rows: [layer][keys, values][position, key/value head, head dimension] |
/// | 32 | SHA-256 of all that is before |
package struct PromptFile {
    package let path: String
    /// What rows must have been computed with to be the same bits.
    package let origin: PromptOrigin

    /// Why a file cannot be used or written.
    package struct Failure: Error, CustomStringConvertible, Equatable {
        package let path: String
        package let reason: String
        package var description: String { "prompt cache \(path): \(reason)" }
    }

    private struct Header: Codable {
        var origin: PromptOrigin
        var tokens: Int
    }

    private static let magic = Array("KVCPUPRM".utf8)
    private static let version: UInt32 = 2
    private static let digestBytes = 32
    private static let mostHeaderBytes = 1 << 20

    package init(path: String, origin: PromptOrigin) {
        self.path = path
        self.origin = origin
    }

    /// Writes the rows of positions 0 ..< tokens.count: a regular file is replaced in one step and belongs to its user alone, all else that
    /// the path may name is written through.
    package func save(_ tokens: [Int32], of cache: KVCache) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do {
            let header = try encoder.encode(Header(origin: origin, tokens: tokens.count))
            let file = try OutputFile(path, isPrivate: true)
            var hash = SHA256()
            func write(_ bytes: UnsafeRawBufferPointer) throws {
                hash.update(bufferPointer: bytes)
                try file.write(bytes)
            }
            try (Data(Self.magic) + Self.bytes(Self.version) + Self.bytes(UInt32(header.count)) + header).withUnsafeBytes(write)
            try tokens.withUnsafeBytes(write)
            var failure: (any Error)?
            cache.forEachPart(tokens.count) { _, part in
                guard failure == nil else { return }
                do { try write(UnsafeRawBufferPointer(part)) } catch { failure = error }
            }
            if let failure { throw failure }
            try hash.finalize().withUnsafeBytes { try file.write($0) }
            try file.commit()
        } catch let error as OutputError { throw fail(error.reason) } catch { throw fail("\(error)") }
    }

    /// The prompt in the file; nil where there is none, or the path names no regular file: a device or FIFO keeps nothing.
    /// - Parameter limit: of tokens.
    /// - Throws: `Failure` for a file that cannot be trusted, or was computed with something else: a cold start is right then.
    package func load(limit: Int) throws(Failure) -> PromptStore.Entry? {
        // Does not wait for whoever might write to a FIFO.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            // A device that cannot be opened is no cache either.
            if [ENOENT, ENOTDIR, ENXIO].contains(errno) { return nil }
            throw fail("cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        let size = Int(status.st_size)
        var hash = SHA256()
        let fixed = Self.magic.count + 8
        let start = try take(fixed, from: descriptor, of: size, what: "not a prompt cache")
        guard start.starts(with: Self.magic), size >= fixed + Self.digestBytes else { throw fail("not a prompt cache") }
        hash.update(data: start)
        let version = Self.word(start, Self.magic.count)
        guard version == Self.version else { throw fail("version \(version); this build reads \(Self.version)") }
        let headerBytes = Int(Self.word(start, Self.magic.count + 4))
        guard headerBytes <= min(size - fixed - Self.digestBytes, Self.mostHeaderBytes) else {
            throw fail("the header cannot be read")
        }
        let text = try take(headerBytes, from: descriptor, of: size, what: "the header cannot be read")
        hash.update(data: text)
        guard let header = try? JSONDecoder().decode(Header.self, from: text) else { throw fail("the header cannot be read") }
        if let difference = origin.difference(from: header.origin) { throw fail(difference) }
        guard (1...max(1, limit)).contains(header.tokens) else {
            throw fail("\(header.tokens) tokens; the context holds \(limit)")
        }
        let rows = 2 * origin.layers * header.tokens * origin.rowBytes
        guard size == fixed + headerBytes + 4 * header.tokens + rows + Self.digestBytes else {
            throw fail("\(size) bytes, not as many as its header says")
        }
        var tokens = [Int32](repeating: 0, count: header.tokens)
        let isWhole = tokens.withUnsafeMutableBytes { Self.fill($0, from: descriptor) }
        guard isWhole else { throw fail("cannot be read to its end") }
        tokens.withUnsafeBytes { hash.update(bufferPointer: $0) }
        let entry: PromptStore.Entry
        do { entry = try PromptStore.Entry(tokens, bytes: rows) } catch { throw fail("\(error)") }
        let content = UnsafeMutableRawBufferPointer(start: entry.rows.base, count: rows)
        guard Self.fill(content, from: descriptor) else { throw fail("cannot be read to its end") }
        hash.update(bufferPointer: UnsafeRawBufferPointer(content))
        let digest = try take(Self.digestBytes, from: descriptor, of: size, what: "cannot be read to its end")
        guard Data(hash.finalize()) == digest else { throw fail("damaged: its checksum is not that of its content") }
        return entry
    }

    private func take(_ count: Int, from descriptor: Int32, of size: Int, what: String) throws(Failure) -> Data {
        var data = Data(count: count)
        guard count <= size, data.withUnsafeMutableBytes({ Self.fill($0, from: descriptor) }) else { throw fail(what) }
        return data
    }

    /// Reads as many bytes as there is room for; false at the file's end or after an error.
    private static func fill(_ buffer: UnsafeMutableRawBufferPointer, from descriptor: Int32) -> Bool {
        var done = 0
        while done < buffer.count, let base = buffer.baseAddress {
            let count = read(descriptor, base + done, buffer.count - done)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            done += count
        }
        return true
    }

    private func fail(_ reason: String) -> Failure { Failure(path: path, reason: reason) }

    private static func bytes(_ value: UInt32) -> Data { withUnsafeBytes(of: value.littleEndian) { Data($0) } }

    private static func word(_ data: Data, _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(data[data.startIndex + offset + $1]) << (8 * UInt32($1)) }
    }
}
