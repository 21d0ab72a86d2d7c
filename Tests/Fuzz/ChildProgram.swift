import Foundation

/// A program started with its streams in files, watched until it ends or passes a limit.
struct ChildProgram {
    let pid: pid_t

    /// - Parameters:
    ///   - descriptors: what becomes of the child's descriptors 0 and up; a path is opened, nil closes.
    ///   - folder: where it runs.
    init(
        _ program: String, _ arguments: [String], input: String?, output: String?, errors: String?, environment: [String: String],
        folder: String? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (descriptor, path, flags) in [(0, input, O_RDONLY), (1, output, O_WRONLY | O_CREAT), (2, errors, O_WRONLY | O_CREAT)] {
            if let path {
                posix_spawn_file_actions_addopen(&actions, Int32(descriptor), path, flags, 0o644)
            } else {
                posix_spawn_file_actions_addclose(&actions, Int32(descriptor))
            }
        }
        if let folder {
            pid = try Self.spawn("/usr/bin/env", ["-C", folder, program] + arguments, environment, &actions)
        } else {
            pid = try Self.spawn(program, arguments, environment, &actions)
        }
    }

    /// With its standard output in `pipe`, which stays open for the caller to close.
    init(_ program: String, _ arguments: [String], output pipe: Int32, errors: String, environment: [String: String]) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipe, 1)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        pid = try Self.spawn(program, arguments, environment, &actions)
    }

    private static func spawn(
        _ program: String, _ arguments: [String], _ environment: [String: String], _ actions: inout posix_spawn_file_actions_t
    ) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: what it starts ends with it.
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        let words = ([program] + arguments).map { strdup($0) }
        let variables = environment.sorted { $0.key < $1.key }.map { strdup("\($0.key)=\($0.value)") }
        defer { for string in words + variables { free(string) } }
        var pid: pid_t = 0
        let code = posix_spawn(&pid, program, &actions, &attributes, words + [nil], variables + [nil])
        guard code == 0 else { throw Fault("\(program) cannot be started: \(String(cString: strerror(code)))") }
        return pid
    }

    func end(_ signal: Int32) { kill(-pid, signal) }

    /// How it ended; nil while it runs.
    func reap() -> (end: ProgramEnd, peakMemory: Int)? {
        var status: Int32 = 0
        var usage = rusage()
        guard wait4(pid, &status, WNOHANG, &usage) == pid else { return nil }
        let signal = status & 0x7F
        return (signal == 0 ? .exited((status >> 8) & 0xFF) : .signal(signal), usage.ru_maxrss << 10)
    }

    /// Bytes in memory now; 0 of a process that has ended.
    var memory: Int {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/statm", encoding: .ascii) else { return 0 }
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }

    /// Seconds of CPU time that all its threads have used.
    var seconds: Double {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let fields = text.split(separator: ")").last?.split(separator: " "), fields.count > 13
        else { return 0 }
        return ((Double(fields[11]) ?? 0) + (Double(fields[12]) ?? 0)) / 100
    }
}

enum ProgramEnd: Equatable {
    case exited(Int32)
    case signal(Int32)
}
