import Foundation

/// A line chart as SVG: several series on common axes.
struct Figure {
    struct Series {
        var name: String
        var points: [(Double, Double)]
    }

    var title: String
    var note = ""
    var x: String
    var y: String
    var series: [Series]
    /// The vertical axis begins at 0 instead of the least value.
    var fromZero = false

    static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31"]
    private static let size = (width: 720.0, height: 440.0)
    private static let plot = (left: 80.0, top: 64.0, right: 540.0, bottom: 372.0)

    /// Round numbers, about `count` of them, that lie within a range.
    static func ticks(_ low: Double, _ high: Double, count: Int = 6) -> [Double] {
        guard high > low, (high - low).isFinite else { return [low] }
        let raw = (high - low) / Double(count)
        let power = pow(10, floor(log10(raw)))
        let step = [1, 2, 2.5, 5, 10].map { $0 * power }.first { $0 >= raw * 0.999 } ?? raw
        var ticks: [Double] = []
        var index = (low / step - 1e-9).rounded(.up)
        while index * step <= high + step * 1e-9, ticks.count < 4 * count {
            ticks.append(index * step)
            index += 1
        }
        return ticks
    }

    var svg: String {
        let points = series.flatMap(\.points).filter { $0.0.isFinite && $0.1.isFinite }
        var (left, right) = (points.map(\.0).min() ?? 0, points.map(\.0).max() ?? 1)
        var (low, high) = (points.map(\.1).min() ?? 0, points.map(\.1).max() ?? 1)
        if fromZero { low = min(0, low) }
        // A single value still has an axis.
        if right <= left { (left, right) = (left - 0.5, right + 0.5) }
        if high <= low { (low, high) = (low - 0.5, high + 0.5) }
        high += (high - low) * 0.05
        let plot = Self.plot
        func column(_ value: Double) -> Double { plot.left + (value - left) / (right - left) * (plot.right - plot.left) }
        func row(_ value: Double) -> Double { plot.bottom - (value - low) / (high - low) * (plot.bottom - plot.top) }

        var drawing = SVG(width: Self.size.width, height: Self.size.height)
        drawing.text(title, plot.left, 28, size: 17, bold: true)
        drawing.text(note, plot.left, 48, size: 12)
        for tick in Self.ticks(low, high) {
            drawing.line((plot.left, row(tick)), (plot.right, row(tick)), "#dddddd")
            drawing.text(SVG.number(tick), plot.left - 8, row(tick) + 4, size: 12, anchor: "end")
        }
        for tick in Self.ticks(left, right) {
            drawing.line((column(tick), plot.bottom), (column(tick), plot.bottom + 5), "#333333")
            drawing.text(SVG.number(tick), column(tick), plot.bottom + 20, size: 12, anchor: "middle")
        }
        drawing.line((plot.left, plot.bottom), (plot.right, plot.bottom), "#333333")
        drawing.line((plot.left, plot.top), (plot.left, plot.bottom), "#333333")
        drawing.text(x, (plot.left + plot.right) / 2, plot.bottom + 44, size: 13, anchor: "middle")
        drawing.text(y, 20, (plot.top + plot.bottom) / 2, size: 13, anchor: "middle", turned: true)
        for (index, series) in series.enumerated() {
            let colour = Self.colours[index % Self.colours.count]
            let points = series.points.filter { $0.0.isFinite && $0.1.isFinite }.map { (column($0.0), row($0.1)) }
            drawing.path(points, colour)
            for point in points { drawing.dot(point, colour) }
            let top = plot.top + 10 + Double(index) * 20
            drawing.line((plot.right + 16, top), (plot.right + 40, top), colour, width: 2)
            drawing.text(series.name, plot.right + 46, top + 4, size: 12)
        }
        return drawing.document
    }
}

/// Horizontal bars of shares that sum to 1.
struct ShareChart {
    var title: String
    var note = ""
    var bars: [(label: String, shares: [Double])]
    /// Of the shares, for a legend.
    var names: [String] = []

