import Foundation
import Synchronization

/// Other ways to files that another process holds open: a rank's process reads the files that its engine has opened, wherever they have gone since.
package enum OpenFiles {
    private static let ways = Mutex<[String: String]>([:])

    /// From now on each of these paths is opened by its other one (`/proc/PID/fd/N`).
    package static func use(_ paths: [String: String]) { ways.withLock { $0 = paths } }

    static func way(to path: String) -> String { ways.withLock { $0[path] } ?? path }

    static func holds(_ path: String) -> Bool { ways.withLock { $0[path] != nil } }

    static func exists(_ path: String) -> Bool { holds(path) || FileManager.default.fileExists(atPath: path) }
}
