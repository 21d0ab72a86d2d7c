/// A device, as the driver describes it.
package struct CUDADevice: Sendable, Equatable {
    package let index: Int
    package let name: String
    /// Compute capability.
    package let major: Int, minor: Int
    /// Bytes.
    package let totalMemory: Int
    package let multiprocessors: Int
    /// Bytes of shared memory that a block can have at most when its kernel asks for them.
    package let sharedMemoryPerBlock: Int

    /// 90 for capability 9.0.
    package var architecture: Int { major * 10 + minor }

    /// A device that is not there, to compile for.
    init(index: Int, name: String, major: Int, minor: Int) {
        (self.index, self.name, self.major, self.minor) = (index, name, major, minor)
        (totalMemory, multiprocessors, sharedMemoryPerBlock) = (0, 0, 0)
    }

    /// - Throws: `.device`, `.call`.
    init(_ driver: DriverCalls, _ index: Int) throws(CUDAError) {
        var device: Int32 = 0
        try driver.check("cuDeviceGet", driver.device(&device, Int32(clamping: index)))
        func attribute(_ number: Int32) throws(CUDAError) -> Int {
            var value: Int32 = 0
            try driver.check("cuDeviceGetAttribute", driver.deviceAttribute(&value, number, device))
            return Int(value)
        }
        var name = [CChar](repeating: 0, count: 256)
        try driver.check("cuDeviceGetName", driver.deviceName(&name, 255, device))
        var bytes = 0
        try driver.check("cuDeviceTotalMem", driver.deviceMemory(&bytes, device))
        self.index = index
        self.name = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        totalMemory = bytes
        // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR, _MULTIPROCESSOR_COUNT, _MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        major = try attribute(75)
        minor = try attribute(76)
        multiprocessors = try attribute(16)
        sharedMemoryPerBlock = try attribute(97)
    }
}
