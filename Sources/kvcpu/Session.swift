import KVRunahead
import Logging

/// Opens an engine as the command line asks, with notices and a loading bar on standard error.
enum Session {
    /// - Parameters:
    ///   - log: which of the engine's log events are written; nil: none.
    ///   - notices: false: what the user should know is not written either.
    static func open(
        _ configuration: Configuration, progress: Bool, verbose: Bool, notices: Bool = true, log: LogOptions? = nil
    ) async throws -> Engine {
        var configuration = configuration
        if verbose { configuration.locatesNonFinite = true }
        let bar = ProgressBar("loading", enabled: progress)
        let logger = log?.logger(verbose: verbose) ?? LogOptions.quiet
        defer { bar.clear() }
        let engine = try await Engine.open(configuration, logger: logger) { bar.show($0) }
        bar.clear()
        // The log tells of them too, where it tells of notices.
        if notices, logger.logLevel > .notice { for notice in engine.information.notices { Terminal.note(notice) } }
        return engine
    }
}
