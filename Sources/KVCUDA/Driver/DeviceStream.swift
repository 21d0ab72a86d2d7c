import Glibc

/// What a kernel is given; devices' addresses as `pointer`, C's int and long long as `int32` and `int64`.
package enum KernelArgument: Sendable {
    case pointer(UInt64), int32(Int), int64(Int), float(Float)

    /// The argument's bytes, in the first of eight (little-endian).
    fileprivate var slot: UInt64 {
        switch self {
        case .pointer(let address): address
        case .int32(let value): UInt64(UInt32(bitPattern: Int32(truncatingIfNeeded: value)))
        case .int64(let value): UInt64(bitPattern: Int64(value))
        case .float(let value): UInt64(value.bitPattern)
        }
    }
}

/// Work of a device, done in the order in which it was asked for, beside that of other streams. Every call returns before the work is
/// done, and an error of the work comes out of a later call. One thread at a time.
package final class DeviceStream: @unchecked Sendable {
    // Sendable by hand: constants; its owner orders the calls.
    package let context: DeviceContext
    let handle: Handle

    private var driver: DriverCalls { context.driver }

    init(_ context: DeviceContext, _ handle: Handle) {
        self.context = context
        self.handle = handle
    }

    deinit {
        guard driver.setContext(context.handle) == Status.success else { return }
        _ = driver.destroyStream(handle)
    }

    /// A stream of the thread's current context that does not wait for the context's default stream.
    static func make(_ driver: DriverCalls) throws(CUDAError) -> Handle {
        var stream: Handle?
        // CU_STREAM_NON_BLOCKING
        try driver.check("cuStreamCreate", driver.createStream(&stream, 1))
        guard let stream else { throw CUDAError(.call, "cuStreamCreate gave no stream") }
        return stream
    }

    // MARK: Work

    /// Runs a kernel. Some 3 µs.
    ///
    /// - Parameters:
    ///   - grid: blocks in x, y, z; nothing is done where one is 0.
    ///   - block: threads of a block.
    ///   - sharedBytes: dynamic shared memory of a block, no more than its ``DeviceFunction`` was made for.
    package func launch(
        _ function: DeviceFunction, grid: (Int, Int, Int), block: Int, sharedBytes: Int = 0, _ arguments: KernelArgument...
    ) throws(CUDAError) {
        if grid.0 == 0 || grid.1 == 0 || grid.2 == 0 { return }
        guard let x = UInt32(exactly: grid.0), let y = UInt32(exactly: grid.1), let z = UInt32(exactly: grid.2),
            let threads = UInt32(exactly: block), let shared = UInt32(exactly: sharedBytes)
        else {
            throw CUDAError(
                .call, "\(function.name) cannot be launched with grid \(grid), block \(block), shared \(sharedBytes)")
        }
        try context.makeCurrent()
        let count = arguments.count
        let status = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: max(count, 1)) { slots in
            withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: max(count, 1)) { pointers in
                guard let slot = slots.baseAddress, let pointer = pointers.baseAddress else { return Int32(1) }
                for (index, argument) in arguments.enumerated() {
                    (slot + index).initialize(to: argument.slot)
                    (pointer + index).initialize(to: UnsafeMutableRawPointer(slot + index))
                }
                // The driver copies the arguments before it returns.
                return driver.launchKernel(function.handle, x, y, z, threads, 1, 1, shared, handle, pointer, nil)
            }
        }
        if status != Status.success { throw driver.error("cuLaunchKernel of \(function.name)", status) }
    }

    /// Copies from host to device. Pinned memory is read when the stream comes to it and must stay as it is until then; other memory
    /// may be changed at once, but the call takes as long as reading it.
    package func upload(_ host: UnsafeRawPointer, to: UInt64, bytes: Int) throws(CUDAError) {
        if bytes == 0 { return }
        try context.makeCurrent()
        try driver.check("cuMemcpyHtoDAsync", driver.upload(to, host, bytes, handle))
    }

    /// Copies from device to host; there when the stream has passed it.
    package func download(_ from: UInt64, to host: UnsafeMutableRawPointer, bytes: Int) throws(CUDAError) {
        if bytes == 0 { return }
        try context.makeCurrent()
        try driver.check("cuMemcpyDtoHAsync", driver.download(host, from, bytes, handle))
    }

    /// Copies within the device.
    package func copy(_ from: UInt64, to: UInt64, bytes: Int) throws(CUDAError) {
        if bytes == 0 { return }
        try context.makeCurrent()
        try driver.check("cuMemcpyDtoDAsync", driver.copy(to, from, bytes, handle))
    }

    /// Copies from device to device: directly where peer access is enabled, else through the host.
    package func copy(
        _ from: UInt64, of source: DeviceContext, to: UInt64, of target: DeviceContext, bytes: Int
    ) throws(CUDAError) {
        if bytes == 0 { return }
        try context.makeCurrent()
        try driver.check("cuMemcpyPeerAsync", driver.copyToPeer(to, target.handle, from, source.handle, bytes, handle))
    }

    package func zero(_ at: UInt64, bytes: Int) throws(CUDAError) {
        if bytes == 0 { return }
        try context.makeCurrent()
        try driver.check("cuMemsetD8Async", driver.fill(at, 0, bytes, handle))
    }

    // MARK: Order

    /// The event happens when the stream comes here.
    package func record(_ event: DeviceEvent) throws(CUDAError) {
        try context.makeCurrent()
        try driver.check("cuEventRecord", driver.recordEvent(event.handle, handle))
    }

    /// What follows waits for the event as recorded last; one that never was is no wait.
    package func wait(_ event: DeviceEvent) throws(CUDAError) {
        try context.makeCurrent()
        try driver.check("cuStreamWaitEvent", driver.waitForEvent(handle, event.handle, 0))
    }

    /// Whether all work is done. Throws an error of the work.
    package func isDone() throws(CUDAError) -> Bool {
        try context.makeCurrent()
        let status = driver.queryStream(handle)
        if status == Status.notReady { return false }
        try driver.check("cuStreamQuery", status)
        return true
    }

    /// Waits until all work is done: looks for some 100 µs, then between sleeps of 20 µs, at last of 200 µs.
    ///
    /// - Parameters:
    ///   - deadline: nanoseconds of CLOCK_MONOTONIC.
    ///   - isInterrupted: asked with every look.
    /// - Throws: `.deadline`, `.interrupted`, and an error of the work.
    package func synchronise(deadline: UInt64, isInterrupted: () -> Bool) throws(CUDAError) {
        try context.makeCurrent()
        try driver.poll("cuStreamQuery", "device \(context.device.index)'s stream", deadline, isInterrupted) {
            driver.queryStream(handle)
        }
    }

    // MARK: Graphs

    /// Records what `body` asks of this stream instead of doing it, to be launched as a whole, often. Arguments and addresses are kept
    /// as they are now. The body must not allocate, wait or ask for state; other streams join by waiting for an event of this one, and
    /// must be waited for before the body's end. Do the same work once outside a capture before: drivers before 12.3 cannot load kernels
    /// in one, and nor can cuBLASLt be sure to set itself up.
    ///
    /// - Throws: what the body throws, else `.call`.
    package func capture(_ body: () throws(CUDAError) -> Void) throws(CUDAError) -> DeviceGraph {
        try context.makeCurrent()
        // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other ranks' threads do meanwhile is theirs.
        try driver.check("cuStreamBeginCapture", driver.beginCapture(handle, 1))
        var graph: Handle?
        do throws(CUDAError) {
            try body()
            try context.makeCurrent()
        } catch {
            if driver.endCapture(handle, &graph) == Status.success, let graph { _ = driver.destroyGraph(graph) }
            throw error
        }
        try driver.check("cuStreamEndCapture", driver.endCapture(handle, &graph))
        guard let graph else { throw CUDAError(.call, "cuStreamEndCapture gave no graph") }
        defer { _ = driver.destroyGraph(graph) }
        return try DeviceGraph(context, graph)
    }

    package func launch(_ graph: DeviceGraph) throws(CUDAError) {
        try context.makeCurrent()
        try driver.check("cuGraphLaunch", driver.launchGraph(graph.handle, handle))
    }
}

