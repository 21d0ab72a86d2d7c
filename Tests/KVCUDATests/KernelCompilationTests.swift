import Foundation
import XCTest

@testable import KVCUDA

/// The kernels for real devices: NVIDIA's own compiler takes them.
final class KernelCompilationTests: XCTestCase {
    func testKernelsCompileForEveryGeneration() throws {
        var compilers = 0
        for name in ["libnvrtc.so.12", "libnvrtc.so.13"] {
            guard let library = try? RealLibrary.open(name) else { continue }
            compilers += 1
            let compiler = try Compiler(library)
            for (architecture, elements, cache, dimension) in [
                (80, ElementType.f16, ElementType.f16, 128), (90, .bf16, .f16, 64), (100, .bf16, .bf16, 256), (80, .f16, .bf16, 20),
            ] {
                let image = try compiler.compile(
                    KernelSource.text, name: "kvcpu.cu",
                    options: KernelSource.options(elements: elements, cache: cache, headDimension: dimension),
                    target: Compiler.Target(architecture: architecture, isBinary: true))
                XCTAssertEqual(Array(image.prefix(4)), [0x7f, 0x45, 0x4c, 0x46], "ELF for sm_\(architecture)")
                // The kernels' names are in its symbols.
                let text = String(decoding: image, as: UTF8.self)
                for kernel in DeviceKernels.Name.allCases { XCTAssertTrue(text.contains(kernel.rawValue), kernel.rawValue) }
            }
        }
        if compilers == 0 {
            // CI fetches one.
            if ProcessInfo.processInfo.environment["CI"] == "true" { XCTFail("no NVRTC: make cuda") }
            throw XCTSkip("no NVRTC: make cuda")
        }
    }
}
