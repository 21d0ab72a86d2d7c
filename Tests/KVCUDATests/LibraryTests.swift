import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// Opening the libraries, and what is said when that does not work.
final class LibraryTests: EmulatedTestCase {
    private func folder() throws -> String {
        let folder = NSTemporaryDirectory() + "kvcpu-libraries-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(atPath: folder) }
        return folder
    }

    private func open(_ folder: String) throws {
        _ = try CUDA.open(LibrarySearch(first: [folder], asksLoader: false), kernelCache: nil)
    }

    func testEachLibraryMissing() throws {
        let emulated = try CUDAEmulator.folder()
        let there = try folder()
        let names = ["libcuda.so.1", "libnvrtc.so.12", "libcublasLt.so.12"]
        for (index, name) in names.enumerated() {
            let error = try error { try self.open(there) }
            XCTAssertEqual(error.code, .library)
            XCTAssertEqual(
                error.description, "\(name) cannot be opened: looked in \(there); KVCPU_CUDA_PATH names further folders")
            try FileManager.default.createSymbolicLink(
                atPath: "\(there)/\(name)", withDestinationPath: "\(emulated)/\(names[index])")
        }
        try open(there)
    }

    func testFileThatIsNoLibrary() throws {
        let there = try folder()
        try Data("no library".utf8).write(to: URL(fileURLWithPath: "\(there)/libcuda.so.1"))
        let error = try error { try self.open(there) }
        XCTAssertEqual(error.code, .library)
        XCTAssertTrue(error.description.hasPrefix("libcuda.so.1 cannot be opened: \(there)/libcuda.so.1: "), error.description)
    }

    func testMissingFunction() throws {
        let there = try folder()
        let source = "\(there)/old.cpp"
        let text = """
            extern "C" int cuDriverGetVersion(int *version) { *version = 12000; return 0; }
            extern "C" int cuInit(unsigned) { return 0; }
            """
        try Data(text.utf8).write(to: URL(fileURLWithPath: source))
        try CUDAEmulator.compile(["-shared", "-fPIC", source, "-o", "\(there)/libcuda.so.1"])
        let error = try error { try self.open(there) }
        XCTAssertEqual(error, CUDAError(.symbol, "\(there)/libcuda.so.1 has no function cuGetErrorName"))
    }

    func testOldDriver() throws {
        let error = try error { _ = try self.open(["DRIVER": "11080"]) }
        XCTAssertEqual(error.code, .driver)
        XCTAssertTrue(error.description.hasSuffix("the driver is of CUDA 11.8, and 12.0 or newer is needed"), error.description)
    }

    func testNewerDriverTakesOlderLibraries() throws {
        XCTAssertEqual(try open(["DRIVER": "13010"]).driverVersion, 13010)
    }

    func testNoDevice() throws {
        let error = try error { _ = try self.open(["DEVICES": "0"]) }
        XCTAssertEqual(
            error, CUDAError(.device, "cuInit failed with 100 CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"))
        XCTAssertEqual(
            try self.error { _ = try self.open(["DEVICES": "2"]).context(2) },
            CUDAError(.device, "there is no CUDA device 2: the driver has 2, the first is 0"))
    }

    func testDevices() throws {
        let cuda = try open(["DEVICES": "2", "MEMORY": "1000000", "CAPABILITY": "8.6"])
        XCTAssertEqual(cuda.devices.map(\.name), ["Emulated device 0", "Emulated device 1"])
        XCTAssertEqual(cuda.devices.map(\.totalMemory), [1_000_000, 1_000_000])
        XCTAssertEqual(cuda.devices.map(\.architecture), [86, 86])
        XCTAssertEqual(cuda.driverVersion, 12040)
        XCTAssertEqual(
            cuda.libraries.map { URL(fileURLWithPath: $0).lastPathComponent },
            ["libcuda.so.1", "libnvrtc.so.12", "libcublasLt.so.12"])
        XCTAssertTrue(try cuda.canAccessPeer(0, 1))
        XCTAssertFalse(try open(["DEVICES": "2", "PEERS": "0"]).canAccessPeer(1, 0))
        let context = try cuda.context(1)
        XCTAssertTrue(context === (try cuda.context(1)))
    }

