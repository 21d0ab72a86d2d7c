/// The kernels' CUDA C++, one source (see Kernels/device.cu for its options).
package enum KernelSource {
    package static let text: String = [
        ("device", PackageResources.device_cu),
        ("elementwise", PackageResources.elementwise_cu),
        ("norm", PackageResources.norm_cu),
        ("experts", PackageResources.experts_cu),
        ("attention", PackageResources.attention_cu),
        ("attention_decode", PackageResources.attention_decode_cu),
    ].map { "#line 1 \"\($0.0).cu\"\n" + String(decoding: $0.1, as: UTF8.self) }.joined(separator: "\n")

    /// NVRTC's options besides the device's architecture.
    package static func options(elements: ElementType, cache: ElementType, headDimension: Int) -> [String] {
        [
            "--std=c++17", "-DELEMENT_BF16=\(elements == .bf16 ? 1 : 0)", "-DCACHE_BF16=\(cache == .bf16 ? 1 : 0)",
            "-DHEAD_DIM=\(headDimension)",
        ]
    }
}

/// The shapes that the kernels' launches must have, as their source counts them.
package enum KernelShape {
    /// Threads of a block of every kernel but those below.
    package static let threads = 256
    package static let attentionThreads = 128
    /// Rows of a block where each has a warp.
    package static let warpRows = threads / 32
    /// Heads of a group that a block of `attention_decode` takes.
    package static let decodeHeads = 4

    /// Tokens of a block of `attention`.
    package static func queries(headDimension: Int) -> Int { headDimension <= 128 ? 128 : 64 }

    /// Bytes of dynamic shared memory of a block of `attention`: at most 96 KiB.
    package static func attentionBytes(headDimension: Int) -> Int {
        let units = (headDimension + 15) / 16 * 2
        let rowUnits = units % 8 == 0 ? units : units | 1
        return (queries(headDimension: headDimension) + 2 * 64) * rowUnits * 16
    }
}
