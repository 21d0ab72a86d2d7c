import Foundation
import KVTestSupport
import XCTest

@testable import KVCUDA

/// NVIDIA's own libraries, where this machine has them (no device is needed): where `LibrarySearch.standard` looks, and where `make cuda` puts NVRTC.
enum RealLibrary {
    /// - Throws: a skip where there is none.
    static func open(_ name: String) throws -> Library {
        let standard = LibrarySearch.standard
        // Other tests may have pointed this process to the emulated ones.
        let emulated = try? CUDAEmulator.folder()
        let cache = ProcessInfo.processInfo.environment["XDG_CACHE_HOME"] ?? NSHomeDirectory() + "/.cache"
        let fetched = "\(cache)/kvcpu/cuda/nvidia"
        let folders = ((try? FileManager.default.contentsOfDirectory(atPath: fetched)) ?? []).map { "\(fetched)/\($0)/lib" }
        let search = LibrarySearch(first: standard.first.filter { $0 != emulated } + folders, last: standard.last)
        guard let library = try? search.open([name]) else {
            throw XCTSkip("no \(name) here: `make cuda` fetches NVRTC 12, KVCPU_CUDA_PATH names folders of others")
        }
        return library
    }
}

/// What we take NVRTC and cuBLASLt to be, against NVIDIA's own.
final class RealLibraryTests: XCTestCase {
    private static let source = """
        extern "C" __global__ void scale(float *x, float by, long n) {
            const long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
            if (i < n) x[i] *= by;
        }
        """

    private func check(_ name: String, _ major: Int) throws {
        let compiler = try Compiler(try RealLibrary.open(name))
        XCTAssertEqual(compiler.version / 1000, major)
        for (capability, target) in [
            ((8, 0), Compiler.Target(architecture: 80, isBinary: true)),
            ((8, 9), Compiler.Target(architecture: 89, isBinary: true)),
            ((9, 0), Compiler.Target(architecture: 90, isBinary: true)),
            ((10, 0), Compiler.Target(architecture: 100, isBinary: true)),
        ] {
            let device = CUDADevice(index: 0, name: "none", major: capability.0, minor: capability.1)
            XCTAssertEqual(try compiler.target(device), target)
            let image = try compiler.compile(Self.source, name: "scale.cu", options: ["--std=c++17", "-DX=1"], target: target)
            XCTAssertEqual(Array(image.prefix(4)), [0x7f, 0x45, 0x4c, 0x46], "ELF")
        }
        let later = try compiler.target(CUDADevice(index: 0, name: "later", major: 99, minor: 0))
        XCTAssertFalse(later.isBinary)
        let text = try compiler.compile(Self.source, name: "scale.cu", options: [], target: later)
        XCTAssertEqual(text.last, 0)
        XCTAssertTrue(String(decoding: text, as: UTF8.self).contains(".visible .entry scale("))

        let target = Compiler.Target(architecture: 90, isBinary: true)
        XCTAssertThrowsError(try compiler.compile("\nint x = nothing;", name: "broken.cu", options: [], target: target)) {
            let error = $0 as? CUDAError
            XCTAssertEqual(error?.code, .compile)
            XCTAssertTrue(error?.description.contains("broken.cu(2): error: identifier \"nothing\" is undefined") ?? false, "\($0)")
        }
        XCTAssertThrowsError(try compiler.compile("", name: "x.cu", options: ["--no-such"], target: target)) {
            XCTAssertTrue("\($0)".contains("NVRTC_ERROR_INVALID_OPTION"), "\($0)")
        }
    }

    func testCompiler12() throws { try check("libnvrtc.so.12", 12) }
    func testCompiler13() throws { try check("libnvrtc.so.13", 13) }

    /// Every function is there; descriptors need no device, a handle does.
    func testProducts12() throws { try checkProducts("libcublasLt.so.12") }
    func testProducts13() throws { try checkProducts("libcublasLt.so.13") }

    private func checkProducts(_ name: String) throws {
        let calls = try ProductCalls(try RealLibrary.open(name))
        var handle: Handle?
        try calls.check("cublasLtMatmulDescCreate", calls.createProduct(&handle, 68, 0))
        let product = try XCTUnwrap(handle)
        var transposed: Int32 = 1
        try calls.check("cublasLtMatmulDescSetAttribute", calls.setProduct(product, 3, &transposed, 4))
        try calls.check("cublasLtMatmulDescDestroy", calls.destroyProduct(product))
        for type: Int32 in [0, 2, 14] {
            try calls.check("cublasLtMatrixLayoutCreate", calls.createLayout(&handle, type, 3, 5, 4))
            try calls.check("cublasLtMatrixLayoutDestroy", calls.destroyLayout(XCTUnwrap(handle)))
        }
        try calls.check("cublasLtMatmulPreferenceCreate", calls.createPreference(&handle))
        let preference = try XCTUnwrap(handle)
        var bytes: UInt64 = 32 << 20
        var alignment: UInt32 = 16
        try calls.check("cublasLtMatmulPreferenceSetAttribute", calls.setPreference(preference, 1, &bytes, 8))
        for attribute: Int32 in 5...8 {
            try calls.check("cublasLtMatmulPreferenceSetAttribute", calls.setPreference(preference, attribute, &alignment, 4))
        }
        XCTAssertThrowsError(
            try calls.check("cublasLtMatmulPreferenceSetAttribute", calls.setPreference(preference, 5, &bytes, 8))
        ) { XCTAssertEqual("\($0)", "cublasLtMatmulPreferenceSetAttribute failed with 7 CUBLAS_STATUS_INVALID_VALUE") }
        try calls.check("cublasLtMatmulPreferenceDestroy", calls.destroyPreference(preference))
    }
}
