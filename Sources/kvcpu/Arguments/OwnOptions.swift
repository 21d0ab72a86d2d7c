import ArgumentParser
import Foundation

/// The options of one of kvcpu's commands, as its declaration has them.
struct OwnOptions {
    private struct Tool: Decodable {
        struct Command: Decodable {
            let arguments: [Argument]?
        }
        struct Argument: Decodable {
            struct Name: Decodable {
                let kind, name: String
                var text: String { (kind == "long" ? "--" : "-") + name }
            }
            let kind: String
            let names: [Name]?
        }
        let command: Command
    }

    /// Name, dashes included, to whether a value follows.
    private var takesValue: [String: Bool] = [:]
    /// Whether there are arguments without a name.
    private(set) var hasPositionals = false

    init(_ command: any ParsableCommand.Type) {
        // The parser's own description of its options; `OwnOptionsTests` hold it to what help says.
        guard let tool = try? JSONDecoder().decode(Tool.self, from: Data(command._dumpHelp().utf8)) else {
            preconditionFailure("the description of \(command) cannot be read")
        }
        for argument in tool.command.arguments ?? [] {
            if argument.kind == "positional" { hasPositionals = true }
            for name in argument.names ?? [] { takesValue[name.text] = argument.kind == "option" }
        }
    }

    var names: [String] { Array(takesValue.keys) }

    /// Nil for names that are none.
    func takesValue(_ name: String) -> Bool? { takesValue[name] }
}
