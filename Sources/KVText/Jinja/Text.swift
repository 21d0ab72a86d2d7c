/// A template's string as Python has it: code points, lone surrogates among them. It remembers what in it came from outside
/// (messages, tools, variables), so that this can be tokenised without control tokens.
struct Text: Sendable {
    private(set) var points: [UInt32]
    /// Ranges of code points that came from outside, ascending, apart.
    private(set) var foreign: [Range<Int>] = []
    /// Whether it is marked as HTML (`safe`, `escape`): what is added to it is then escaped, as Jinja does.
    var isSafe = false

    init(points: [UInt32], isForeign: Bool = false) {
        self.points = points
        if isForeign, !points.isEmpty { foreign = [0..<points.count] }
    }

    init(_ string: String, isForeign: Bool = false) {
        self.init(points: string.unicodeScalars.map(\.value), isForeign: isForeign)
    }

    var count: Int { points.count }
    var isEmpty: Bool { points.isEmpty }
    var isForeign: Bool { !foreign.isEmpty }

    /// For names and messages; surrogates become replacement characters.
    var string: String {
        var view = String.UnicodeScalarView()
        for point in points { view.append(Unicode.Scalar(point) ?? "\u{FFFD}") }
        return String(view)
    }

    func equals(_ text: StaticString) -> Bool { points == text.description.unicodeScalars.map(\.value) }

    /// Another text made of this one in some other way than by cutting: foreign as a whole where a part of it is.
    func mapped(_ body: ([UInt32]) -> [UInt32]) -> Text {
        var text = Text(points: body(points), isForeign: isForeign)
        text.isSafe = isSafe
        return text
    }

    /// Every code point replaced; what is foreign stays so, and no more.
    func replacing(_ body: (_ index: Int, _ result: inout [UInt32]) -> Void) -> Text {
        var result: [UInt32] = []
        result.reserveCapacity(count)
        var text = Text(points: [])
        text.isSafe = isSafe
        var rest = foreign[...]
        for index in points.indices {
            if index == rest.first?.lowerBound { text.foreign.append(result.count..<result.count) }
            body(index, &result)
            if let range = rest.first, index + 1 == range.upperBound {
                rest.removeFirst()
                let start = text.foreign[text.foreign.count - 1].lowerBound
                text.foreign[text.foreign.count - 1] = start..<result.count
            }
        }
        text.foreign.removeAll { $0.isEmpty }
        text.points = result
        return text
    }

    /// The same text, not marked as HTML.
    var plain: Text {
        var text = self
        text.isSafe = false
        return text
    }

    var safe: Text {
        var text = self
        text.isSafe = true
        return text
    }

    /// With HTML's signs as entities, unless it is HTML already.
    var escaped: Text { isSafe ? self : plain.forceEscaped }

    var forceEscaped: Text {
        guard points.contains(where: { Self.entities[$0] != nil }) else { return safe }
        return replacing { index, result in
            if let entity = Self.entities[points[index]] { result += entity } else { result.append(points[index]) }
        }.safe
    }

    private static let entities: [UInt32: [UInt32]] = [
        0x26: "&amp;", 0x3C: "&lt;", 0x3E: "&gt;", 0x27: "&#39;", 0x22: "&#34;",
    ].mapValues { (text: String) in text.unicodeScalars.map(\.value) }

    /// Appends a text, whose mark as HTML is not looked at.
    mutating func append(_ other: Text) {
        let start = count
        points += other.points
        for range in other.foreign {
            let shifted = range.lowerBound + start..<range.upperBound + start
            if let last = foreign.last, last.upperBound == shifted.lowerBound {
                foreign[foreign.count - 1] = last.lowerBound..<shifted.upperBound
            } else {
                foreign.append(shifted)
            }
        }
    }

    mutating func append(_ text: String) { points.append(contentsOf: text.unicodeScalars.lazy.map(\.value)) }

    /// Python's `+`: HTML and what is added to it becomes HTML.
    static func + (left: Text, right: Text) -> Text {
        guard left.isSafe || right.isSafe else {
            var text = left
            text.append(right)
            return text
        }
        var text = left.escaped
        text.append(right.escaped)
        return text
    }

    /// So many times one after another.
    func repeated(_ count: Int) -> Text {
        guard count > 0, !isEmpty else { return Text(points: []).marked(as: self) }
        var text = Text(points: [])
        text.points.reserveCapacity(self.count * count)
        text.isSafe = isSafe
        for _ in 0..<count { text.append(self) }
        return text
    }

    func marked(as other: Text) -> Text {
        var text = self
        text.isSafe = other.isSafe
        return text
    }

    /// The part in a range of code points.
    subscript(range: Range<Int>) -> Text {
        var part = Text(points: Array(points[range]))
        part.isSafe = isSafe
        for one in foreign where one.overlaps(range) {
            let clamped = one.clamped(to: range)
            if !clamped.isEmpty {
                part.foreign.append(clamped.lowerBound - range.lowerBound..<clamped.upperBound - range.lowerBound)
            }
        }
        return part
    }

    /// The code points at some places, foreign each as it was.
    subscript(places: [Int]) -> Text {
        guard isForeign, foreign != [0..<count] else {
            var text = Text(points: places.map { points[$0] }, isForeign: isForeign)
            text.isSafe = isSafe
            return text
        }
        var text = Text(points: [])
        text.isSafe = isSafe
        var isOutside = [Bool](repeating: false, count: count)
        for range in foreign { for place in range { isOutside[place] = true } }
        for place in places { text.append(Text(points: [points[place]], isForeign: isOutside[place])) }
        return text
    }

    /// Stretches of markup and of foreign text, in order.
    /// - Throws: of reason evaluation where there is a lone surrogate, which no tokeniser can read.
    func segments() throws(TemplateError) -> [TextSegment] {
        if let lone = points.first(where: CodePoint.isSurrogate) {
            throw TemplateError(
                .evaluation, "the text has a lone surrogate (U+\(String(lone, radix: 16, uppercase: true))), which is no character")
        }
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
