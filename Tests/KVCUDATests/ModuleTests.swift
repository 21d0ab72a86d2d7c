import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// DeviceKernels compiled, kept on disk and launched.
final class ModuleTests: EmulatedTestCase {
    /// The least that cuda.cpp and nvrtc.cpp want of kernel.h: each kernel runs once for the whole grid.
    private static let header = """
        #pragma once
        #include <cstddef>
        #include <cstring>
        #include <map>
        #include <string>
        #include <utility>
        #include <vector>
        struct Listed { std::vector<size_t> bytes; void (*call)(void **); };
        inline std::map<std::string, Listed> &listed() { static std::map<std::string, Listed> all; return all; }
        static unsigned blocks, threads;
        static size_t shared_bytes;
        template <auto kernel> struct Entry;
        template <class... Parameters, void (*kernel)(Parameters...)> struct Entry<kernel> {
            template <size_t... index> static void unpack(void **values, std::index_sequence<index...>) { kernel(*(Parameters *)values[index]...); }
            static void call(void **values) { unpack(values, std::make_index_sequence<sizeof...(Parameters)>()); }
            static bool list(const char *name) { listed()[name] = {{sizeof(Parameters)...}, call}; return true; }
        };
        #define KERNEL(name, limit, parameters) extern "C" void name parameters; \\
            static const bool name##_listed = Entry<&name>::list(#name); void name parameters
        extern "C" size_t kvcpu_parameter_bytes(const char *kernel, int index) {
            auto found = listed().find(kernel);
            return found == listed().end() || index < 0 || size_t(index) >= found->second.bytes.size() ? 0 : found->second.bytes[index];
        }
        extern "C" int kvcpu_launch(const char *kernel, unsigned x, unsigned, unsigned, unsigned t, unsigned, unsigned, size_t shared, void **values) {
            blocks = x; threads = t; shared_bytes = shared;
            if (t == 1000) return 2;
            listed()[kernel].call(values);
            return 0;
        }
        extern "C" const char *kvcpu_error() { return "told to fail"; }
        """

    private static let source = """
        KERNEL(scale, 256, (float *x, float by, long n, int add, const float *)) {
            for (long i = 0; i < n; i++) x[i] = x[i] * by + add;
        }
        KERNEL(shape, 256, (int *out)) { out[0] = blocks; out[1] = threads; out[2] = shared_bytes; out[3] = ANSWER; }
        KERNEL(beyond, 256, (char *x)) { x[100000] = 1; }
        """

    override func setUpWithError() throws {
        try super.setUpWithError()
        try FileManager.default.createDirectory(atPath: cache, withIntermediateDirectories: true)
        try Data(Self.header.utf8).write(to: URL(fileURLWithPath: "\(cache)/kernel.h"))
    }

    private func context(_ settings: [String: String] = [:]) throws -> DeviceContext {
        let cuda = try open(settings)
        set("KVCPU_EMULATOR", cache)
        return try cuda.context(0)
    }

    private func module(_ context: DeviceContext, _ answer: Int = 42) throws -> DeviceModule {
        try context.module(source: Self.source, name: "test.cu", options: ["-DANSWER=\(answer)", "--std=c++17"])
    }

    private func answer(_ context: DeviceContext, _ answer: Int = 42) throws -> Int32 {
        let stream = try context.stream()
        let memory = try context.allocate(16, for: "answers")
        try stream.launch(
            try module(context, answer).function("shape"), grid: (3, 1, 1), block: 64, .pointer(memory.address))
        return try stream.values(memory.address, 4, of: Int32(0))[3]
    }

