import Foundation
import XCTest

/// A command at a terminal of its own, as a user has one: Ctrl-C is a byte that the terminal turns into a signal.
final class PseudoTerminal {
    struct Failure: Error, CustomStringConvertible { let description: String }

    let process: pid_t
    private let terminal: Int32
    /// What was shown and not yet asked for.
    private(set) var shown: [UInt8] = []
    private var isEnded = false

    /// - Parameter environment: variables added to the tests' own.
    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        // What posix_openpt, unlockpt and ptsname do, which Swift does not import: TIOCSPTLCK and TIOCGPTN.
        terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)
        var lock: Int32 = 0
        var number: UInt32 = 0
        guard terminal >= 0, ioctl(terminal, 0x4004_5431, &lock) == 0, ioctl(terminal, 0x8004_5430, &number) == 0 else {
            throw Failure(description: "no pseudo-terminal: \(String(cString: strerror(errno)))")
        }
        let name = "/dev/pts/\(number)"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // What the leader of a new session opens first becomes its terminal.
        posix_spawn_file_actions_addopen(&actions, 0, name, O_RDWR, 0)
        posix_spawn_file_actions_adddup2(&actions, 0, 1)
        posix_spawn_file_actions_adddup2(&actions, 0, 2)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var usual = sigset_t()
        sigfillset(&usual)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &usual)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(0x80 | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        let variables = ["TERM": "dumb", "KVCPU_PLANS": "none"].merging(environment) { $1 }
        let all = ProcessInfo.processInfo.environment.merging(variables) { $1 }.map { strdup("\($0)=\($1)") } + [nil]
        let values = ([Command.executable.path] + arguments).map { strdup($0) } + [nil]
        defer { for text in all + values { free(text) } }
        var process: pid_t = 0
        let code = posix_spawn(&process, Command.executable.path, &actions, &attributes, values, all)
        guard code == 0 else { throw Failure(description: "posix_spawn: \(String(cString: strerror(code)))") }
        self.process = process
    }

    deinit {
        if !isEnded {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        close(terminal)
    }

    func type(_ text: String) {
        var text = text
        text.withUTF8 { _ = write(terminal, $0.baseAddress, $0.count) }
    }

    /// Waits until this text is shown, and takes all up to its end.
    @discardableResult
    func wait(for text: String) throws -> String {
        let bytes = Array(text.utf8)
        while true {
            if let range = shown.firstRange(of: bytes) {
                let head = String(decoding: shown[..<range.upperBound], as: UTF8.self)
                shown.removeSubrange(..<range.upperBound)
                return head
            }
            try read("\"\(text)\"")
        }
    }

    /// Waits until so many further bytes are shown, and drops all.
    func wait(bytes: Int) throws {
        shown = []
        while shown.count < bytes { try read("\(bytes) bytes") }
        shown = []
    }

    /// Waits for the command's end. The exit status; below 0: the signal that ended it.
    func end() throws -> Int32 {
        while (try? read("the end")) != nil {}
        var status: Int32 = 0
        for _ in 0..<12_000 {
            if waitpid(process, &status, WNOHANG) == process {
                isEnded = true
                return status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F)
            }
            usleep(10_000)
        }
        throw Failure(description: "\(arguments): still runs; it showed \(String(decoding: shown, as: UTF8.self))")
    }

    private var arguments: String { Command.executable.lastPathComponent }

    private func read(_ what: String) throws {
        var file = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
        var block = [UInt8](repeating: 0, count: 4096)
        let found = poll(&file, 1, 120_000)
        let count = found > 0 ? Foundation.read(terminal, &block, block.count) : 0
        guard count > 0 else {
            let text = String(decoding: shown.suffix(2000), as: UTF8.self)
            throw Failure(description: "no \(what) \(found == 0 ? "within two minutes" : "before the end"); shown: \(text)")
        }
        shown += block[..<count]
    }
}
