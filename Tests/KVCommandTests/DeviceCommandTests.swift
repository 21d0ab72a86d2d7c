import Foundation
import KVTestSupport
import XCTest

/// `--device`, by stand-ins for CUDA's libraries that fail where they are told to.
final class DeviceCommandTests: XCTestCase {
    /// - Parameter faults: what becomes of the stand-ins (see Tests/CUDAEmulator/cuda.cpp).
    func bench(_ device: String, ranks: Int = 1, _ faults: [String: String] = [:]) throws -> Command {
        try Command(
            [
                "bench", "-m", try Command.model("llama-gqa"), "-p", "48", "-n", "4", "-r", "1", "-o", "json", "--device", device,
                "--ranks", "\(ranks)", "--partition", "even",
            ], environment: try CUDAEmulator.environment(devices: 2).merging(faults) { $1 })
    }

    func testRanksOnDevicesAnswer() throws {
        for (device, ranks) in [("cuda:0", 1), ("cuda", 2), ("auto", 3), ("cuda:1", 2), ("cpu,cuda:1", 2)] {
            let run = try bench(device, ranks: ranks)
            XCTAssertEqual(run.status, 0, run.error)
            XCTAssertTrue(run.output.contains("Emulated device"), run.output)
        }
    }

    func testWithoutADeviceTheReasonIsGiven() throws {
        for (faults, reason) in [
            (["KVCPU_FAKE_DEVICES": "0"], "CUDA_ERROR_NO_DEVICE"), (["KVCPU_FAKE_DRIVER": "11080"], "the driver is of CUDA 11.8"),
            (["KVCPU_FAKE_FAULT": "cuInit:999"], "cuInit"),
        ] {
            let asked = try bench("cuda", faults)
            XCTAssertEqual(asked.status, 1)
            XCTAssertTrue(asked.error.contains(reason), asked.error)
            // Where the machine's own choice is asked for, it is the CPU, and one line.
            let auto = try bench("auto", faults)
            XCTAssertEqual(auto.status, 0, auto.error)
            let lines = auto.error.split(separator: "\n").filter { $0.contains("CUDA") }
            XCTAssertEqual(lines.count, 1, auto.error)
            XCTAssertTrue(lines.first?.contains(reason) ?? false, auto.error)
            XCTAssertFalse(auto.output.contains("Emulated"))
        }
    }

    func testFaultsAreNamed() throws {
        let rank = try bench("cuda:0", ["KVCPU_FAKE_FAULT": "cuLaunchKernel:719:after=40"])
        XCTAssertEqual(rank.status, 1)
        XCTAssertTrue(rank.error.contains("rank 0 on cuda:0, layer "), rank.error)
        XCTAssertTrue(rank.error.contains("719"), rank.error)
        let lost = try bench("cuda:0,1", ranks: 2, ["KVCPU_FAKE_FAULT": "cuStreamQuery:46:after=30"])
        XCTAssertEqual(lost.status, 1, lost.error)
        XCTAssertTrue(lost.error.contains("46"), lost.error)
        let product = try bench("cuda:0", ["KVCPU_FAKE_FAULT": "cublasLtMatmul:13:after=9"])
        XCTAssertEqual(product.status, 1)
        XCTAssertTrue(product.error.contains("cublasLtMatmul"), product.error)
        let compile = try bench("cuda:0", ["KVCPU_FAKE_FAULT": "nvrtcCompileProgram:6", "KVCPU_KERNELS": "/proc/none"])
        XCTAssertEqual(compile.status, 1)
        XCTAssertTrue(compile.error.contains("compile"), compile.error)
    }

    func testTooLittleMemoryIsToldBeforeLoading() throws {
        let run = try bench("cuda:1", ["KVCPU_FAKE_MEMORY": "1000000"])
        XCTAssertEqual(run.status, 1)
        XCTAssertTrue(run.error.contains("cuda:1") && run.error.contains("weights") && run.error.contains("free"), run.error)
    }

    func testWrongDevicesAreUsage() throws {
        for device in ["gpu", "cuda:x", ""] { XCTAssertEqual(try bench(device).status, 2, device) }
        let missing = try bench("cuda:7")
        XCTAssertEqual(missing.status, 1)
        XCTAssertTrue(missing.error.contains("no CUDA device 7"), missing.error)
        XCTAssertEqual(try bench("cuda:0,1", ranks: 1).status, 2)
        // Of all devices, as many as there are ranks.
        let one = try bench("cuda", ranks: 1)
        XCTAssertEqual(one.status, 0, one.error)
        XCTAssertFalse(one.output.contains("cuda:1"), one.output)
    }

    /// The planner times chunks by the devices' own clocks.
    func testPlan() throws {
        let folder = try Folder()
        let run = try Command(
            [
                "plan", "--synthetic", "llama-7b,layers=4,width=256,heads=4,ffn=512,vocab=256", "--simulate", "--ranks", "2,4",
                "--lengths", "256,512", "--device", "cuda:0", "--plans", folder.path,
            ], environment: try CUDAEmulator.environment())
        XCTAssertEqual(run.status, 0, run.error)
        XCTAssertTrue(run.output.contains("query-key pair"), run.output)
        XCTAssertEqual(run.output.split(separator: "\n").filter { $0.hasPrefix("| 4 | 512 |") }.count, 1, run.output)
    }
}
