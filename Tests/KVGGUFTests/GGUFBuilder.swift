import Foundation

/// Writes GGUF bytes as the specification says, right or deliberately wrong.
struct GGUFBuilder {
    var version: UInt32 = 3
    var alignment = 32
    private var pairs = Data()
    private var pairCount: UInt64 = 0
    private var headers = Data()
    private var tensorCount: UInt64 = 0
    private var data = Data()
    var announcedTensors: UInt64?
    var announcedPairs: UInt64?

    static func bytes<T: FixedWidthInteger>(_ value: T) -> Data { withUnsafeBytes(of: value.littleEndian) { Data($0) } }
    static func string(_ text: String) -> Data { bytes(UInt64(text.utf8.count)) + Data(text.utf8) }

    /// A pair of which the value's bytes are given.
    mutating func raw(_ key: String, type: UInt32, _ value: Data) {
        pairs += Self.string(key) + Self.bytes(type) + value
        pairCount += 1
    }
    mutating func set(_ key: String, _ value: UInt32) { raw(key, type: 4, Self.bytes(value)) }
    mutating func set(_ key: String, _ value: String) { raw(key, type: 8, Self.string(value)) }
    mutating func set(_ key: String, strings: [String]) {
        raw(key, type: 9, Self.bytes(UInt32(8)) + Self.bytes(UInt64(strings.count)) + strings.map(Self.string).reduce(Data(), +))
    }

    /// A tensor's header, and its data when given, at the next aligned place.
    mutating func tensor(_ name: String, _ dimensions: [UInt64], type: UInt32, _ bytes: Data, offset: UInt64? = nil) {
        while data.count % alignment != 0 { data.append(0) }
        headers += Self.string(name) + Self.bytes(UInt32(dimensions.count))
        for dimension in dimensions { headers += Self.bytes(dimension) }
        headers += Self.bytes(type) + Self.bytes(offset ?? UInt64(data.count))
        data += bytes
        tensorCount += 1
    }

    var file: Data {
        var file = Data("GGUF".utf8) + Self.bytes(version) + Self.bytes(announcedTensors ?? tensorCount)
        file += Self.bytes(announcedPairs ?? pairCount) + pairs + headers
        while file.count % alignment != 0 { file.append(0) }
        return file + data
    }

    /// Two tensors and some of every kind of metadata.
    static var sample: GGUFBuilder {
        var builder = GGUFBuilder()
        builder.set("general.architecture", "llama")
        builder.set("llama.block_count", 3)
        builder.set("tokenizer.ggml.tokens", strings: ["a", "bc", ""])
        builder.tensor("one", [4, 2], type: 0, Data((0..<8).flatMap { bytes(Float($0).bitPattern) }))
        builder.tensor("two", [32, 3], type: 8, Data((0..<102).map { UInt8($0) }))
        return builder
    }
}

/// A folder for the test's files, removed at the end.
final class Folder {
    let path = NSTemporaryDirectory() + "kvgguf-\(UUID().uuidString)"
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ data: Data) throws -> String {
        let file = path + "/" + name
        try data.write(to: URL(fileURLWithPath: file))
        return file
    }
}
