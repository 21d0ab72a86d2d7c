import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// Tests over emulated devices: the environment that the emulator reads is set for each and cleared after it.
class EmulatedTestCase: XCTestCase {
    /// Variables as they were before the test.
    private var before: [String: String?] = [:]
    private(set) var cache = ""

    override func setUpWithError() throws {
        cache = NSTemporaryDirectory() + "kvcpu-kernels-\(UUID().uuidString)"
    }

    override func tearDown() {
        for (name, value) in before { if let value { setenv(name, value, 1) } else { unsetenv(name) } }
        before = [:]
        try? FileManager.default.removeItem(atPath: cache)
    }

    func set(_ name: String, _ value: String) {
        if before[name] == nil { before[name] = .some(ProcessInfo.processInfo.environment[name]) }
        setenv(name, value, 1)
    }

    /// The emulated libraries, with these settings: "FAULT" for KVCPU_FAKE_FAULT, and so on.
    func open(_ settings: [String: String] = [:]) throws -> CUDA {
        for (name, value) in try CUDAEmulator.environment() { set(name, value) }
        for (name, value) in settings { set("KVCPU_FAKE_\(name)", value) }
        return try CUDA.open(LibrarySearch(first: [try CUDAEmulator.folder()], asksLoader: false), kernelCache: cache)
    }

    /// The error that a body throws.
    func error(_ body: () throws -> Void, file: StaticString = #filePath, line: UInt = #line) throws -> CUDAError {
        do {
            try body()
        } catch let error as CUDAError {
            return error
        }
        XCTFail("no error", file: file, line: line)
        return CUDAError(.call, "no error")
    }
}

extension DeviceStream {
    /// Waits 20 s at most.
    func finish() throws {
        try synchronise(deadline: monotonicNow() + 20_000_000_000, isInterrupted: { false })
    }

    func upload<Element: BitwiseCopyable>(_ values: [Element], to address: UInt64) throws {
        try values.withUnsafeBytes { try upload(XCTUnwrap($0.baseAddress), to: address, bytes: $0.count) }
    }

    /// Downloads and waits.
    func values<Element: BitwiseCopyable>(_ from: UInt64, _ count: Int, of zero: Element) throws -> [Element] {
        var values = [Element](repeating: zero, count: count)
        try values.withUnsafeMutableBytes {
            try download(from, to: XCTUnwrap($0.baseAddress), bytes: $0.count)
            try finish()
        }
        return values
    }
}
