import Foundation

/// A table to print.
struct Table {
    let title: String
    let columns: [String]
    var rows: [[String]] = []
    var notes: [String] = []
}

struct Report {
    let markdown: Bool

    func print(_ table: Table) {
        var lines = markdown ? ["", "### \(table.title)", ""] : ["", table.title]
        if markdown {
            lines.append("| " + table.columns.joined(separator: " | ") + " |")
            lines.append(String(repeating: "|---", count: table.columns.count) + "|")
            lines += table.rows.map { "| " + $0.joined(separator: " | ") + " |" }
        } else {
            let widths = table.columns.indices.map { column in
                ([table.columns] + table.rows).map { $0[column].count }.max() ?? 0
            }
            lines += ([table.columns] + table.rows).map { row in
                // Names on the left, figures on the right.
                row.indices.map { index in
                    let space = String(repeating: " ", count: widths[index] - row[index].count)
                    return index == 0 ? row[index] + space : space + row[index]
                }.joined(separator: "  ")
            }
        }
        if !table.notes.isEmpty { lines += [""] + table.notes }
        Swift.print(lines.joined(separator: "\n"))
        // A table may take a minute: it is shown when it is done, into a pipe, too.
        fflush(nil)
    }

    static func number(_ value: Double?) -> String {
        guard let value else { return "-" }
        return String(format: value < 10 ? "%.2f" : "%.1f", value)
    }

    static func share(_ value: Double?) -> String {
        guard let value else { return "-" }
        return String(format: "%.0f %%", value * 100)
    }
}
