/// Conversions of numbers that come from outside (files, options, requests): what does not fit is nil, where `Int(_:)` ends the program.
extension Int {
    /// Rounded towards 0; nil for what is not finite or does not fit.
    package init?(checking value: Double) { self.init(exactly: value.rounded(.towardZero)) }
    package init?(checking value: Float) { self.init(exactly: value.rounded(.towardZero)) }

    /// The product; nil when it does not fit.
    package func multiplied(by other: Int) -> Int? {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? nil : product
    }

    /// The sum; nil when it does not fit.
    package func added(to other: Int) -> Int? {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? nil : sum
    }
}
