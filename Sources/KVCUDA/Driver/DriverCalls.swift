import Glibc

/// A handle of one of the libraries: context, stream, event, module, function, graph.
typealias Handle = UnsafeMutableRawPointer

/// libcuda's functions, found by name. Names are those that cuda.h of 12.0 to 13.x maps its calls to, and that drivers from 12.0 on
/// have; types are cuda.h's, with handles as raw pointers, `CUdeviceptr` as UInt64 and enumerations as Int32.
struct DriverCalls: @unchecked Sendable {
    // Sendable by hand: functions of a library that is never closed.
    typealias Out<Value> = UnsafeMutablePointer<Value>

    let library: Library
    let initialise: @convention(c) (UInt32) -> Int32
    let driverVersion: @convention(c) (Out<Int32>) -> Int32
    let errorName: @convention(c) (Int32, Out<UnsafePointer<CChar>?>) -> Int32
    let errorString: @convention(c) (Int32, Out<UnsafePointer<CChar>?>) -> Int32

    let deviceCount: @convention(c) (Out<Int32>) -> Int32
    let device: @convention(c) (Out<Int32>, Int32) -> Int32
    let deviceName: @convention(c) (Out<CChar>, Int32, Int32) -> Int32
    let deviceAttribute: @convention(c) (Out<Int32>, Int32, Int32) -> Int32
    let deviceMemory: @convention(c) (Out<Int>, Int32) -> Int32
    let canAccessPeer: @convention(c) (Out<Int32>, Int32, Int32) -> Int32

    let retainContext: @convention(c) (Out<Handle?>, Int32) -> Int32
    let releaseContext: @convention(c) (Int32) -> Int32
    let setContext: @convention(c) (Handle?) -> Int32
    let enablePeer: @convention(c) (Handle, UInt32) -> Int32

    let memory: @convention(c) (Out<Int>, Out<Int>) -> Int32
    let allocate: @convention(c) (Out<UInt64>, Int) -> Int32
    let free: @convention(c) (UInt64) -> Int32
    let allocatePinned: @convention(c) (Out<UnsafeMutableRawPointer?>, Int, UInt32) -> Int32
    let freePinned: @convention(c) (UnsafeMutableRawPointer) -> Int32

    let upload: @convention(c) (UInt64, UnsafeRawPointer, Int, Handle) -> Int32
    let download: @convention(c) (UnsafeMutableRawPointer, UInt64, Int, Handle) -> Int32
    let copy: @convention(c) (UInt64, UInt64, Int, Handle) -> Int32
    let copyToPeer: @convention(c) (UInt64, Handle, UInt64, Handle, Int, Handle) -> Int32
    let fill: @convention(c) (UInt64, UInt8, Int, Handle) -> Int32

    let createStream: @convention(c) (Out<Handle?>, UInt32) -> Int32
    let destroyStream: @convention(c) (Handle) -> Int32
    let queryStream: @convention(c) (Handle) -> Int32
    let waitForEvent: @convention(c) (Handle, Handle, UInt32) -> Int32
    let createEvent: @convention(c) (Out<Handle?>, UInt32) -> Int32
    let destroyEvent: @convention(c) (Handle) -> Int32
    let recordEvent: @convention(c) (Handle, Handle) -> Int32
    let queryEvent: @convention(c) (Handle) -> Int32
    let elapsed: @convention(c) (Out<Float>, Handle, Handle) -> Int32

    let beginCapture: @convention(c) (Handle, Int32) -> Int32
    let endCapture: @convention(c) (Handle, Out<Handle?>) -> Int32
    let instantiateGraph: @convention(c) (Out<Handle?>, Handle, UInt64) -> Int32
    let launchGraph: @convention(c) (Handle, Handle) -> Int32
    let destroyGraph: @convention(c) (Handle) -> Int32
    let destroyGraphInstance: @convention(c) (Handle) -> Int32

    let loadModule: @convention(c) (Out<Handle?>, UnsafeRawPointer, UInt32, Out<Int32>?, Out<UnsafeMutableRawPointer?>?) -> Int32
    let unloadModule: @convention(c) (Handle) -> Int32
    let function: @convention(c) (Out<Handle?>, Handle, UnsafePointer<CChar>) -> Int32
    let setFunctionAttribute: @convention(c) (Handle, Int32, Int32) -> Int32
    let launchKernel:
        @convention(c) (
            Handle, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, Handle, Out<UnsafeMutableRawPointer?>?,
            Out<UnsafeMutableRawPointer?>?
        ) -> Int32

