import Foundation

/// A device's primary context: everything on that device is made here. Any thread may use it and what it makes; each call makes the
/// context the thread's current one first, some 50 ns.
package final class DeviceContext: @unchecked Sendable {
    // Sendable by hand: constants; the driver locks its contexts.
    package let cuda: CUDA
    package let device: CUDADevice
    let handle: Handle
    /// Zeroes what is allocated.
    private let zeroing: Handle

    var driver: DriverCalls { cuda.driver }

    init(_ cuda: CUDA, _ device: CUDADevice) throws(CUDAError) {
        let driver = cuda.driver
        var context: Handle?
        try driver.check("cuDevicePrimaryCtxRetain", driver.retainContext(&context, Int32(device.index)))
        guard let context else { throw CUDAError(.call, "cuDevicePrimaryCtxRetain gave no context of device \(device.index)") }
        do throws(CUDAError) {
            try driver.check("cuCtxSetCurrent", driver.setContext(context))
            zeroing = try DeviceStream.make(driver)
        } catch {
            _ = driver.releaseContext(Int32(device.index))
            throw error
        }
        self.cuda = cuda
        self.device = device
        handle = context
    }

    deinit {
        if driver.setContext(handle) == Status.success { _ = driver.destroyStream(zeroing) }
        _ = driver.setContext(nil)
        _ = driver.releaseContext(Int32(device.index))
    }

    /// Makes this the calling thread's context.
    package func makeCurrent() throws(CUDAError) {
        try driver.check("cuCtxSetCurrent", driver.setContext(handle))
    }

    /// Bytes.
    package func memory() throws(CUDAError) -> (free: Int, total: Int) {
        try makeCurrent()
        var free = 0
        var total = 0
        try driver.check("cuMemGetInfo", driver.memory(&free, &total))
        return (free, total)
    }

    /// Memory of the device, zeroed and aligned to 256 bytes. For start-up: waits for the zeroes.
    ///
    /// - Parameter what: names it in the error.
    /// - Throws: `.memory` with what, bytes and what is free; `.call`; `.device`; `.deadline`.
    package func allocate(_ bytes: Int, for what: String) throws(CUDAError) -> DeviceMemory {
        guard bytes >= 0 else { throw CUDAError(.memory, "\(what) cannot have \(bytes) bytes") }
        try makeCurrent()
        let memory: DeviceMemory
        do throws(CUDAError) {
            memory = try DeviceMemory(self, bytes)
        } catch {
            guard error.code == .memory else { throw error }
            let free = (try? self.memory()).map { ", \($0.free) of \($0.total) are free" } ?? ""
            throw CUDAError(.memory, "device \(device.index) (\(device.name)) has no \(bytes) bytes for \(what)\(free)")
        }
        if bytes > 0 {
            try driver.check("cuMemsetD8Async", driver.fill(memory.address, 0, bytes, zeroing))
            let deadline = monotonicNow() + 60_000_000_000
            try driver.poll("cuStreamQuery", "zeroing \(what)", deadline, { false }) { driver.queryStream(zeroing) }
        }
        return memory
    }

    /// - Throws: `.memory`, `.call`, `.device`.
    package func pinned(_ bytes: Int) throws(CUDAError) -> PinnedMemory {
        guard bytes >= 0 else { throw CUDAError(.memory, "pinned memory cannot have \(bytes) bytes") }
        try makeCurrent()
        do throws(CUDAError) {
            return try PinnedMemory(self, bytes)
        } catch {
            guard error.code == .memory else { throw error }
            throw CUDAError(.memory, "\(bytes) bytes of pinned host memory: \(error.description)")
        }
    }

    package func stream() throws(CUDAError) -> DeviceStream {
        try makeCurrent()
        return DeviceStream(self, try DeviceStream.make(driver))
    }

    /// - Parameter timed: whether ``DeviceEvent/milliseconds(since:)`` will be asked; costs the device a little.
    package func event(timed: Bool = false) throws(CUDAError) -> DeviceEvent {
        try makeCurrent()
        return try DeviceEvent(self, timed: timed)
    }

    /// Lets kernels and copies of this device reach the other's memory; already so is fine.
    ///
    /// - Throws: `.call` where the devices have no way to each other (see ``CUDA/canAccessPeer(_:_:)``).
    package func enablePeer(_ other: DeviceContext) throws(CUDAError) {
        try makeCurrent()
        let status = driver.enablePeer(other.handle, 0)
        if status != Status.peerAccessAlreadyEnabled { try driver.check("cuCtxEnablePeerAccess", status) }
    }

    /// Kernels for this device, compiled unless they have been before.
    ///
    /// - Parameters:
    ///   - source: CUDA C++; not read from elsewhere, so that the cache's key is complete.
    ///   - name: of the source in the compiler's messages.
    ///   - options: without the architecture.
    /// - Throws: `.compile` with the log, `.driver`, `.call`, `.memory`.
    package func module(source: String, name: String, options: [String]) throws(CUDAError) -> DeviceModule {
        let target = try cuda.compiler.target(device)
        let key = KernelCache.key(
            source, options, target, driver: cuda.driverVersion, compiler: cuda.compilerVersion)
        if let image = cuda.kernelCache?.read(key) {
            // An image that the driver does not take is compiled anew; only then is an error one.
            if let module = try? DeviceModule(self, image, name: name) { return module }
        }
        let image = try cuda.compiler.compile(source, name: name, options: options, target: target)
        let module = try DeviceModule(self, image, name: name)
        cuda.kernelCache?.write(image, key)
        return module
    }

    /// Products of matrices for one stream; takes 32 MiB of the device's memory.
    package func products() throws(CUDAError) -> MatrixProducts {
        try makeCurrent()
        return try MatrixProducts(self)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, which deadlines are on.
func monotonicNow() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
