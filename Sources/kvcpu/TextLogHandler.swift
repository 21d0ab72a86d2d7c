import Foundation
import Logging

/// Writes log events to standard error as lines in swift-log's own form, with control characters made visible.
struct TextLogHandler: LogHandler {
    let label: String
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    init(label: String) { self.label = label }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
        let time = Date.ISO8601FormatStyle().format(Date())
        Terminal.line(
            "\(time) \(event.level) \(label):\(all.map { " \($0.key)=\($0.value)" }.joined()) [\(event.source)] \(event.message)")
    }
}
