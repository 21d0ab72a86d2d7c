import Foundation
import KVGGUF

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Why a plan table cannot be used or kept.
package struct PlanError: Error, CustomStringConvertible, Sendable, Equatable {
    package let file: String
    package let reason: String
    package var description: String { "plan table \(file): \(reason)" }
}

/// Plan tables in a folder, a JSON file each. Several processes may fill it at once: every change is made to what the file holds at that
/// moment, under a lock, and replaces the file in one step.
package struct PlanStore: Sendable {
    package let folder: String

    package init(folder: String) { self.folder = folder }

    /// Seconds that a writer waits for the others.
    private static let patience = 10.0

    package func path(_ key: PlanKey) -> String { folder + "/" + prefix(key) + Self.hash(key) + ".json" }

    /// Readable, and the same for tables that differ in machine or engine only.
    private func prefix(_ key: PlanKey) -> String {
        let name = key.label.map { $0.isLetter || $0.isNumber || $0 == "." || $0 == "_" ? $0 : "-" }
        return "\(String(name.prefix(48)))-\(key.ranks)x\(key.threadsPerRank)-\(key.weights)-\(key.cache)-\(key.link)-".lowercased()
    }

    /// Of everything but the engine's version: a newer engine finds the older one's table, and says that it is stale.
    private static func hash(_ key: PlanKey) -> String {
        Fingerprint.of([key.model, key.machine, key.activations, key.weights])
    }

    // MARK: Reading

    /// The table of a key; nil where there is none.
    /// - Throws: `PlanError` for a file that is there and cannot be trusted.
    package func load(_ key: PlanKey) throws(PlanError) -> PlanTable? {
        let path = path(key)
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return try read(path, key)
    }

    /// The reason why another table of this model and these ranks does not count here; nil where there is none.
    package func foreign(_ key: PlanKey) -> PlanError? {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let own = path(key)
        for name in names.sorted() where name.hasPrefix(prefix(key)) && name.hasSuffix(".json") {
            let path = folder + "/" + name
            guard path != own else { continue }
            do {
                _ = try read(path, key)
            } catch { return error }
        }
        return nil
    }

    private func read(_ path: String, _ key: PlanKey) throws(PlanError) -> PlanTable {
        func fail(_ reason: String) -> PlanError { PlanError(file: path, reason: reason) }
        struct Version: Decodable { let version: Int }
        let data: Data
        let version: Version
        let table: PlanTable
        do { data = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
            throw fail("cannot be read: \(systemReason(error))")
        }
        let decoder = JSONDecoder()
        do { version = try decoder.decode(Version.self, from: data) } catch { throw fail("is damaged: \(Self.text(error))") }
        guard version.version == PlanTable.version else {
            throw fail("has version \(version.version), this build reads \(PlanTable.version)")
        }
        do { table = try decoder.decode(PlanTable.self, from: data) } catch { throw fail("is damaged: \(Self.text(error))") }
        if let difference = key.difference(from: table.key) { throw fail("is not for here: \(difference)") }
        if let flaw = table.flaw { throw fail("is damaged: \(flaw)") }
        return table
    }

    private static func text(_ error: any Error) -> String {
        switch error as? DecodingError {
        case .keyNotFound(let key, _): "no field \"\(key.stringValue)\""
        case .typeMismatch(_, let context), .valueNotFound(_, let context):
            "field \(context.codingPath.map(\.stringValue).joined(separator: ".")): \(context.debugDescription)"
        default: "not JSON"
        }
    }

    // MARK: Writing

    /// Changes the key's table as it is at that moment; a file that cannot be trusted is put aside first.
    /// - Returns: the table as written.
    /// - Throws: `PlanError` where it cannot be written.
    @discardableResult
    package func update(_ key: PlanKey, _ change: (inout PlanTable) -> Void) throws(PlanError) -> PlanTable {
        let path = path(key)
        func fail(_ what: String) -> PlanError { PlanError(file: path, reason: "\(what): \(String(cString: strerror(errno)))") }
        do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true) } catch {
            throw PlanError(file: path, reason: "the folder cannot be made: \(systemReason(error))")
        }
        let lock = open(folder + "/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lock >= 0 else { throw fail("cannot be locked") }
        defer { close(lock) }
        let end = Date().addingTimeInterval(Self.patience)
        while flock(lock, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR, Date() < end else { throw fail("cannot be locked") }
            usleep(2000)
        }
        var table: PlanTable
        do { table = try load(key) ?? PlanTable(key) } catch {
            let aside = path + ".ignored-\(UInt64(Date().timeIntervalSince1970 * 1000))"
            guard rename(path, aside) == 0 else { throw fail("cannot be put aside") }
            table = PlanTable(key)
        }
        change(&table)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        do {
            let data = try encoder.encode(table)
            try OutputFile.write(String(decoding: data, as: UTF8.self), to: path)
        } catch let error as OutputError {
            throw PlanError(file: path, reason: "cannot be written: \(error.reason)")
        } catch { throw PlanError(file: path, reason: "cannot be written: \(systemReason(error))") }
        return table
    }

    /// Where tables are kept unless told otherwise: `KVCPU_PLANS`, else below `XDG_CACHE_HOME`, else below ~/.cache.
    package static var defaultFolder: String {
        let environment = ProcessInfo.processInfo.environment
        if let plans = environment["KVCPU_PLANS"], !plans.isEmpty { return plans }
        let cache = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 }
        return (cache ?? NSHomeDirectory() + "/.cache") + "/kvcpu/plans"
    }
}
