import Foundation
import KVTestSupport
import XCTest

/// Runs the built `kvcpu` as a user would.
struct Command {
    let status: Int32
    let output: String
    let error: String

    /// The executable beside the test bundle.
    static var executable: URL {
        URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().appendingPathComponent("kvcpu")
    }

    /// - Parameters:
    ///   - input: standard input; nil: none.
    ///   - isInterrupted: whether Ctrl-C is sent once something is on standard output.
    ///   - environment: variables added to the tests' own.
    ///   - shell: how a shell starts it, with `"$@"` for the command; nil: without one.
    init(
        _ arguments: [String], input: Data? = nil, isInterrupted: Bool = false, environment: [String: String] = [:],
        shell: String? = nil
    ) throws {
        let process = Process()
        // The user's own plan tables are none of the tests'.
        let plans = ["KVCPU_PLANS": NSTemporaryDirectory() + "kvcpu-no-plans"]
        process.environment = ProcessInfo.processInfo.environment.merging(plans) { $1 }.merging(environment) { $1 }
        process.executableURL = shell == nil ? Self.executable : URL(fileURLWithPath: "/bin/bash")
        process.arguments = shell.map { ["-c", $0, "bash", Self.executable.path] + arguments } ?? arguments
        let out = Pipe()
        let err = Pipe()
        let standardInput = Pipe()
        process.standardOutput = out
        process.standardError = err
        process.standardInput = input == nil ? FileHandle.nullDevice : standardInput
        try process.run()
        if let input {
            standardInput.fileHandleForWriting.write(input)
            try standardInput.fileHandleForWriting.close()
        }
        // A command that hangs is killed, so that the test fails instead of hanging too.
        let watchdog = DispatchWorkItem { kill(process.processIdentifier, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + 240, execute: watchdog)
        let errorData = DispatchQueue(label: "stderr")
        nonisolated(unsafe) var collected = Data()
        let group = DispatchGroup()
        errorData.async(group: group) { collected = err.fileHandleForReading.readDataToEndOfFile() }
        var begun = Data()
        if isInterrupted {
            begun = out.fileHandleForReading.availableData
            process.interrupt()
        }
        output = String(decoding: begun + out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        group.wait()
        process.waitUntilExit()
        watchdog.cancel()
        error = String(decoding: collected, as: UTF8.self)
        status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }

    /// The default model, where it is cached; in CI it must be.
    static func standardModel() throws -> String {
        let environment = ProcessInfo.processInfo.environment
        let path = (environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache") + "/kvcpu/SmolLM2-135M-Instruct.Q4_1.gguf"
        if FileManager.default.fileExists(atPath: path) { return path }
        if environment["CI"] == "true" { throw Fixtures.Missing(fixture: path) }
        throw XCTSkip("the default model is not at \(path): make model")
    }

    static func model(_ name: String) throws -> String { try Fixtures.require("\(name)/model.gguf") }
}

/// A folder removed at the end.
final class Folder {
    let path = NSTemporaryDirectory() + "kvcpu-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
    func write(_ name: String, _ data: Data) throws -> String {
        try data.write(to: URL(fileURLWithPath: path + "/" + name))
        return path + "/" + name
    }
}
