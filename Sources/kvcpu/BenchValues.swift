/// Values that `kvcpu bench` measures one after the other, as llama-bench reads them: apart by commas, options given several times, ranges as
/// `1-8`, `16-64+16` and `64-512*2`.
enum BenchValues {
    /// More are no table that anyone reads.
    private static let limit = 1024

    /// - Parameters:
    ///   - texts: the option's values in the order given; none: the usual one.
    ///   - range: what a number may be.
    /// - Throws: `Failure` (usage) naming the option and the value.
    static func numbers(_ texts: [String], usual: String, _ flag: String, in range: ClosedRange<Int>) throws(Failure) -> [Int] {
        var values: [Int] = []
        for text in texts.isEmpty ? [usual] : texts {
            for part in text.split(separator: ",", omittingEmptySubsequences: false) {
                guard let numbers = expand(part), numbers.allSatisfy(range.contains), values.count + numbers.count <= limit else {
                    throw .usage(
                        "\(flag) is \"\(text)\"; it must be numbers of \(range.lowerBound) to \(range.upperBound) apart by commas, or ranges "
                            + "as 16-64+16, at most \(limit) together")
                }
                values += numbers
            }
        }
        return values
    }

    /// Pairs of a prompt's length and a number of tokens to decode after it, as `512,128`.
    static func pairs(_ texts: [String], _ flag: String, in range: ClosedRange<Int>) throws(Failure) -> [(
        prompt: Int, generated: Int
    )] {
        var pairs: [(prompt: Int, generated: Int)] = []
        for text in texts {
            let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
            guard numbers.count == 2, numbers.allSatisfy({ $0 > 0 && range.contains($0) }) else {
                throw .usage("\(flag) is \"\(text)\"; it must be a prompt's length and a number of tokens, as 512,128")
            }
            pairs.append((numbers[0], numbers[1]))
        }
        return pairs
    }

    /// One number, or a range's; nil where it is neither or has too many numbers.
    private static func expand(_ text: Substring) -> [Int]? {
        if let number = Int(text) { return [number] }
        let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2, let first = Int(ends[0]), first >= 0 else { return nil }
        let parts = ends[1].split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == "+" || $0 == "*" }
        guard let last = Int(parts[0]), last >= first, let step = parts.count > 1 ? Int(parts[1]) : 1 else { return nil }
        let multiplies = ends[1].contains("*")
        guard step > (multiplies ? 1 : 0), first > 0 || !multiplies else { return nil }
        var numbers: [Int] = []
        var number = first
        while number <= last {
            guard numbers.count < limit else { return nil }
            numbers.append(number)
            let (next, overflow) = multiplies ? number.multipliedReportingOverflow(by: step) : number.addingReportingOverflow(step)
            if overflow { break }
            number = next
        }
        return numbers
    }
}
