import ArgumentParser
import Foundation
import KVGGUF
import KVModel
import KVText

/// What this build reads, from the registries themselves.
struct Formats: ParsableCommand {
    enum Output: String, CaseIterable, ExpressibleByArgument {
        case md, json
    }

    static let configuration = CommandConfiguration(
        abstract: "Lists the architectures, weight formats, tokenizers and chat templates that this build reads.")

    @Option(name: [.short, .long], help: "md or json")
    var output = Output.md

    @Flag(help: "What kvcpu does with llama.cpp's flags, instead")
    var flags = false

    func validate() throws {
        if flags, output != .md { throw ValidationError("--flags is written as md alone") }
    }

    func run() throws {
        if flags { return try Terminal.output(LlamaFlag.document) }
        switch output {
        case .md: try Terminal.report(Self.table)
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            let object = Dictionary(Self.rows.map { ($0.name, $0.items) }, uniquingKeysWith: { $1 })
            try Terminal.report(String(decoding: try encoder.encode(object), as: UTF8.self) + "\n")
        }
    }

    /// One row of the table: what, the names, and what they are.
    private struct Row {
        let name: String
        let title: String
        let items: [String]
        var note = ""
        /// In the table instead of the items.
        var shown: [String] = []

        var text: String {
            (shown.isEmpty ? items.joined(separator: ", ") : shown.joined(separator: "; ")) + (note.isEmpty ? "" : " (\(note))")
        }
    }

    private static var rows: [Row] {
        let architectures = Architectures.all.flatMap { $0.names }
        let classes = GGUFFile.folderClasses.filter { architectures.contains($0.architecture) }.map(\.modelClass)
        let kinds = Registries.tokenizers.map { "\($0.name): \($0.what)" }
        return [
            Row(
                name: "architectures", title: "architectures", items: architectures,
                shown: Architectures.all.map { "\($0.names.joined(separator: ", ")) (\($0.summary))" }),
            Row(name: "safetensors", title: "folders of safetensors", items: classes, note: "weights F32, F16, BF16"),
            Row(name: "weights", title: "weights", items: Kernels.formatNames),
            Row(
                name: "type", title: "`--type`", items: Kernels.quantisableNames,
                note: "made of float weights while they are loaded"),
            Row(name: "tokenizers", title: "tokenizers", items: kinds, note: "from GGUF or `tokenizer.json`"),
            Row(name: "pre_tokenizers", title: "byte-level rules", items: Registries.preTokenizers),
            Row(
                name: "chat_templates", title: "chat templates", items: Registries.chatFamilies,
                note: "where a model has none of its own"),
        ]
    }

    /// As it stands in README.md.
    static var table: String {
        rows.reduce("| | |\n|---|---|\n") { table, row in
            table + "| \(row.title) | \(row.text) |\n"
        }
    }
}
