/// Kernels loaded onto a device.
package final class DeviceModule: @unchecked Sendable {
    // Sendable by hand: constants.
    package let context: DeviceContext
    package let name: String
    private let handle: Handle

    private var driver: DriverCalls { context.driver }

    /// - Parameter image: device code, or PTX ended by a zero.
    init(_ context: DeviceContext, _ image: [UInt8], name: String) throws(CUDAError) {
        try context.makeCurrent()
        var module: Handle?
        let logBytes = 8192
        var log = [CChar](repeating: 0, count: logBytes)
        let status = log.withUnsafeMutableBytes { log in
            // CU_JIT_ERROR_LOG_BUFFER and its size, which is passed in the pointer's place.
            var options: [Int32] = [5, 6]
            var values: [UnsafeMutableRawPointer?] = [log.baseAddress, UnsafeMutableRawPointer(bitPattern: logBytes - 1)]
            return image.withUnsafeBytes { image in
                image.baseAddress.map { context.driver.loadModule(&module, $0, 2, &options, &values) } ?? 1
            }
        }
        if status != Status.success {
            let error = context.driver.error("cuModuleLoadDataEx of \(name)", status)
            let text = String(decoding: log.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            throw text.isEmpty ? error : CUDAError(error.code, error.description + "\n" + text)
        }
        guard let module else { throw CUDAError(.call, "cuModuleLoadDataEx gave no module for \(name)") }
        self.context = context
        self.name = name
        handle = module
    }

    deinit {
        guard driver.setContext(context.handle) == Status.success else { return }
        _ = driver.unloadModule(handle)
    }

    /// - Parameter sharedBytes: the most dynamic shared memory that it will be launched with.
    /// - Throws: `.call` for a name that the module lacks, or more shared memory than the device has for a block.
    package func function(_ name: String, sharedBytes: Int = 0) throws(CUDAError) -> DeviceFunction {
        try context.makeCurrent()
        var function: Handle?
        let status = driver.function(&function, handle, name)
        guard status == Status.success, let function else {
            throw driver.error("cuModuleGetFunction of \(name) in \(self.name)", status)
        }
        // More than 48 KiB must be asked for.
        if sharedBytes > 48 * 1024 {
            let limit = context.device.sharedMemoryPerBlock
            guard sharedBytes <= limit else {
                throw CUDAError(
                    .call,
                    "\(name) needs \(sharedBytes) bytes of shared memory for a block, and device \(context.device.index) "
                        + "(\(context.device.name)) has \(limit)")
            }
            // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            let status = driver.setFunctionAttribute(function, 8, Int32(clamping: sharedBytes))
            if status != Status.success { throw driver.error("cuFuncSetAttribute of \(name)", status) }
        }
        return DeviceFunction(module: self, name: name, handle: function)
    }
}

/// A kernel, ready to be launched by ``DeviceStream/launch(_:grid:block:sharedBytes:_:)``.
package struct DeviceFunction: @unchecked Sendable {
    // Sendable by hand: constants. The module stays loaded as long as this.
    package let module: DeviceModule
    package let name: String
    let handle: Handle
}