/// Work that was captured once and can be launched as a whole.
package final class DeviceGraph: @unchecked Sendable {
    // Sendable by hand: constants.
    package let context: DeviceContext
    let handle: Handle

    init(_ context: DeviceContext, _ graph: Handle) throws(CUDAError) {
        var instance: Handle?
        try context.driver.check("cuGraphInstantiateWithFlags", context.driver.instantiateGraph(&instance, graph, 0))
        guard let instance else { throw CUDAError(.call, "cuGraphInstantiateWithFlags gave no graph") }
        self.context = context
        handle = instance
    }

    deinit {
        guard context.driver.setContext(context.handle) == Status.success else { return }
        _ = context.driver.destroyGraphInstance(handle)
    }
}

/// A moment in a stream.
package final class DeviceEvent: @unchecked Sendable {
    // Sendable by hand: constants; the driver locks its events.
    package let context: DeviceContext
    let handle: Handle

    private var driver: DriverCalls { context.driver }

    init(_ context: DeviceContext, timed: Bool) throws(CUDAError) {
        var event: Handle?
        // CU_EVENT_DISABLE_TIMING unless timed
        try context.driver.check("cuEventCreate", context.driver.createEvent(&event, timed ? 0 : 2))
        guard let event else { throw CUDAError(.call, "cuEventCreate gave no event") }
        self.context = context
        handle = event
    }

    deinit {
        guard driver.setContext(context.handle) == Status.success else { return }
        _ = driver.destroyEvent(handle)
    }

    /// Whether it has happened since it was recorded last, or was never recorded.
    package func isDone() throws(CUDAError) -> Bool {
        try context.makeCurrent()
        let status = driver.queryEvent(handle)
        if status == Status.notReady { return false }
        try driver.check("cuEventQuery", status)
        return true
    }

    /// Waits until it has happened, as ``DeviceStream/synchronise(deadline:isInterrupted:)`` does.
    package func wait(deadline: UInt64, isInterrupted: () -> Bool) throws(CUDAError) {
        try context.makeCurrent()
        try driver.poll("cuEventQuery", "an event of device \(context.device.index)", deadline, isInterrupted) {
            driver.queryEvent(handle)
        }
    }

    /// Between two timed events that have happened, to about 0.5 µs.
    package func milliseconds(since start: DeviceEvent) throws(CUDAError) -> Double {
        try context.makeCurrent()
        var value: Float = 0
        try driver.check("cuEventElapsedTime", driver.elapsed(&value, start.handle, handle))
        return Double(value)
    }
}
