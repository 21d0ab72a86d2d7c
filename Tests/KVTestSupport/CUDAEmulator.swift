import Foundation
import XCTest

/// The stand-ins for CUDA's libraries (Tests/CUDAEmulator), compiled once for all tests of a run.
package enum CUDAEmulator {
    /// The folder of libcuda.so.1, libnvrtc.so.12 and libcublasLt.so.12; removed when the tests end.
    ///
    /// - Throws: a skip where there is no C++ compiler, which `CI=true` forbids; an error with the compiler's output.
    package static func folder() throws -> String { try built.get().folder }

    /// The C++ compiler: clang++ in PATH or beside swift, else g++.
    package static func compiler() throws -> String { try built.get().compiler }

    /// What a process needs in its environment to have emulated devices.
    package static func environment(devices: Int = 1) throws -> [String: String] {
        let built = try built.get()
        return [
            "KVCPU_CUDA_PATH": built.folder, "KVCPU_EMULATOR": sources, "CXX": built.compiler, "KVCPU_FAKE_DEVICES": "\(devices)",
            "KVCPU_KERNELS": built.folder + "/kernels",
        ]
    }

    /// Gives this process emulated devices, before it first looks for any.
    package static func use(devices: Int) throws {
        for (name, value) in try environment(devices: devices) { setenv(name, value, 1) }
    }

    package static let sources = Fixtures.repository.appendingPathComponent("Tests/CUDAEmulator").path

    /// Compiles C++ into a shared object.
    package static func compile(_ arguments: [String]) throws { try run(compiler(), arguments) }

    private struct Built {
        let folder: String, compiler: String
    }

    private static let built = Result { try build() }

    private static func build() throws -> Built {
        guard let compiler = find() else {
            let text = "no C++ compiler (clang++ or g++) for the emulated CUDA libraries"
            if ProcessInfo.processInfo.environment["CI"] == "true" { throw Failure(description: text) }
            throw XCTSkip(text)
        }
        let folder = NSTemporaryDirectory() + "kvcpu-cuda-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        removed = folder
        atexit { try? FileManager.default.removeItem(atPath: CUDAEmulator.removed) }
        let driver = "\(folder)/libcuda.so.1"
        // Names of their own inside: NVIDIA's NVRTC asks the loader for a libcuda.so.1 itself, and must not get this one.
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder)/libkvcpu-emulated-cuda.so", withDestinationPath: "libcuda.so.1")
        for (source, name, more) in [
            ("cuda", "libcuda.so.1", []), ("nvrtc", "libnvrtc.so.12", [driver]), ("cublaslt", "libcublasLt.so.12", [driver]),
        ] {
            try run(
                compiler,
                [
                    "-std=c++20", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC",
                    "-Wl,-soname,libkvcpu-emulated-\(source).so",
                    "-Wl,-rpath,$ORIGIN", "\(sources)/\(source).cpp", "-o", "\(folder)/\(name)",
                ] + more)
        }
        return Built(folder: folder, compiler: compiler)
    }

    // Written once, before the handler that reads it is registered.
    nonisolated(unsafe) private static var removed = ""

    private static func find() -> String? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
        let manager = FileManager.default
        let besideSwift = folders.filter { manager.isExecutableFile(atPath: "\($0)/swift") }
            .map { URL(fileURLWithPath: "\($0)/swift").resolvingSymlinksInPath().deletingLastPathComponent().path }
        return ((folders + besideSwift).map { "\($0)/clang++" } + folders.map { "\($0)/g++" })
            .first { manager.isExecutableFile(atPath: $0) }
    }

    private static func run(_ program: String, _ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        let pipe = Pipe()
        process.standardError = pipe
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failure(description: "\(program) \(arguments.joined(separator: " "))\n" + String(decoding: output, as: UTF8.self))
        }
    }

    /// Why there are no emulated libraries.
    package struct Failure: Error, CustomStringConvertible { package let description: String }
}
