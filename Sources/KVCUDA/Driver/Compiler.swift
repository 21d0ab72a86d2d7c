/// NVRTC: compiles CUDA C++ while the program runs.
struct Compiler: @unchecked Sendable {
    // Sendable by hand: functions of a library that is never closed.
    private typealias Out<Value> = UnsafeMutablePointer<Value>
    private typealias Text = UnsafePointer<CChar>

    /// What to compile for.
    struct Target: Equatable, Sendable {
        /// 90 for capability 9.0.
        let architecture: Int
        /// The device's code; else PTX, which the driver compiles further.
        let isBinary: Bool

        var option: String { "--gpu-architecture=\(isBinary ? "sm" : "compute")_\(architecture)" }
    }

    let library: Library
    /// 12040 for 12.4.
    let version: Int
    /// Ascending.
    private let architectures: [Int]

    private let errorString: @convention(c) (Int32) -> Text?
    private let create: @convention(c) (Out<Handle?>, Text, Text, Int32, Out<Text?>?, Out<Text?>?) -> Int32
    private let destroy: @convention(c) (Out<Handle?>) -> Int32
    private let compile: @convention(c) (Handle, Int32, Out<Text?>?) -> Int32
    private let binarySize: @convention(c) (Handle, Out<Int>) -> Int32
    private let binary: @convention(c) (Handle, UnsafeMutableRawPointer) -> Int32
    private let assemblySize: @convention(c) (Handle, Out<Int>) -> Int32
    private let assembly: @convention(c) (Handle, UnsafeMutableRawPointer) -> Int32
    private let logSize: @convention(c) (Handle, Out<Int>) -> Int32
    private let log: @convention(c) (Handle, UnsafeMutableRawPointer) -> Int32

    /// - Throws: `.symbol`, `.call`.
    init(_ library: Library) throws(CUDAError) {
        self.library = library
        errorString = try library.function("nvrtcGetErrorString")
        create = try library.function("nvrtcCreateProgram")
        destroy = try library.function("nvrtcDestroyProgram")
        compile = try library.function("nvrtcCompileProgram")
        binarySize = try library.function("nvrtcGetCUBINSize")
        binary = try library.function("nvrtcGetCUBIN")
        assemblySize = try library.function("nvrtcGetPTXSize")
        assembly = try library.function("nvrtcGetPTX")
        logSize = try library.function("nvrtcGetProgramLogSize")
        log = try library.function("nvrtcGetProgramLog")

        let askVersion: @convention(c) (Out<Int32>, Out<Int32>) -> Int32 = try library.function("nvrtcVersion")
        let askCount: @convention(c) (Out<Int32>) -> Int32 = try library.function("nvrtcGetNumSupportedArchs")
        let ask: @convention(c) (Out<Int32>) -> Int32 = try library.function("nvrtcGetSupportedArchs")
        var (major, minor, count): (Int32, Int32, Int32) = (0, 0, 0)
        try Self.check(errorString, "nvrtcVersion", askVersion(&major, &minor))
        try Self.check(errorString, "nvrtcGetNumSupportedArchs", askCount(&count))
        var numbers = [Int32](repeating: 0, count: Int(max(count, 1)))
        try Self.check(errorString, "nvrtcGetSupportedArchs", ask(&numbers))
        version = Int(major) * 1000 + Int(minor) * 10
        architectures = numbers.prefix(Int(max(count, 0))).map(Int.init).sorted()
    }

    /// The device's own code where NVRTC knows the device or an earlier one of its generation, whose code it runs; else PTX of the
    /// newest that NVRTC knows.
    ///
    /// - Throws: `.driver` where NVRTC knows later devices only.
    func target(_ device: CUDADevice) throws(CUDAError) -> Target {
        guard let newest = architectures.last(where: { $0 <= device.architecture }) else {
            let least = architectures.first ?? 0
            throw CUDAError(
                .driver,
                "\(library.path) compiles for capability \(least / 10).\(least % 10) and later, and device \(device.index) "
                    + "(\(device.name)) has \(device.major).\(device.minor)")
        }
        return Target(architecture: newest, isBinary: newest / 10 == device.major)
    }

    /// Some seconds for a large source.
    ///
    /// - Throws: `.compile` with the log; `.call`, `.memory`.
    func compile(_ source: String, name: String, options: [String], target: Target) throws(CUDAError) -> [UInt8] {
        var program: Handle?
        try check("nvrtcCreateProgram", create(&program, source, name, 0, nil, nil))
        guard let program else { throw CUDAError(.call, "nvrtcCreateProgram gave no program for \(name)") }
        defer {
            var handle: Handle? = program
            _ = destroy(&handle)
        }
        let status = Self.withPointers(options + [target.option]) { compile(program, Int32($1), $0) }
        if status != Status.success {
            let log = (try? bytes(program, "nvrtcGetProgramLog", logSize, log)) ?? []
            let text = String(decoding: log.prefix { $0 != 0 }, as: UTF8.self)
            throw CUDAError(
                status == 2 || status == 6 ? .compile : code(status),
                "\(name) does not compile for \(target.option): \(self.text(status))\n\(text)")
        }
        return target.isBinary
            ? try bytes(program, "nvrtcGetCUBIN", binarySize, binary) : try bytes(program, "nvrtcGetPTX", assemblySize, assembly)
    }

    private func bytes(
        _ program: Handle, _ call: StaticString, _ size: (Handle, Out<Int>) -> Int32,
        _ read: (Handle, UnsafeMutableRawPointer) -> Int32
    ) throws(CUDAError) -> [UInt8] {
        var count = 0
        try check(call, size(program, &count))
        guard count > 0 else { throw CUDAError(.call, "\(call) has nothing to give") }
        var bytes = [UInt8](repeating: 0, count: count)
        let status = bytes.withUnsafeMutableBytes { buffer in buffer.baseAddress.map { read(program, $0) } ?? 1 }
        try check(call, status)
        return bytes
    }

    /// C's `const char *const *` of strings.
    private static func withPointers(_ strings: [String], _ body: (Out<Text?>?, Int) -> Int32) -> Int32 {
        let joined = strings.flatMap { Array($0.utf8CString) }
        return joined.withUnsafeBufferPointer { buffer in
            var pointers: [Text?] = []
            var offset = 0
            for string in strings {
                pointers.append(buffer.baseAddress.map { $0 + offset })
                offset += string.utf8.count + 1
            }
            return pointers.withUnsafeMutableBufferPointer { body($0.baseAddress, strings.count) }
        }
    }

    private func check(_ call: StaticString, _ status: Int32) throws(CUDAError) {
        try Self.check(errorString, call, status)
    }

    private static func check(
        _ errorString: (Int32) -> Text?, _ call: StaticString, _ status: Int32
    ) throws(CUDAError) {
        guard status != Status.success else { return }
        let name = errorString(status).map { String(cString: $0) } ?? "of no name"
        throw CUDAError(status == 1 ? .memory : .call, "\(call) failed with \(status) \(name)")
    }

    private func code(_ status: Int32) -> CUDAError.Code { status == 1 ? .memory : .call }

    private func text(_ status: Int32) -> String {
        "\(status) \(errorString(status).map { String(cString: $0) } ?? "of no name")"
    }
}