    var svg: String {
        let (left, width, height) = (180.0, 500.0, 26.0)
        let end = 64 + Double(bars.count) * (height + 8)
        var drawing = SVG(width: 720, height: end + (names.isEmpty ? 20 : 40))
        for (index, name) in names.enumerated() {
            drawing.box(left + Double(index) * 120, end + 8, 14, 14, Figure.colours[index % Figure.colours.count])
            drawing.text(name, left + Double(index) * 120 + 20, end + 20, size: 12)
        }
        drawing.text(title, 24, 28, size: 17, bold: true)
        drawing.text(note, 24, 48, size: 12)
        for (index, bar) in bars.enumerated() {
            let top = 64 + Double(index) * (height + 8)
            drawing.text(bar.label, left - 10, top + height * 0.66, size: 12, anchor: "end")
            var start = left
            for (rank, share) in bar.shares.enumerated() {
                let extent = share * width
                drawing.box(start, top, extent, height, Figure.colours[rank % Figure.colours.count])
                if extent > 34 {
                    drawing.text(
                        String(format: "%.1f", share * 100), start + extent / 2, top + height * 0.66, size: 11, anchor: "middle",
                        colour: "#ffffff")
                }
                start += extent
            }
        }
        return drawing.document
    }
}

/// The few elements that the figures are drawn with.
private struct SVG {
    private let width, height: Double
    private var elements: [String] = []

    init(width: Double, height: Double) {
        self.width = width
        self.height = height
    }

    static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
    }

    /// As short as a tick's label should be.
    static func number(_ value: Double) -> String { String(format: "%.6g", abs(value) < 1e-12 ? 0 : value) }

    private func place(_ value: Double) -> String { String(format: "%.2f", value) }

    mutating func text(
        _ text: String, _ x: Double, _ y: Double, size: Int, anchor: String = "start", bold: Bool = false, turned: Bool = false,
        colour: String = "#222222"
    ) {
        if text.isEmpty { return }
        let turn = turned ? " transform=\"rotate(-90 \(place(x)) \(place(y)))\"" : ""
        elements.append(
            "<text x=\"\(place(x))\" y=\"\(place(y))\" font-size=\"\(size)\" text-anchor=\"\(anchor)\" fill=\"\(colour)\""
                + (bold ? " font-weight=\"bold\"" : "") + turn + ">\(Self.escaped(text))</text>")
    }

    mutating func line(_ from: (Double, Double), _ to: (Double, Double), _ colour: String, width: Double = 1) {
        elements.append(
            "<line x1=\"\(place(from.0))\" y1=\"\(place(from.1))\" x2=\"\(place(to.0))\" y2=\"\(place(to.1))\" "
                + "stroke=\"\(colour)\" stroke-width=\"\(place(width))\"/>")
    }

    mutating func path(_ points: [(Double, Double)], _ colour: String) {
        if points.count < 2 { return }
        let list = points.map { "\(place($0.0)),\(place($0.1))" }.joined(separator: " ")
        elements.append("<polyline points=\"\(list)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"2\"/>")
    }

    mutating func dot(_ point: (Double, Double), _ colour: String) {
        elements.append("<circle cx=\"\(place(point.0))\" cy=\"\(place(point.1))\" r=\"3\" fill=\"\(colour)\"/>")
    }

    mutating func box(_ x: Double, _ y: Double, _ width: Double, _ height: Double, _ colour: String) {
        elements.append(
            "<rect x=\"\(place(x))\" y=\"\(place(y))\" width=\"\(place(max(0, width)))\" height=\"\(place(height))\" fill=\"\(colour)\"/>"
        )
    }

    var document: String {
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(place(width)) \(place(height))\" width=\"\(place(width))\" "
            + "height=\"\(place(height))\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
            + elements.joined(separator: "\n") + "\n</svg>\n"
    }
}
