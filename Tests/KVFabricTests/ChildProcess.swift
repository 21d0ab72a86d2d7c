import Foundation
import KVFabric

/// A second process that runs one test of this same test program: what it does is Swift as in the first one, which a
/// forked copy of a threaded process could not run.
final class ChildProcess {
    /// What a test finds in its environment when it is the child; nil in the first process.
    static let role = ProcessInfo.processInfo.environment[variable]
    private static let variable = "KVFABRIC_TEST_ROLE"
    /// The number under which an inherited descriptor is found.
    static let descriptor: Int32 = 200

    private let pid: pid_t
    private let output: String

    /// - Parameters:
    ///   - test: "Module.Class/testMethod".
    ///   - role: handed over in the environment.
    ///   - descriptor: inherited as ``ChildProcess/descriptor``.
    init(test: String, role: String, descriptor: Int32? = nil) throws {
        output = NSTemporaryDirectory() + "kvfabric-child-" + UUID().uuidString
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        if let descriptor { posix_spawn_file_actions_adddup2(&actions, descriptor, Self.descriptor) }

        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var environment = ProcessInfo.processInfo.environment
        environment[Self.variable] = role
        let arguments = Self.strings([program, test])
        let variables = Self.strings(environment.map { "\($0)=\($1)" })
        defer { for string in arguments + variables { free(string) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, program, &actions, nil, arguments, variables)
        guard code == 0 else { throw FabricError.system(call: "posix_spawn \(program)", errno: code) }
        pid = child
    }

    deinit { unlink(output) }

    private static func strings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { strdup($0) } + [nil]
    }

    func kill() { _ = Foundation.kill(pid, SIGKILL) }

    /// Waits for its end. Returns nil if its test passed, and what it printed if not.
    func join() -> String? {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) == -1, errno == EINTR {}
        if status == 0 { return nil }
        return "status \(status): " + ((try? String(contentsOfFile: output, encoding: .utf8)) ?? "no output")
    }
}
