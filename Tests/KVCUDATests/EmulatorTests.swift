import Foundation
import KVCUDA
import XCTest

/// What runs kernels without CUDA must see their mistakes: it is what the kernels' tests rest on.
final class EmulatorTests: XCTestCase {
    private static let source = #"""
        KERNEL(wait_unevenly, 64, (int *out, int n)) {
            if ((int)threadIdx.x < n) return;
            __syncthreads();
            out[threadIdx.x] = 1;
        }
        KERNEL(wait_apart, 64, (float *out, int n)) {
            if ((int)threadIdx.x < n) __syncthreads();
            out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
        }
        KERNEL(read_early, 64, (int *out, int n)) {
            __shared__ int own[64];
            own[threadIdx.x] = threadIdx.x;
            if (n) __syncthreads();
            out[threadIdx.x] = own[63 - threadIdx.x];
        }
        KERNEL(copy_early, 32, (uint4 *out, const uint4 *in, int n)) {
            uint4 *own = (uint4 *)dynamic_shared() + threadIdx.x;
            copy_async(own, in + threadIdx.x, true);
            copy_commit();
            if (n) copy_wait<0>();
            else copy_wait<1>();
            out[threadIdx.x] = *own;
        }
        KERNEL(write_far, 32, (int n)) { ((int *)dynamic_shared())[n] = 1; }
        KERNEL(read_askew, 32, (uint4 *out, const char *in, int n)) { out[threadIdx.x] = load16(in + n); }
        """#

    private func failure(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "none"
        } catch { return "\(error)" }
    }

    func testMistakesAreErrors() throws {
        let kernels = try EmulatedKernels(Self.source)
        let out = try GuardedMemory([Int32](repeating: 0, count: 128))
        func launch(_ name: String, block: Int = 64, shared: Int = 0, _ n: Int) -> String {
            failure { try kernels.launch(name, block: block, shared: shared, .memory(out), .int32(n)) }
        }
        XCTAssertEqual(launch("wait_unevenly", 0), "none")
        XCTAssertTrue(
            launch("wait_unevenly", 3).hasSuffix("threads wait for ever: 61 at a barrier, 0 in a warp's exchange, 3 ended"))
        XCTAssertEqual(launch("wait_apart", 0), "none")
        XCTAssertTrue(launch("wait_apart", 3).hasSuffix("threads wait for ever: 3 at a barrier, 29 in a warp's exchange, 32 ended"))
        // After a failure the next launch is as the first.
        XCTAssertEqual(launch("wait_unevenly", 0), "none")
        XCTAssertTrue(launch("wait_unevenly", block: 65, 0).hasPrefix("wait_unevenly: no such launch can be"))
        XCTAssertTrue(launch("nothing", 0).hasPrefix("nothing: no such kernel"))
        XCTAssertEqual(failure { try kernels.launch("write_far", block: 1, shared: 64, .int32(15)) }, "none")
        XCTAssertTrue(failure { try kernels.launch("write_far", block: 1, shared: 64, .int32(16)) }.hasSuffix("of shared memory"))
        let bytes = try GuardedMemory([UInt8](repeating: 0, count: 64))
        XCTAssertEqual(failure { try kernels.launch("read_askew", block: 1, .memory(out), .memory(bytes), .int32(16)) }, "none")
        XCTAssertTrue(
            failure { try kernels.launch("read_askew", block: 1, .memory(out), .memory(bytes), .int32(8)) }.hasSuffix(
                "not 16-aligned"))
    }

    func testMissingWaitsShow() throws {
        let kernels = try EmulatedKernels(Self.source)
        let out = try GuardedMemory([Int32](repeating: 0, count: 64))
        let right = (0..<64).map { Int32(63 - $0) }
        for seed in [0, 1, 2] as [UInt32] {
            try kernels.inOrder(seed) { try kernels.launch("read_early", block: 64, .memory(out), .int32(1)) }
            XCTAssertEqual(out.values, right)
            try kernels.inOrder(seed) { try kernels.launch("read_early", block: 64, .memory(out), .int32(0)) }
            XCTAssertNotEqual(out.values, right)
        }
        let (copied, source) = (try GuardedMemory([Int32](repeating: 0, count: 128)), try GuardedMemory((0..<128).map(Int32.init)))
        try kernels.launch("copy_early", block: 32, shared: 512, .memory(copied), .memory(source), .int32(1))
        XCTAssertEqual(copied.values, source.values)
        try kernels.launch("copy_early", block: 32, shared: 512, .memory(copied), .memory(source), .int32(0))
        XCTAssertEqual(copied.values, [Int32](repeating: -1, count: 128))
    }
}
