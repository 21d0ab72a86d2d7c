/// A set of CPU or node ids as the kernel writes it: "0-3,8,10-11".
package struct CPUList: Sendable, Equatable {
    /// Ascending, each once.
    package let ids: [Int]

    package init(_ ids: some Sequence<Int>) { self.ids = Set(ids).sorted() }

    /// Reads ids and ranges between commas, with spaces around them or none; nothing at all is the empty set.
    /// - Returns: nil if the text is something else, or names an id above ``highest``.
    package init?(_ text: some StringProtocol) {
        guard let ids = Self.ids(String(text)) else { return nil }
        self.init(ids)
    }

    private static func ids(_ text: String) -> [Int]? {
        if text.allSatisfy(\.isWhitespace) { return [] }
        var ids: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(whereSeparator: \.isWhitespace)
            guard words.count == 1 else { return nil }
            let ends = words[0].split(separator: "-", omittingEmptySubsequences: false).map { id($0) }
            switch (ends.count, ends.first ?? nil, ends.last ?? nil) {
            case (1, let id?, _): ids.append(id)
            case (2, let lower?, let upper?) where lower <= upper: ids += lower...upper
            default: return nil
            }
            // A list that repeats itself takes no more memory for it.
            if ids.count > 4 * highest { ids = Array(Set(ids)) }
        }
        return ids
    }

    /// A bound on ids that keeps a damaged file from filling the memory; Linux allows 8192 CPUs.
    package static let highest = 65_535

    private static func id(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.allSatisfy({ $0.isASCII && $0.isNumber }), let id = Int(text) else { return nil }
        return id <= highest ? id : nil
    }
}

extension CPUList: CustomStringConvertible {
    /// The kernel's form, with ranges where ids follow each other.
    package var description: String {
        var parts: [String] = []
        var index = ids.startIndex
        while index < ids.endIndex {
            var end = index
            while end + 1 < ids.endIndex, ids[end + 1] == ids[end] + 1 { end += 1 }
            parts.append(end == index ? "\(ids[index])" : "\(ids[index])-\(ids[end])")
            index = end + 1
        }
        return parts.joined(separator: ",")
    }
}
