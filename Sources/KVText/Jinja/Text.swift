/// A template's string, which remembers what in it came from outside (messages, tools, variables), so that this can be
/// tokenised without control tokens.
struct Text: Sendable {
    var string: String
    /// Ranges of UTF-8 offsets that came from outside, ascending, apart.
    private(set) var foreign: [Range<Int>] = []
    /// Whether it is marked as HTML (`safe`, `escape`): what is added to it is then escaped, as Jinja does.
    var isSafe = false

    init(_ string: String, isForeign: Bool = false) {
        self.string = string
        if isForeign, !string.isEmpty { foreign = [0..<string.utf8.count] }
    }

    var count: Int { string.utf8.count }
    var isForeign: Bool { !foreign.isEmpty }

    /// Another string made of this one in some other way than by cutting: foreign as a whole where a part of it is.
    func mapped(_ body: (String) -> String) -> Text {
        var text = Text(body(string), isForeign: isForeign)
        text.isSafe = isSafe
        return text
    }

    /// With HTML's signs as entities, unless it is HTML already.
    var escaped: Text {
        guard !isSafe else { return self }
        var text = mapped { string in
            string.unicodeScalars.reduce(into: "") { result, scalar in
                switch scalar {
                case "&": result += "&amp;"
                case "<": result += "&lt;"
                case ">": result += "&gt;"
                case "'": result += "&#39;"
                case "\"": result += "&#34;"
                default: result.unicodeScalars.append(scalar)
                }
            }
        }
        text.isSafe = true
        return text
    }

    mutating func append(_ other: Text) {
        let start = count
        string += other.string
        for range in other.foreign {
            let shifted = range.lowerBound + start..<range.upperBound + start
            if let last = foreign.last, last.upperBound == shifted.lowerBound {
                foreign[foreign.count - 1] = last.lowerBound..<shifted.upperBound
            } else {
                foreign.append(shifted)
            }
        }
    }

    mutating func append(_ text: String) { string += text }

    /// The part in a range of UTF-8 offsets, which are character borders.
    subscript(range: Range<Int>) -> Text {
        let utf8 = string.utf8
        let start = utf8.index(utf8.startIndex, offsetBy: range.lowerBound)
        var part = Text(String(string[start..<utf8.index(start, offsetBy: range.count)]))
        part.isSafe = isSafe
        for one in foreign where one.overlaps(range) {
            let clamped = one.clamped(to: range)
            if !clamped.isEmpty {
                part.foreign.append(clamped.lowerBound - range.lowerBound..<clamped.upperBound - range.lowerBound)
            }
        }
        return part
    }

    /// Stretches of markup and of foreign text, in order.
    var segments: [TextSegment] {
        var segments: [TextSegment] = []
        var at = 0
        func add(_ end: Int, isMarkup: Bool) {
            if end > at { segments.append(TextSegment(self[at..<end].string, isMarkup: isMarkup)) }
            at = max(at, end)
        }
        for range in foreign {
            add(range.lowerBound, isMarkup: true)
            add(range.upperBound, isMarkup: false)
        }
        add(count, isMarkup: true)
        return segments
    }
}
