package import Foundation
import XCTest

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

    /// The path of a fixture that a test cannot do without. Where it is absent the test is skipped, but on the build
    /// server (`CI=true`) it fails: there a skipped test would look like a passed one.
    package static func require(_ relative: String) throws -> String {
        if let path = path(relative) { return path }
        if ProcessInfo.processInfo.environment["CI"] == "true" { throw Missing(fixture: relative) }
        throw XCTSkip("no fixture \(relative): set KVCPU_FIXTURES to the folder that holds it")
    }

    /// A fixture that should have been there.
    package struct Missing: Error, CustomStringConvertible {
        package let fixture: String
        package init(fixture: String) { self.fixture = fixture }
        package var description: String { "fixture \(fixture) is missing, and CI=true forbids skipping" }
    }
}
