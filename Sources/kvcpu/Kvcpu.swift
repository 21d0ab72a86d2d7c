import ArgumentParser
import KVFabric
import KVGGUF
import KVRunahead

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

struct Kvcpu: AsyncParsableCommand {
    static let version = Engine.version
    static let configuration = CommandConfiguration(
        commandName: "kvcpu",
        abstract: "Language models on CPUs with a short time to first token: prompts are computed by KV-Runahead ranks.",
        version: version,
        subcommands: [
            Run.self, Chat.self, Bench.self, PlanCommand.self, PaperCommand.self, Inspect.self, Dump.self, Tokenize.self,
            TemplateCommand.self, PerplexityCommand.self, Formats.self,
        ],
        defaultSubcommand: Run.self)
}

/// The entry: exit codes are 0, 1 (the run failed), 2 (the request is wrong), 130, 143 and 129 (ended by Ctrl-C, SIGTERM, SIGHUP).
@main
enum Main {
    static func main() async {
        // Before anything is opened, that might become a standard stream.
        Startup.openStreams()
        // Before anything else: an engine may have started this program as one of its ranks.
        RankMain.runIfAsked()
        // A closed pipe is an error of write, not the end of the process without a word.
        signal(SIGPIPE, SIG_IGN)
        Interruption.endAtOnce()
        do {
            // Before Swift's own threads are needed: for one that cannot be started they wait without an end.
            do {
                try ProcessLimits.require(threads: 4, for: "the program")
                try ProcessLimits.require(descriptors: 6)
            } catch { throw Failure.run("\(error)") }
            let arguments = try CommandArguments(Startup.arguments ?? Array(CommandLine.arguments.dropFirst()))
            var command = try Kvcpu.parseAsRoot(arguments.parsed)
            Terminal.writesJSON = arguments.parsed.contains("--log-format=json")
            do { try ProcessLimits.requireProc() } catch { throw Failure.run("\(error)") }
            Terminal.warnIfDebugBuild()
            for notice in arguments.notices { Terminal.note(notice) }
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as Failure {
            if !error.message.isEmpty { Terminal.error(error.message) }
            exit(error.code)
        } catch let error as OutputError {
            Terminal.error("\(error)")
            exit(1)
        } catch let error as EngineError {
            Terminal.error(error.description)
            exit(error.code == .request ? 2 : error.code == .cancelled ? 130 : 1)
        } catch {
            let message = Kvcpu.fullMessage(for: error)
            switch Kvcpu.exitCode(for: error) {
            case .success:
                do { try Terminal.raw(message + "\n") } catch {
                    if !error.message.isEmpty { Terminal.error(error.message) }
                    exit(error.code)
                }
                exit(0)
            case .validationFailure:
                Terminal.write(message + "\n")
                exit(2)
            default:
                Terminal.error("\(error)")
                exit(1)
            }
        }
    }
}

/// An end of the program with a message and an exit code.
struct Failure: Error {
    let code: Int32
    let message: String

    static func usage(_ message: String) -> Failure { Failure(code: 2, message: message) }
    static func run(_ message: String) -> Failure { Failure(code: 1, message: message) }
}
