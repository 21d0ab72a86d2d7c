package import Foundation

/// Where the independent truth lies: `Tests/Fixtures` in the repository, and a larger set named by `KVCPU_FIXTURES`
/// (else `../shared/fixtures` beside the repository).
package enum Fixtures {
    /// The repository's root, from this file's own place.
    package static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The path of a fixture, or nil where this machine has none.
    package static func path(_ relative: String) -> String? {
        var roots = [repository.appendingPathComponent("Tests/Fixtures")]
        if let named = ProcessInfo.processInfo.environment["KVCPU_FIXTURES"] {
            roots.append(URL(fileURLWithPath: named))
        }
        roots.append(repository.deletingLastPathComponent().appendingPathComponent("shared/fixtures"))
        return roots.map { $0.appendingPathComponent(relative).path }
            .first { FileManager.default.fileExists(atPath: $0) }
    }
}
