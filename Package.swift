// swift-tools-version: 6.1
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// A Swift target with the house's settings.
func library(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

/// A test target; every one may find fixtures through KVTestSupport.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: ["KVTestSupport", "KVGGUF"] + dependencies, swiftSettings: settings)
}

let package = Package(
    name: "kvcpu",
    products: [
        .library(name: "KVRunahead", targets: ["KVRunahead"]),
        .library(name: "CKVKernels", targets: ["CKVKernels"]),
        .executable(name: "kvcpu", targets: ["kvcpu"]),
    ],
    dependencies: [
        // Exactly these: bits, the command line's reading and its errors are tested with them, and a build of tomorrow is the one of today.
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
    ],
    targets: [
        // C: kernels (one table per instruction set), Linux calls that Swift cannot express, PCRE2, libedit.
        .target(name: "CKVKernels"),
        .target(name: "CKVLinux"),
        .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
        .systemLibrary(name: "CEdit", pkgConfig: "libedit", providers: [.apt(["libedit-dev"])]),
        // Swift, from the file to the engine; design borders, each crossed rarely.
        library("KVGGUF", ["CKVLinux"]),
        library("KVText", ["KVGGUF", "CPCRE2"]),
        library("KVModel", ["KVGGUF", "CKVKernels", .product(name: "Crypto", package: "swift-crypto")]),
        library("KVFabric", ["CKVLinux"]),
        // CUDA's libraries are opened while the program runs: nothing of them is needed to build it, or to run it without a device.
        library(
            "KVCUDA", ["KVModel", .product(name: "Crypto", package: "swift-crypto")],
            resources: ["device", "elementwise", "norm", "experts", "attention", "attention_decode"].map {
                .embedInCode("Kernels/\($0).cu")
            }),
        library(
            "KVRunahead",
            [
                "KVText", "KVModel", "KVFabric", "KVCUDA", .product(name: "Logging", package: "swift-log"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ]),
        .executableTarget(
            name: "kvcpu",
            dependencies: [
                "KVRunahead", "KVGGUF", "KVText", "KVModel", "KVFabric", "KVCUDA", "CEdit",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            exclude: ["Documentation"],
            swiftSettings: settings),
        // Tests.
        .target(name: "CMallocCount", path: "Tests/CMallocCount"),
        .executableTarget(
            name: "kvcpu-fuzz",
            dependencies: [
                "KVGGUF", "KVText", "KVModel", "KVRunahead", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
            ], path: "Tests/Fuzz", swiftSettings: settings),
        .target(name: "KVTestSupport", dependencies: ["KVGGUF"], path: "Tests/KVTestSupport", swiftSettings: settings),
        tests("KVGGUFTests", []),
        tests("KVTextTests", ["KVText"]),
        tests("KVKernelsTests", ["CKVKernels"]),
        tests("KVModelTests", ["KVModel"]),
        tests("KVFabricTests", ["KVFabric"]),
        // The libraries that stand in for CUDA's lie in Tests/CUDAEmulator; the tests compile them.
        tests("KVCUDATests", ["KVCUDA"]),
        tests("KVCommandTests", ["kvcpu"]),
        .testTarget(
            name: "KVNumaTests", dependencies: ["KVTestSupport", "kvcpu"], exclude: ["numa-vm"], swiftSettings: settings),
        tests(
            "KVRunaheadTests",
            [
                "KVRunahead", "KVModel", "KVFabric", "CMallocCount", .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
    ],
    swiftLanguageModes: [.v6]
)
