import Foundation

/// CUDA's libraries, opened: the driver, NVRTC (compiles kernels), cuBLASLt (products of matrices); and the devices that the driver has.
package final class CUDA: Sendable {
    /// 12040 for 12.4.
    package let driverVersion: Int
    /// NVRTC's version, 12040 for 12.4.
    package let compilerVersion: Int
    /// The files opened.
    package let libraries: [String]
    package let devices: [CUDADevice]

    let driver: DriverCalls
    let compiler: Compiler
    let productCalls: ProductCalls
    let kernelCache: KernelCache?
    private let contexts: Contexts

    /// Opens the libraries and asks for the devices. Takes some 0.1 s, mostly the driver's.
    ///
    /// - Parameters:
    ///   - search: where the libraries are looked for.
    ///   - kernelCache: a folder for compiled kernels; nil: none are kept.
    /// - Throws: `.library`, `.symbol`, `.driver` (older than 12.0), `.device` (none), `.call`.
    package static func open(
        _ search: LibrarySearch = .standard, kernelCache: String? = KernelCache.standardFolder
    ) throws(CUDAError) -> CUDA {
        try CUDA(search, kernelCache)
    }

    private init(_ search: LibrarySearch, _ cache: String?) throws(CUDAError) {
        let library = try search.open(["libcuda.so.1"])
        // Asked before the other functions, so that an old driver is named as that and not by what it lacks.
        let ask: @convention(c) (UnsafeMutablePointer<Int32>) -> Int32 = try library.function("cuDriverGetVersion")
        var version: Int32 = 0
        guard ask(&version) == Status.success else {
            throw CUDAError(.driver, "\(library.path): the driver does not tell its version")
        }
        guard version >= 12000 else {
            throw CUDAError(
                .driver, "\(library.path): the driver is of CUDA \(Self.text(Int(version))), and 12.0 or newer is needed")
        }
        let driver = try DriverCalls(library)
        try driver.check("cuInit", driver.initialise(0))
        // A library newer than the driver does not run with it, one older by a whole version does.
        let versions = (12...max(12, Int(version) / 1000)).reversed()
        compiler = try Compiler(search.open(versions.map { "libnvrtc.so.\($0)" }))
        productCalls = try ProductCalls(search.open(versions.map { "libcublasLt.so.\($0)" }))
        var count: Int32 = 0
        try driver.check("cuDeviceGetCount", driver.deviceCount(&count))
        guard count > 0 else { throw CUDAError(.device, "the driver finds no CUDA device") }
        var devices: [CUDADevice] = []
        for index in 0..<Int(count) { devices.append(try CUDADevice(driver, index)) }
        self.driver = driver
        self.devices = devices
        driverVersion = Int(version)
        compilerVersion = compiler.version
        libraries = [library.path, compiler.library.path, productCalls.library.path]
        kernelCache = cache.map { KernelCache(folder: $0) }
        contexts = Contexts()
    }

    /// "12.4" for 12040.
    package static func text(_ version: Int) -> String { "\(version / 1000).\(version % 1000 / 10)" }

    /// Whether kernels and copies on device `from` can reach the memory of `to` without a way through the host.
    package func canAccessPeer(_ from: Int, _ to: Int) throws(CUDAError) -> Bool {
        var answer: Int32 = 0
        try driver.check("cuDeviceCanAccessPeer", driver.canAccessPeer(&answer, Int32(clamping: from), Int32(clamping: to)))
        return answer != 0
    }

    /// The device's primary context, the same one as long as somebody has it.
    ///
    /// - Throws: `.device` for an index that no device has, `.call`, `.memory`.
    package func context(_ device: Int) throws(CUDAError) -> DeviceContext {
        guard devices.indices.contains(device) else {
            throw CUDAError(.device, "there is no CUDA device \(device): the driver has \(devices.count), the first is 0")
        }
        contexts.lock.lock()
        defer { contexts.lock.unlock() }
        if let context = contexts.open[device]?.context { return context }
        let context = try DeviceContext(self, devices[device])
        contexts.open[device] = Contexts.Weak(context: context)
        return context
    }

    /// Weak, since a context keeps the libraries.
    private final class Contexts: @unchecked Sendable {
        // Sendable by hand: `open` is touched under the lock only.
        struct Weak { weak var context: DeviceContext? }
        let lock = NSLock()
        var open: [Int: Weak] = [:]
    }
}
