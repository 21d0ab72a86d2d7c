import Crypto
import Foundation
package import KVModel

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

    package init(path: String, origin: PromptOrigin) {
        self.path = path
        self.origin = origin
    }

    /// Replaces the file by the rows of positions 0 ..< tokens.count, in one step.
    package func save(_ tokens: [Int32], of cache: KVCache) throws(Failure) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do {
            let header = try encoder.encode(Header(origin: origin, tokens: tokens.count))
            let temporary = "\(path).\(ProcessInfo.processInfo.processIdentifier).tmp"
            guard FileManager.default.createFile(atPath: temporary, contents: nil, attributes: [.posixPermissions: 0o600]),
                let file = FileHandle(forWritingAtPath: temporary)
            else { throw fail("cannot be written") }
            defer { try? FileManager.default.removeItem(atPath: temporary) }
            var hash = SHA256()
            func write(_ data: Data) throws {
                hash.update(data: data)
                try file.write(contentsOf: data)
            }
            try write(Data(Self.magic) + Self.bytes(Self.version) + Self.bytes(UInt32(header.count)) + header)
            try write(tokens.withUnsafeBytes { Data($0) })
            var failure: (any Error)?
            cache.forEachPart(tokens.count) { _, part in
                guard failure == nil, let base = part.baseAddress else { return }
                // Lent for the call, not copied.
                do { try write(Data(bytesNoCopy: base, count: part.count, deallocator: .none)) } catch { failure = error }
            }
            if let failure { throw failure }
            try file.write(contentsOf: Data(hash.finalize()))
            try file.close()
            guard rename(temporary, path) == 0 else { throw fail("cannot be replaced: \(String(cString: strerror(errno)))") }
        } catch let failure as Failure { throw failure } catch { throw fail((error as NSError).localizedDescription) }
    }

    /// The prompt in the file; nil where there is no file.
    /// - Parameter limit: of tokens.
    /// - Throws: `Failure` for a file that cannot be trusted, or was computed with something else: a cold start is right then.
    package func load(limit: Int) throws(Failure) -> PromptStore.Entry? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let data: Data
        do { data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped) } catch {
            throw fail((error as NSError).localizedDescription)
        }
        let fixed = Self.magic.count + 8
        guard data.count >= fixed + Self.digestBytes, data.starts(with: Self.magic) else { throw fail("not a prompt cache") }
        let version = Self.word(data, Self.magic.count)
        guard version == Self.version else { throw fail("version \(version); this build reads \(Self.version)") }
        let headerBytes = Int(Self.word(data, Self.magic.count + 4))
        guard headerBytes <= data.count - fixed - Self.digestBytes,
            let header = try? JSONDecoder().decode(Header.self, from: data[fixed..<fixed + headerBytes])
        else { throw fail("the header cannot be read") }
        if let difference = origin.difference(from: header.origin) { throw fail(difference) }
        guard (1...limit).contains(header.tokens) else {
            throw fail("\(header.tokens) tokens; the context holds \(limit)")
        }
        let rows = 2 * origin.layers * header.tokens * origin.rowBytes
        guard data.count == fixed + headerBytes + 4 * header.tokens + rows + Self.digestBytes else {
            throw fail("\(data.count) bytes, not as many as its header says")
        }
        let body = data.dropLast(Self.digestBytes)
        guard Data(SHA256.hash(data: body)) == data.suffix(Self.digestBytes) else {
            throw fail("damaged: its checksum is not that of its content")
        }
        let first = fixed + headerBytes
        let tokens = [Int32](unsafeUninitializedCapacity: header.tokens) { buffer, count in
            count = data.copyBytes(to: UnsafeMutableRawBufferPointer(buffer), from: first..<first + 4 * header.tokens) / 4
        }
        do {
            let entry = try PromptStore.Entry(tokens, bytes: rows)
            data.copyBytes(
                to: UnsafeMutableRawBufferPointer(start: entry.rows.base, count: rows),
                from: first + 4 * header.tokens..<first + 4 * header.tokens + rows)
            return entry
        } catch { throw fail("\(error)") }
    }

    private func fail(_ reason: String) -> Failure { Failure(path: path, reason: reason) }

    private static func bytes(_ value: UInt32) -> Data { withUnsafeBytes(of: value.littleEndian) { Data($0) } }

    private static func word(_ data: Data, _ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(data[data.startIndex + offset + $1]) << (8 * UInt32($1)) }
    }
}
