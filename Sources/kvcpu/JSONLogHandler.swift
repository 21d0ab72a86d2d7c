import Foundation
import Logging

/// Writes log events to standard error as JSON, one object a line: time, level, label, message and metadata, in which numbers stay numbers.
struct JSONLogHandler: LogHandler {
    let label: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(label: String) { self.label = label }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        Terminal.write(Self.line(event.level, label: label, "\(event.message)", all) + "\n")
    }

    /// One object without a line break.
    static func line(_ level: Logger.Level, label: String, _ message: String, _ metadata: Logger.Metadata = [:]) -> String {
        let time = Date.ISO8601FormatStyle(includingFractionalSeconds: true).format(Date())
        var fields = [
            "\"time\":\(quoted(time))", "\"level\":\(quoted(level.rawValue))", "\"label\":\(quoted(label))",
            "\"message\":\(quoted(message))",
        ]
        if !metadata.isEmpty { fields.append("\"metadata\":\(json(.dictionary(metadata)))") }
        return "{" + fields.joined(separator: ",") + "}"
    }

    static func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): return quoted(text)
        case .stringConvertible(let number as any BinaryInteger): return "\(number)"
        case .stringConvertible(let number as Double) where number.isFinite: return "\(number)"
        case .stringConvertible(let flag as Bool): return "\(flag)"
        case .stringConvertible(let other): return quoted("\(other)")
        case .array(let values): return "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let values):
            let fields = values.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(json($0.value))" }
            return "{" + fields.joined(separator: ",") + "}"
        }
    }

    static func quoted(_ text: String) -> String {
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\t": out += "\\t"
            case "\r": out += "\\r"
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value): out += String(format: "\\u%04x", scalar.value)
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }
}
