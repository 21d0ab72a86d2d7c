import KVRunahead
import Logging

/// Opens an engine as the command line asks, with notices and a loading bar on standard error.
enum Session {
    static func open(_ configuration: Configuration, progress: Bool, verbose: Bool, notices: Bool = true) async throws -> Engine {
        let bar = ProgressBar("loading", enabled: progress)
        var logger = Logger(label: "kvcpu") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = verbose ? .debug : .error
        defer { bar.clear() }
        let engine = try await Engine.open(configuration, logger: logger) { bar.show($0) }
        bar.clear()
        if notices { for notice in engine.information.notices { Terminal.note(notice) } }
        return engine
    }
}
