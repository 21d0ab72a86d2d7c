import Foundation
import KVGGUF

/// The messages of earlier chats for the arrow keys, a line each, in a file that its owner alone can read.
struct ChatHistory {
    /// As many are kept.
    static let lines = 1000
    /// Bytes of a line that is kept.
    private static let lineBytes = 4096

    private let path: String
    /// Oldest first.
    private(set) var kept: [String] = []
    private var isWritable = true

    /// - Parameter folder: nil: the user's own, below `XDG_STATE_HOME`.
    init(folder: String? = nil) {
        let state = ProcessInfo.processInfo.environment["XDG_STATE_HOME"].flatMap { $0.isEmpty ? nil : $0 }
        let folder = folder ?? (state ?? NSHomeDirectory() + "/.local/state") + "/kvcpu"
        path = folder + "/chat_history"
        try? FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        guard FileManager.default.fileExists(atPath: path) else { return }
        do {
            kept = Self.parse(try Input.read(path, limit: 2 * Self.lines * Self.lineBytes, patience: 1))
        } catch { Terminal.note("\(error.message); the chat begins without it") }
    }

    /// - Parameter line: without line breaks; one that is too long is not kept.
    mutating func add(_ line: String) {
        guard isWritable, line.utf8.count <= Self.lineBytes, !line.utf8.contains(0) else { return }
        kept = (kept + [line]).suffix(Self.lines)
        do { try OutputFile.write(kept.joined(separator: "\n") + "\n", to: path, isPrivate: true) } catch {
            Terminal.note("\(error); messages are not kept")
            isWritable = false
        }
    }

    /// Lines that can be used: what is damaged is dropped.
    static func parse(_ bytes: [UInt8]) -> [String] {
        var lines = bytes.split(separator: 0x0A)[...]
        // libedit's own form, as earlier versions wrote it.
        let isEncoded = lines.first?.elementsEqual("_HiStOrY_V2_".utf8) ?? false
        if isEncoded { lines = lines.dropFirst() }
        let texts = lines.compactMap { line -> String? in
            guard let line = isEncoded ? decode(line) : Array(line), line.count <= lineBytes, !line.contains(0) else { return nil }
            return String(validating: line, as: UTF8.self)
        }
        return texts.suffix(Self.lines)
    }

    /// `\040` and `\\`; nil for other escapes.
    private static func decode(_ line: ArraySlice<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var rest = line
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            if rest.first == byte {
                bytes.append(byte)
                rest = rest.dropFirst()
            } else if rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                return nil
            }
        }
        return bytes
    }
}
