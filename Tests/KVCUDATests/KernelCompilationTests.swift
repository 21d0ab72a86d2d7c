import Foundation
import Glibc
import KVCUDA
import XCTest

/// The kernels compiled by the real NVRTC, which needs no device.
final class KernelCompilationTests: XCTestCase {
    private typealias Create =
        @convention(c) (
            UnsafeMutablePointer<OpaquePointer?>, UnsafePointer<CChar>, UnsafePointer<CChar>, Int32, OpaquePointer?, OpaquePointer?
        ) -> Int32
    private typealias Compile = @convention(c) (OpaquePointer?, Int32, UnsafePointer<UnsafePointer<CChar>?>) -> Int32
    private typealias Size = @convention(c) (OpaquePointer?, UnsafeMutablePointer<Int>) -> Int32
    private typealias Read = @convention(c) (OpaquePointer?, UnsafeMutablePointer<CChar>) -> Int32
    private typealias Destroy = @convention(c) (UnsafeMutablePointer<OpaquePointer?>) -> Int32

    /// NVRTC's libraries: in KVCPU_CUDA_PATH's folders, where CUDA is usually, and in ~/.cache/kvcpu/cuda, where CI unpacks wheels.
    private func libraries() throws -> [UnsafeMutableRawPointer] {
        let names = ["libnvrtc.so.12", "libnvrtc.so.13"]
        let search = LibrarySearch.standard
        var folders = search.first + search.last
        let cache = FileManager.default.homeDirectoryForCurrentUser.appendingPathComponent(".cache/kvcpu/cuda").path
        folders += (try? FileManager.default.subpathsOfDirectory(atPath: cache))?.map { "\(cache)/\($0)" } ?? []
        var found: [UnsafeMutableRawPointer] = []
        for name in names {
            let paths = folders.map { "\($0)/\(name)" }.filter { FileManager.default.fileExists(atPath: $0) }
            guard let library = (paths + [name]).lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first else { continue }
            found.append(library)
        }
        if !found.isEmpty { return found }
        if ProcessInfo.processInfo.environment["CI"] == "true" {
            throw EmulatedKernels.Failed(
                status: -1, description: "no NVRTC, and CI=true forbids skipping: CI fetches it into \(cache)")
        }
        throw XCTSkip("no NVRTC: `pip install nvidia-cuda-nvrtc-cu12`, or set KVCPU_CUDA_PATH to the folder that holds it")
    }

    /// The log where the source does not compile, nil where it does.
    private func compile(_ library: UnsafeMutableRawPointer, _ options: [String]) throws -> String? {
        func symbol<T>(_ name: String, _ type: T.Type) throws -> T {
            guard let address = dlsym(library, name) else { throw EmulatedKernels.Failed(status: -1, description: "no \(name)") }
            return unsafeBitCast(address, to: type)
        }
        var program: OpaquePointer?
        XCTAssertEqual(try symbol("nvrtcCreateProgram", Create.self)(&program, KernelSource.text, "kvcpu.cu", 0, nil, nil), 0)
        let destroy = try symbol("nvrtcDestroyProgram", Destroy.self)
        defer { _ = destroy(&program) }
        let texts = options.map { strdup($0) }
        defer { for text in texts { free(text) } }
        let status = try symbol("nvrtcCompileProgram", Compile.self)(
            program, Int32(texts.count), texts.map { $0.map { UnsafePointer($0) } })
        var size = 0
        XCTAssertEqual(try symbol("nvrtcGetProgramLogSize", Size.self)(program, &size), 0)
        var log = [CChar](repeating: 0, count: max(size, 1))
        XCTAssertEqual(try symbol("nvrtcGetProgramLog", Read.self)(program, &log), 0)
        let text = String(decoding: log.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return status == 0 && text.isEmpty ? nil : "status \(status) \(options): \(text)"
    }

    /// Without a warning.
    func testKernelsCompileForEveryGeneration() throws {
        let choices: [(Int, ElementType, ElementType, Int)] = [
            (80, .f16, .f16, 128), (90, .bf16, .f16, 64), (100, .bf16, .bf16, 256), (80, .f16, .bf16, 20),
        ]
        for library in try libraries() {
            for (architecture, elements, cache, dimension) in choices {
                let options = KernelSource.options(elements: elements, cache: cache, headDimension: dimension)
                XCTAssertNil(try compile(library, options + ["--gpu-architecture=sm_\(architecture)"]))
            }
        }
    }
}
