import Foundation
import Glibc
import KVCUDA
import KVTestSupport
import XCTest

/// A library made of CUDA source by Tests/CUDAEmulator/kernel.h, its kernels run on memory of this process.
final class EmulatedKernels {
    private typealias Launch =
        @convention(c) (
            UnsafePointer<CChar>, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, Int, UnsafePointer<UnsafeMutableRawPointer?>
        ) -> Int32

    let elements: ElementType, cache: ElementType
    let headDimension: Int
    private let launchKernel: Launch
    private let error: @convention(c) () -> UnsafePointer<CChar>
    private let setOrder: @convention(c) (UInt32) -> Void
    private let conflicts: @convention(c) () -> Int64

    struct Failed: Error, CustomStringConvertible {
        let status: Int32
        let description: String
    }

    nonisolated(unsafe) private static var made: [String: EmulatedKernels] = [:]

    /// The project's kernels; compiled once in a test run.
    static func project(_ elements: ElementType, _ cache: ElementType, _ headDimension: Int) throws -> EmulatedKernels {
        let key = "\(elements)-\(cache)-\(headDimension)"
        if let kernels = made[key] { return kernels }
        let kernels = try EmulatedKernels(KernelSource.text, elements, cache, headDimension)
        made[key] = kernels
        return kernels
    }

    init(_ source: String, _ elements: ElementType = .f16, _ cache: ElementType = .f16, _ headDimension: Int = 16) throws {
        self.elements = elements
        self.cache = cache
        self.headDimension = headDimension
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kvcpu-kernels-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        // What was opened stays, its file need not.
        defer { try? FileManager.default.removeItem(at: folder) }
        let library = folder.appendingPathComponent("kernels.so").path
        let header = Fixtures.repository.appendingPathComponent("Tests/CUDAEmulator/kernel.h").path
        let file = folder.appendingPathComponent("kernels.cpp")
        let defines = KernelSource.options(elements: elements, cache: cache, headDimension: headDimension).filter {
            $0.hasPrefix("-D")
        }
        try "#define KVCPU_EMULATED 1\n#include \"\(header)\"\n\(source)".write(to: file, atomically: true, encoding: .utf8)
        try CUDAEmulator.compile(
            defines + [
                "-std=c++20", "-O2", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-shared", "-fPIC", "-o", library, file.path,
            ])
        guard let handle = dlopen(library, RTLD_NOW | RTLD_LOCAL) else {
            throw Failed(status: -1, description: String(cString: dlerror()))
        }
        func symbol<T>(_ name: String, as type: T.Type) throws -> T {
            guard let address = dlsym(handle, name) else { throw Failed(status: -1, description: "no \(name)") }
            return unsafeBitCast(address, to: type)
        }
        launchKernel = try symbol("kvcpu_launch", as: Launch.self)
        error = try symbol("kvcpu_error", as: (@convention(c) () -> UnsafePointer<CChar>).self)
        setOrder = try symbol("kvcpu_order", as: (@convention(c) (UInt32) -> Void).self)
        conflicts = try symbol("kvcpu_bank_conflicts", as: (@convention(c) () -> Int64).self)
    }

    /// Runs a kernel; by default over one block of 256 threads.
    func launch(
        _ name: String, grid: (Int, Int, Int) = (1, 1, 1), block: Int = KernelShape.threads, shared: Int = 0,
        _ arguments: LaunchArgument...
    ) throws {
        try launch(name, grid: grid, block: block, shared: shared, arguments)
    }

    func launch(
        _ name: String, grid: (Int, Int, Int) = (1, 1, 1), block: Int = KernelShape.threads, shared: Int = 0,
        _ arguments: [LaunchArgument]
    ) throws {
        var slots = arguments.map(\.bits)
        let status = withExtendedLifetime(arguments) {
            slots.withUnsafeMutableBufferPointer { slots in
                let pointers = slots.indices.map { index in slots.baseAddress.map { UnsafeMutableRawPointer($0 + index) } }
                return launchKernel(name, UInt32(grid.0), UInt32(grid.1), UInt32(grid.2), UInt32(block), 1, 1, shared, pointers)
            }
        }
        if status != 0 { throw Failed(status: status, description: String(cString: error())) }
    }

    /// Runs what follows with a block's threads in another order; 0 is ascending.
    func inOrder<T>(_ seed: UInt32, _ body: () throws -> T) rethrows -> T {
        setOrder(seed)
        defer { setOrder(0) }
        return try body()
    }

    /// ldmatrix' rows that had to wait for another's banks so far.
    var bankConflicts: Int64 { conflicts() }
}