    func testSearchFindsToolkitsAndWheels() throws {
        let root = try folder()
        let folders = ["cuda/targets/x86_64-linux/lib", "venv/lib/python3.12/site-packages/nvidia/cublas/lib", "python/bin"]
        for folder in folders {
            try FileManager.default.createDirectory(atPath: "\(root)/\(folder)", withIntermediateDirectories: true)
        }
        let search = LibrarySearch(environment: [
            "KVCPU_CUDA_PATH": "/first:/second", "CUDA_HOME": "\(root)/cuda", "VIRTUAL_ENV": "\(root)/venv",
        ])
        XCTAssertEqual(search.first, ["/first", "/second"])
        XCTAssertTrue(search.last.contains("\(root)/cuda/lib64"))
        XCTAssertTrue(search.last.contains("\(root)/cuda/targets/x86_64-linux/lib"))
        XCTAssertTrue(search.last.contains("\(root)/venv/lib/python3.12/site-packages/nvidia/cublas/lib"))
    }

    func testOutOfMemory() throws {
        let context = try open(["MEMORY": "100000"]).context(0)
        let first = try context.allocate(60000, for: "weights")
        XCTAssertEqual(first.address % 256, 0)
        XCTAssertEqual(try context.memory().free, 40000)
        XCTAssertEqual(
            try error { _ = try context.allocate(50000, for: "the KV-cache") },
            CUDAError(.memory, "device 0 (Emulated device 0) has no 50000 bytes for the KV-cache, 40000 of 100000 are free"))
        XCTAssertEqual(try error { _ = try context.products() }.code, .memory)
    }

    func testMemoryIsZeroedAndFreed() throws {
        let context = try open(["MEMORY": "100000"]).context(0)
        let stream = try context.stream()
        for _ in 0..<3 {
            let memory = try context.allocate(80000, for: "a cache")
            XCTAssertEqual(try stream.values(memory.address, 80000, of: UInt8(1)), [UInt8](repeating: 0, count: 80000))
        }
        XCTAssertEqual(try context.memory().free, 100000)
        let pinned = try context.pinned(100)
        XCTAssertEqual(pinned.base.load(fromByteOffset: 99, as: UInt8.self), 0)
    }

    func testFailingCallsAreNamed() throws {
        let faults: [(String, CUDAError.Code, (DeviceContext) throws -> Void)] = [
            ("cuStreamCreate", .call, { _ = try $0.stream() }),
            ("cuEventCreate", .call, { _ = try $0.event() }),
            ("cuMemAlloc", .call, { _ = try $0.allocate(1, for: "it") }),
            ("cuMemHostAlloc", .call, { _ = try $0.pinned(1) }),
            ("cuMemGetInfo", .call, { _ = try $0.memory() }),
        ]
        for (call, code, body) in faults {
            let symbol = ["cuMemAlloc", "cuMemGetInfo"].contains(call) ? call + "_v2" : call
            let context = try open(["FAULT": "\(symbol):1:after=\(call == "cuStreamCreate" ? 1 : 0)"]).context(0)
            let error = try error { try body(context) }
            XCTAssertEqual(error, CUDAError(code, "\(call) failed with 1 CUDA_ERROR_INVALID_VALUE: invalid argument"))
        }
        let error = try error { _ = try self.open(["FAULT": "cuInit:999"]) }
        XCTAssertEqual(error, CUDAError(.call, "cuInit failed with 999 CUDA_ERROR_UNKNOWN: unknown error"))
        XCTAssertEqual(
            try self.error { _ = try self.open(["FAULT": "cuInit:12345"]) }, CUDAError(.call, "cuInit failed with 12345"))
    }

    func testLostDevice() throws {
        let context = try open(["FAULT": "cuStreamQuery:46:after=4"]).context(0)
        let stream = try context.stream()
        let error = try error {
            for _ in 0..<9 { try stream.finish() }
        }
        XCTAssertEqual(error.code, .device)
        XCTAssertTrue(error.description.hasPrefix("cuStreamQuery failed with 46 CUDA_ERROR_DEVICE_UNAVAILABLE"), error.description)
    }
}