    private func kept() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: cache).filter { $0.hasSuffix(".kernels") }.map { "\(cache)/\($0)" }
    }

    func testLaunches() throws {
        let context = try context()
        let stream = try context.stream()
        let module = try module(context)
        let x = try context.allocate(40, for: "x")
        try stream.upload((0..<10).map(Float.init), to: x.address)
        let scale = try module.function("scale")
        // Arguments are taken when the launch is asked for.
        var by: Float = 2
        try stream.launch(scale, grid: (1, 1, 1), block: 32, .pointer(x.address), .float(by), .int64(10), .int32(-3), .pointer(0))
        by = 100
        XCTAssertEqual(try stream.values(x.address, 10, of: Float(0)), (0..<10).map { Float($0) * 2 - 3 })
        try stream.launch(scale, grid: (0, 1, 1), block: 32, .pointer(x.address), .float(by), .int64(10), .int32(0), .pointer(0))
        XCTAssertEqual(try stream.values(x.address, 1, of: Float(0)), [-3])
        let shape = try context.allocate(16, for: "shape")
        try stream.launch(
            try module.function("shape", sharedBytes: 100_000), grid: (7, 1, 1), block: 128, sharedBytes: 90_000,
            .pointer(shape.address))
        XCTAssertEqual(try stream.values(shape.address, 4, of: Int32(0)), [7, 128, 90_000, 42])
        let graph = try stream.capture { () throws(CUDAError) in
            try stream.launch(
                scale, grid: (1, 1, 1), block: 32, .pointer(x.address), .float(0.5), .int64(1), .int32(1), .pointer(0))
        }
        for expected: Float in [-0.5, 0.75, 1.375] {
            try stream.launch(graph)
            XCTAssertEqual(try stream.values(x.address, 1, of: Float(0)), [expected])
        }
    }

    func testLaunchErrors() throws {
        let context = try context(["DEVICES": "2"])
        let other = try context.cuda.context(1)
        let stream = try context.stream()
        let module = try module(context)
        XCTAssertEqual(
            try error { _ = try module.function("absent") },
            CUDAError(
                .call, "cuModuleGetFunction of absent in test.cu failed with 500 CUDA_ERROR_NOT_FOUND: named symbol not found"))
        XCTAssertEqual(
            try error { _ = try module.function("shape", sharedBytes: 300_000) },
            CUDAError(
                .call, "shape needs 300000 bytes of shared memory for a block, and device 0 (Emulated device 0) has 232448"))
        let shape = try module.function("shape")
        let memory = try context.allocate(16, for: "shape")
        let foreign = try other.allocate(16, for: "shape")
        XCTAssertTrue(
            try error { try stream.launch(shape, grid: (1, 1, 1), block: 64, sharedBytes: 60_000, .pointer(memory.address)) }
                .description.hasPrefix("cuLaunchKernel of shape failed with 1 CUDA_ERROR_INVALID_VALUE"), "more than it asked for")
        XCTAssertEqual(try error { try stream.launch(shape, grid: (-1, 1, 1), block: 64, .pointer(memory.address)) }.code, .call)
        try stream.launch(shape, grid: (1, 1, 1), block: 64, .pointer(foreign.address))
        XCTAssertTrue(try error { try stream.finish() }.description.contains("ILLEGAL_ADDRESS"), "another device's memory")
    }

    func testAKernelThatGoesWrong() throws {
        for (name, block, status) in [
            ("shape", 1000, "719 CUDA_ERROR_LAUNCH_FAILED"), ("beyond", 64, "700 CUDA_ERROR_ILLEGAL_ADDRESS"),
        ] {
            let context = try context()
            let stream = try context.stream()
            let memory = try context.allocate(16, for: "shape")
            try stream.launch(try module(context).function(name), grid: (1, 1, 1), block: block, .pointer(memory.address))
            let error = try error { try stream.finish() }
            XCTAssertTrue(error.description.hasPrefix("cuStreamQuery failed with \(status)"), error.description)
        }
    }

    func testCompileErrorHasTheLog() throws {
        let context = try context()
        let error = try error { _ = try context.module(source: "\nint x = nothing;\n", name: "broken.cu", options: []) }
        XCTAssertEqual(error.code, .compile)
        XCTAssertTrue(
            error.description.hasPrefix("broken.cu does not compile for --gpu-architecture=sm_90: 6 NVRTC_ERROR_COMPILATION\n"),
            error.description)
        XCTAssertTrue(error.description.contains("broken.cu:2:"), error.description)
        let option = try self.error { _ = try context.module(source: "", name: "fine.cu", options: ["--no-such"]) }
        XCTAssertEqual(option.code, .call)
        XCTAssertTrue(option.description.contains("5 NVRTC_ERROR_INVALID_OPTION") && option.description.contains("--no-such"))
    }

    func testCacheHit() throws {
        let context = try context()
        XCTAssertEqual(try answer(context), 42)
        XCTAssertEqual(try kept().count, 1)
        XCTAssertEqual(try answer(context, 43), 43, "other options are other kernels")
        XCTAssertEqual(try kept().count, 2)
        // With a compiler that fails, from the disk alone.
        let again = try self.context(["FAULT": "nvrtcCompileProgram:6"])
        XCTAssertEqual(try answer(again), 42)
        XCTAssertEqual(try error { _ = try answer(again, 44) }.code, .compile)
        // Another driver is another key.
        let newer = try self.context(["FAULT": "nvrtcCompileProgram:6", "DRIVER": "12050"])
        XCTAssertEqual(try error { _ = try answer(newer) }.code, .compile)
    }

    func testDamagedCacheIsReplaced() throws {
        let context = try context()
        XCTAssertEqual(try answer(context), 42)
        let file = try XCTUnwrap(kept().first)
        let whole = try Data(contentsOf: URL(fileURLWithPath: file))
        var changed = whole
        changed[whole.count / 2] ^= 1
        // A key and a sum that fit, of something that the driver does not take.
        let foreign = KernelCache(folder: cache)
        let key = Array(whole[16..<48])
        foreign.write(Array("no kernels".utf8), key)
        let other = try Data(contentsOf: URL(fileURLWithPath: file))
        XCTAssertEqual(foreign.path(key), file)
        for damaged in [Data(), Data("kvcpu".utf8), whole.dropLast(1), changed, other] {
            try damaged.write(to: URL(fileURLWithPath: file))
            XCTAssertEqual(try answer(context), 42)
            XCTAssertNotNil(foreign.read(key))
            XCTAssertEqual(try Data(contentsOf: URL(fileURLWithPath: file)).count, whole.count)
        }
    }

    func testCacheThatCannotBeWritten() throws {
        try Data("a file".utf8).write(to: URL(fileURLWithPath: "\(cache)/occupied"))
        for (name, value) in try CUDAEmulator.environment() { set(name, value) }
        set("KVCPU_EMULATOR", cache)
        let cuda = try CUDA.open(
            LibrarySearch(first: [try CUDAEmulator.folder()], asksLoader: false), kernelCache: "\(cache)/occupied/kernels")
        XCTAssertEqual(try answer(try cuda.context(0)), 42)
    }

    func testDevicesThatTheCompilerDoesNotKnow() throws {
        func target(_ capability: String, _ known: String) throws -> Compiler.Target {
            let cuda = try open(["CAPABILITY": capability, "ARCHITECTURES": known])
            return try cuda.compiler.target(cuda.devices[0])
        }
        XCTAssertEqual(try target("9.0", "80,90"), Compiler.Target(architecture: 90, isBinary: true))
        XCTAssertEqual(try target("8.9", "80,90"), Compiler.Target(architecture: 80, isBinary: true))
        XCTAssertEqual(try target("12.1", "80,90"), Compiler.Target(architecture: 90, isBinary: false))
        let error = try error { _ = try target("7.5", "80,90") }
        XCTAssertEqual(error.code, .driver)
        XCTAssertTrue(error.description.hasSuffix("device 0 (Emulated device 0) has 7.5"), error.description)
        // As PTX it runs too.
        XCTAssertEqual(try answer(try context(["CAPABILITY": "12.1", "ARCHITECTURES": "80,90"])), 42)
    }
}
