import KVCUDA
import KVRunahead

/// CUDA's devices and libraries, for `inspect`; one line where there are none.
enum DeviceReport {
    static func text(_ search: LibrarySearch = .standard) -> String {
        do throws(CUDAError) {
            let cuda = try CUDA.open(search, kernelCache: nil)
            var text =
                "CUDA \(CUDA.text(cuda.driverVersion)), kernels by NVRTC \(CUDA.text(cuda.compilerVersion))\n"
                + cuda.libraries.map { "  \($0)\n" }.joined()
            for device in cuda.devices {
                var peers: [String] = []
                for other in cuda.devices where other.index != device.index {
                    if try cuda.canAccessPeer(device.index, other.index) { peers.append("\(other.index)") }
                }
                text +=
                    "  device \(device.index): \(device.name), capability \(device.major).\(device.minor), "
                    + "\(device.multiprocessors) multiprocessors, \(MemoryPlan.text(device.totalMemory))"
                if !peers.isEmpty { text += ", reaches the memory of \(peers.joined(separator: ", "))" }
                text += "\n"
            }
            return text
        } catch {
            return "no CUDA devices: \(error.description)\n"
        }
    }
}