    init(_ library: Library) throws(CUDAError) {
        self.library = library
        initialise = try library.function("cuInit")
        driverVersion = try library.function("cuDriverGetVersion")
        errorName = try library.function("cuGetErrorName")
        errorString = try library.function("cuGetErrorString")
        deviceCount = try library.function("cuDeviceGetCount")
        device = try library.function("cuDeviceGet")
        deviceName = try library.function("cuDeviceGetName")
        deviceAttribute = try library.function("cuDeviceGetAttribute")
        deviceMemory = try library.function("cuDeviceTotalMem_v2")
        canAccessPeer = try library.function("cuDeviceCanAccessPeer")
        retainContext = try library.function("cuDevicePrimaryCtxRetain")
        releaseContext = try library.function("cuDevicePrimaryCtxRelease_v2")
        setContext = try library.function("cuCtxSetCurrent")
        enablePeer = try library.function("cuCtxEnablePeerAccess")
        memory = try library.function("cuMemGetInfo_v2")
        allocate = try library.function("cuMemAlloc_v2")
        free = try library.function("cuMemFree_v2")
        allocatePinned = try library.function("cuMemHostAlloc")
        freePinned = try library.function("cuMemFreeHost")
        upload = try library.function("cuMemcpyHtoDAsync_v2")
        download = try library.function("cuMemcpyDtoHAsync_v2")
        copy = try library.function("cuMemcpyDtoDAsync_v2")
        copyToPeer = try library.function("cuMemcpyPeerAsync")
        fill = try library.function("cuMemsetD8Async")
        createStream = try library.function("cuStreamCreate")
        destroyStream = try library.function("cuStreamDestroy_v2")
        queryStream = try library.function("cuStreamQuery")
        waitForEvent = try library.function("cuStreamWaitEvent")
        createEvent = try library.function("cuEventCreate")
        destroyEvent = try library.function("cuEventDestroy_v2")
        recordEvent = try library.function("cuEventRecord")
        queryEvent = try library.function("cuEventQuery")
        elapsed = try library.function("cuEventElapsedTime")
        beginCapture = try library.function("cuStreamBeginCapture_v2")
        endCapture = try library.function("cuStreamEndCapture")
        instantiateGraph = try library.function("cuGraphInstantiateWithFlags")
        launchGraph = try library.function("cuGraphLaunch")
        destroyGraph = try library.function("cuGraphDestroy")
        destroyGraphInstance = try library.function("cuGraphExecDestroy")
        loadModule = try library.function("cuModuleLoadDataEx")
        unloadModule = try library.function("cuModuleUnload")
        function = try library.function("cuModuleGetFunction")
        setFunctionAttribute = try library.function("cuFuncSetAttribute")
        launchKernel = try library.function("cuLaunchKernel")
    }

    /// Throws unless the status is CUDA_SUCCESS.
    ///
    /// - Parameter call: the function's name.
    /// - Throws: `.memory`, `.device` (none, or lost), `.driver` (does not fit) or `.call`.
    func check(_ call: StaticString, _ status: Int32) throws(CUDAError) {
        if status != Status.success { throw error("\(call)", status) }
    }

    /// Asks until the status is no longer "not ready": for some 100 µs at once, then between sleeps of 20 µs, at last of 200 µs.
    ///
    /// - Parameters:
    ///   - what: is waited for, as the error names it.
    ///   - deadline: nanoseconds of CLOCK_MONOTONIC.
    ///   - isInterrupted: asked with every look.
    /// - Throws: `.deadline`, `.interrupted`, and what the query answers.
    func poll(
        _ call: StaticString, _ what: @autoclosure () -> String, _ deadline: UInt64, _ isInterrupted: () -> Bool,
        _ query: () -> Int32
    ) throws(CUDAError) {
        let start = monotonicNow()
        while true {
            let status = query()
            if status != Status.notReady { return try check(call, status) }
            if isInterrupted() { throw CUDAError(.interrupted, "\(what()): interrupted") }
            let now = monotonicNow()
            if now >= deadline { throw CUDAError(.deadline, "\(what()): the deadline passed") }
            let waited = now - start
            if waited > 100_000 {
                var sleep = timespec(tv_sec: 0, tv_nsec: waited > 10_000_000 ? 200_000 : 20_000)
                nanosleep(&sleep, nil)
            }
        }
    }

    func error(_ call: String, _ status: Int32) -> CUDAError {
        var name: UnsafePointer<CChar>?
        var text: UnsafePointer<CChar>?
        var description = "\(call) failed with \(status)"
        // Both leave nil, or a status, for a number that they do not know.
        if errorName(status, &name) == Status.success, let name { description += " \(String(cString: name))" }
        if errorString(status, &text) == Status.success, let text { description += ": \(String(cString: text))" }
        let code: CUDAError.Code =
            switch status {
            case Status.outOfMemory: .memory
            case let status where Status.lost.contains(status): .device
            case let status where Status.unfit.contains(status): .driver
            default: .call
            }
        return CUDAError(code, description)
    }
}

/// `CUresult` of cuda.h.
enum Status {
    static let success: Int32 = 0
    static let outOfMemory: Int32 = 2
    static let noDevice: Int32 = 100
    static let notReady: Int32 = 600
    static let peerAccessAlreadyEnabled: Int32 = 704

    /// Unavailable, none, no such, unlicensed; uncorrectable errors of memory and NVLink; contained error; context destroyed.
    static let lost: Set<Int32> = [46, 100, 101, 102, 214, 220, 226, 709]
    /// A stub instead of a driver; PTX newer than the driver; kernel module and library of different versions; too old for the device.
    static let unfit: Set<Int32> = [34, 222, 803, 804]
}
