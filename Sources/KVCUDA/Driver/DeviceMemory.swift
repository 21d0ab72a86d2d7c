/// Memory of a device, freed at the end.
package final class DeviceMemory: @unchecked Sendable {
    // Sendable by hand: constant; what lies there is ordered by streams.
    package let address: UInt64
    package let bytes: Int
    package let context: DeviceContext

    init(_ context: DeviceContext, _ bytes: Int) throws(CUDAError) {
        var address: UInt64 = 0
        try context.driver.check("cuMemAlloc", context.driver.allocate(&address, max(bytes, 1)))
        self.address = address
        self.bytes = bytes
        self.context = context
    }

    deinit {
        // Freeing waits for the device's work, and nobody could be told of a failure.
        guard context.driver.setContext(context.handle) == Status.success else { return }
        _ = context.driver.free(address)
    }
}

/// Memory of the host that devices read and write by themselves. Zeroed, freed at the end.
package final class PinnedMemory: @unchecked Sendable {
    // Sendable by hand: constant; what lies there is the owner's to order.
    package let base: UnsafeMutableRawPointer
    package let bytes: Int
    package let context: DeviceContext

    init(_ context: DeviceContext, _ bytes: Int) throws(CUDAError) {
        var base: UnsafeMutableRawPointer?
        // CU_MEMHOSTALLOC_PORTABLE: pinned for every device's context.
        try context.driver.check("cuMemHostAlloc", context.driver.allocatePinned(&base, max(bytes, 1), 1))
        guard let base else { throw CUDAError(.call, "cuMemHostAlloc gave no address for \(bytes) bytes") }
        base.initializeMemory(as: UInt8.self, repeating: 0, count: max(bytes, 1))
        self.base = base
        self.bytes = bytes
        self.context = context
    }

    deinit {
        guard context.driver.setContext(context.handle) == Status.success else { return }
        _ = context.driver.freePinned(base)
    }
}
