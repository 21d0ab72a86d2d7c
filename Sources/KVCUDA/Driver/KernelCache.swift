import Crypto
import Foundation

/// Compiled kernels, kept from one start to the next: a file each, named by what it was made from.
///
/// A file is `kvcpu kernels 1\n`, the key, the SHA-256 of the image, the image. One that does not hold what it says is as good as none,
/// and is written anew. A folder that cannot be written to keeps nothing.
package struct KernelCache: Sendable {
    let folder: String

    private static let magic = Array("kvcpu kernels 1\n".utf8)

    /// `KVCPU_KERNELS`, else `kernels` below `XDG_CACHE_HOME`/kvcpu, else below ~/.cache/kvcpu; nil without a home.
    package static var standardFolder: String? {
        let environment = ProcessInfo.processInfo.environment
        if let folder = environment["KVCPU_KERNELS"], !folder.isEmpty { return folder }
        let cache = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? environment["HOME"].map { $0 + "/.cache" }
        return cache.map { $0 + "/kvcpu/kernels" }
    }

    /// SHA-256 of everything that the image depends on.
    static func key(_ source: String, _ options: [String], _ target: Compiler.Target, driver: Int, compiler: Int) -> [UInt8] {
        // Each part with its length, so that no two lists of parts are the same text.
        var hash = SHA256()
        for part in [source, target.option, "\(driver)", "\(compiler)"] + options {
            hash.update(data: Data("\(part.utf8.count) ".utf8))
            hash.update(data: Data(part.utf8))
        }
        return Array(hash.finalize())
    }

    func path(_ key: [UInt8]) -> String {
        folder + "/" + key.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + ".kernels"
    }

    /// The image kept under this key, nil without a whole one.
    func read(_ key: [UInt8]) -> [UInt8]? {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path(key))) else { return nil }
        let header = Self.magic + key
        let start = header.count + SHA256.byteCount
        guard data.count > start, Array(data.prefix(header.count)) == header else { return nil }
        let image = Array(data.dropFirst(start))
        guard Array(SHA256.hash(data: image)) == Array(data.dropFirst(header.count).prefix(SHA256.byteCount)) else { return nil }
        return image
    }

    func write(_ image: [UInt8], _ key: [UInt8]) {
        // Through another name, so that nobody reads half a file.
        var data = Data(Self.magic + key)
        data.append(contentsOf: SHA256.hash(data: image))
        data.append(contentsOf: image)
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? data.write(to: URL(fileURLWithPath: path(key)), options: .atomic)
    }
}
