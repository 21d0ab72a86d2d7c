// swift-tools-version: 6.1
// A package of its own, so that users of kvcpu never resolve or build it.
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let package = Package(
    name: "kvcpu-benchmarks",
    dependencies: [
        // Named, since a path's own name is that of whatever folder the clone lies in.
        .package(name: "kvcpu", path: ".."),
        // The version that kvcpu itself is built with.
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    ],
    targets: [
        // What a core can do at most: loops in registers, and reads of memory.
        .target(name: "CCeilings"),
        .executableTarget(
            name: "kernels",
            dependencies: [
                "CCeilings",
                .product(name: "CKVKernels", package: "kvcpu"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
