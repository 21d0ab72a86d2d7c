import Foundation

/// The valid files that inputs are made from, in the same order on every machine.
struct Corpus {
    private let files: [String]

    /// - Parameter roots: folders; what is below them by name.
    init(_ roots: [String]) throws {
        var files: [String] = []
        for root in roots {
            guard let names = FileManager.default.enumerator(atPath: root) else { throw Fault("corpus \(root): no such folder") }
            files += names.compactMap { $0 as? String }.sorted().map { root + "/" + $0 }
        }
        self.files = files
    }

    /// Files of that ending, at most `limit` bytes long.
    func paths(ending: String, limit: Int = 4 << 20) throws -> [String] {
        let found = files.filter { $0.hasSuffix(ending) && Self.size($0) <= limit && Self.size($0) > 0 }
        guard !found.isEmpty else { throw Fault("the corpus has no file *\(ending)") }
        return found
    }

    func contents(ending: String, limit: Int = 4 << 20) throws -> [[UInt8]] {
        try paths(ending: ending, limit: limit).map(Self.read)
    }

    static func read(_ path: String) throws -> [UInt8] {
        do { return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) } catch { throw Fault("\(path) cannot be read") }
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        do { try Data(bytes).write(to: URL(fileURLWithPath: path)) } catch { throw Fault("\(path) cannot be written") }
    }

    private static func size(_ path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG ? Int(status.st_size) : 0
    }
}
