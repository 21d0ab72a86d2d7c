public import ArgumentParser
public import Logging

enum LogFormat: String, CaseIterable, ExpressibleByArgument {
    case text, json
}

extension Logger.Level: @retroactive ExpressibleByArgument {}

/// What of the engine's log events goes to standard error, and how it looks.
struct LogOptions: ParsableArguments {
    @Option(
        help: """
            Log events from this level on to standard error: trace, debug, info (requests), notice, warning, error or critical; default: none, \
            with -v debug, with --log-format json info
            """)
    var logLevel: Logger.Level?
    @Option(help: "text, or json: one object a line, notes and errors too")
    var logFormat = LogFormat.text

    /// The engine's logger; kvcpu itself prints its notices and errors, so by default it is quiet.
    func logger(verbose: Bool) -> Logger {
        let usual: Logger.Level = verbose ? .debug : logFormat == .json ? .info : .critical
        var logger = Logger(label: "kvcpu") { label -> any LogHandler in
            switch logFormat {
            case .text: TextLogHandler(label: label)
            case .json: JSONLogHandler(label: label)
            }
        }
        logger.logLevel = logLevel ?? usual
        Terminal.writesJSON = logFormat == .json
        return logger
    }

    static var quiet: Logger {
        var logger = Logger(label: "kvcpu") { TextLogHandler(label: $0) }
        logger.logLevel = .critical
        return logger
    }
}
