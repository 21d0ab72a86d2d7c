/// Something wrong: an answer that contradicts another, or an error that is not the house's.
struct Fault: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What every target is given.
struct TargetContext {
    let corpus: Corpus
    /// The kvcpu program, for the targets that start it.
    let kvcpu: String
    /// For what is made once; empty at first.
    let folder: String
}

/// A reader of outside bytes, and how inputs for it are made.
protocol FuzzTarget: Sendable {
    static var name: String { get }
    init(_ context: TargetContext) throws
    /// Makes one input from the draws alone, below `folder`, which is empty, and has it read.
    /// - Returns: what became of it, in a word or two.
    /// - Throws: the reader's typed error, which is a success of the reader; `Fault` where something is wrong.
    mutating func run(_ random: inout RandomSource, in folder: String) throws -> String
}

enum FuzzTargets {
    static var all: [any FuzzTarget.Type] {
        [
            GGUFTarget.self, FolderTarget.self, TokenizerTarget.self, TemplateTarget.self, PromptCacheTarget.self,
            PlanTableTarget.self,
            CommandLineTarget.self,
        ]
    }

    static func named(_ name: String) -> (any FuzzTarget.Type)? { all.first { $0.name == name } }
}

/// How one input ended.
enum InputOutcome {
    case success(String)
    /// A typed error, by its type and kind.
    case refused(String, message: String)
    case fault(String)

    init(_ error: any Error) {
        let description = "\(error)"
        switch error {
        case let fault as Fault: self = .fault(fault.description)
        case is DecodingError, is EncodingError: self = .fault("an error of Foundation: \(description.prefix(200))")
        default:
            let type = "\(Swift.type(of: error))"
            // Only errors of the package say which file and field is at fault.
            if type.hasPrefix("NS") || type.contains("Cocoa") || type == "POSIXError" {
                self = .fault("an error of Foundation: \(description.prefix(200))")
            } else if description.isEmpty {
                self = .fault("\(type) without a text")
            } else {
                let kind = Mirror(reflecting: error).children.first { ["kind", "code", "reason"].contains($0.label) }
                self = .refused(
                    type + (kind.map { " " + "\($0.value)".prefix(24).filter { !$0.isNewline } } ?? ""), message: description)
            }
        }
    }
}
