/// Ends an answer before any of some texts. What may be the beginning of one is held back until it is known that it is not.
struct StopStrings {
    private let stops: [[UInt8]]
    private var held: [UInt8] = []
    /// True once one was found; nothing more is to be shown.
    private(set) var isFound = false

    /// - Parameter texts: not empty ones.
    init(_ texts: [String]) { stops = texts.filter { !$0.isEmpty }.map { Array($0.utf8) } }

    /// - Parameter text: complete characters.
    /// - Returns: what of the text so far can be shown and was not yet.
    /// - Complexity: O(bytes held and given × bytes of the texts).
    mutating func append(_ text: String) -> String {
        guard !stops.isEmpty else { return text }
        guard !isFound else { return "" }
        held += text.utf8
        for start in held.indices {
            let rest = held[start...]
            if stops.contains(where: { rest.starts(with: $0) }) {
                isFound = true
                return release(start)
            }
            if stops.contains(where: { $0.starts(with: rest) }) { return release(start) }
        }
        return release(held.count)
    }

    /// - Parameter text: the answer's last.
    /// - Returns: what is left to be shown.
    mutating func finish(_ text: String) -> String {
        let shown = append(text)
        return isFound ? shown : shown + release(held.count)
    }

    private mutating func release(_ count: Int) -> String {
        defer { held.removeFirst(count) }
        return String(decoding: held[..<count], as: UTF8.self)
    }
}