/// What a kernel is given; memory lives as long as this.
struct LaunchArgument {
    /// In the first bytes of eight (little-endian).
    fileprivate let bits: UInt64
    private var owner: AnyObject?

    static func memory<T>(_ memory: GuardedMemory<T>) -> LaunchArgument {
        LaunchArgument(bits: UInt64(UInt(bitPattern: memory.base)), owner: memory)
    }
    static func int32(_ value: Int) -> LaunchArgument { LaunchArgument(bits: UInt64(UInt32(bitPattern: Int32(value)))) }
    static func int64(_ value: Int) -> LaunchArgument { LaunchArgument(bits: UInt64(bitPattern: Int64(value))) }
    static func float(_ value: Float) -> LaunchArgument { LaunchArgument(bits: UInt64(value.bitPattern)) }
}

/// An array whose surroundings are watched: behind it lies a page that cannot be read, before it and in the last bytes a pattern. 16-aligned,
/// or `shifted` by one element.
final class GuardedMemory<T: BitwiseCopyable> {
    let base: UnsafeMutablePointer<T>
    let count: Int
    private let mapping: UnsafeMutableRawPointer
    private let bytes: Int
    private static var pattern: UInt8 { 0xa5 }

    init(_ values: [T], shifted: Bool = false) throws {
        let page = 4096
        let stride = MemoryLayout<T>.stride
        count = values.count
        let shift = shifted ? stride : 0
        bytes = (count * stride + shift + 16 + page - 1) / page * page
        guard let mapped = mmap(nil, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), mapped != MAP_FAILED
        else { throw EmulatedKernels.Failed(status: errno, description: "mmap of \(bytes) bytes") }
        mapping = mapped
        memset(mapped, Int32(Self.pattern), bytes)
        mprotect(mapped + bytes, page, PROT_NONE)
        base = (mapped + (bytes - count * stride - shift) / 16 * 16 + shift).bindMemory(to: T.self, capacity: count)
        for (index, value) in values.enumerated() { base[index] = value }
    }

    deinit { munmap(mapping, bytes + 4096) }

    var values: [T] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// Fails where something beside the array was written.
    func check(_ what: String, file: StaticString = #filePath, line: UInt = #line) {
        let first = UnsafeMutableRawPointer(base) - mapping
        let last = first + count * MemoryLayout<T>.stride
        let all = UnsafeRawBufferPointer(start: mapping, count: bytes)
        let isWhole = all[..<first].allSatisfy { $0 == Self.pattern } && all[last...].allSatisfy { $0 == Self.pattern }
        XCTAssertTrue(isWhole, "\(what): written beside the array", file: file, line: line)
    }
}

extension ElementType {
    /// Rounded to nearest even; float16 saturates.
    func bits(_ x: Float) -> UInt16 {
        switch self {
        case .f16: x.isNaN ? 0x7e00 : Float16(max(-65504, min(65504, x))).bitPattern
        case .bf16: x.isNaN ? 0x7fff : UInt16(truncatingIfNeeded: (x.bitPattern &+ 0x7fff &+ (x.bitPattern >> 16 & 1)) >> 16)
        }
    }

    func value(_ bits: UInt16) -> Float {
        switch self {
        case .f16: Float(Float16(bitPattern: bits))
        case .bf16: Float(bitPattern: UInt32(bits) << 16)
        }
    }

    /// The relative error of rounding.
    var rounding: Double { self == .f16 ? 0x1p-11 : 0x1p-8 }
}

/// Numbers that are the same in every run.
struct Numbers {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

    /// Between -1 and 1.
    mutating func next() -> Float {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Float(Int64(bitPattern: state) >> 40) * 0x1p-23
    }

    mutating func floats(_ count: Int, times scale: Float = 1) -> [Float] { (0..<count).map { _ in next() * scale } }

    mutating func elements(_ count: Int, _ type: ElementType, times scale: Float = 1) -> [UInt16] {
        (0..<count).map { _ in type.bits(next() * scale) }
    }
}

/// Fails where a value is farther from the expected one than `relative` of it and `absolute` allow.
func assertClose(
    _ values: [Float], _ expected: [Double], relative: Double, absolute: Double = 1e-6, _ what: String,
    file: StaticString = #filePath,
    line: UInt = #line
) {
    XCTAssertEqual(values.count, expected.count, what, file: file, line: line)
    for (index, (value, right)) in zip(values, expected).enumerated() {
        let isClose = abs(Double(value) - right) <= relative * abs(right) + absolute || (value.isNaN && right.isNaN)
        if !isClose { return XCTFail("\(what): element \(index) is \(value), not \(right)", file: file, line: line) }
    }
}
