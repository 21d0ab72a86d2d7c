/// Small systems of weighted least squares.
enum LeastSquares {
    /// The columns' entries, and the value that they should add up to, which must be above 0.
    struct Row {
        var columns: [Double]
        var value: Double
        /// How sure the value is, beside the other rows'.
        var weight = 1.0
    }

    /// The factors, none below 0, with which the columns add up to the values best; relative errors count.
    ///
    /// Columns that the rows cannot tell apart, or that would be negative, are left out (0), the first ones first.
    /// - Parameter kept: a column that stays, as long as there is another one that can go instead.
    static func nonNegative(_ rows: [Row], keeping kept: Int? = nil) -> [Double]? {
        guard let width = rows.first?.columns.count else { return nil }
        var used = Array(0..<width)
        func leaveOut(_ column: Int) {
            let left = column == kept ? used.first { $0 != kept } ?? column : column
            used.removeAll { $0 == left }
        }
        while !used.isEmpty {
            var normal = [[Double]](repeating: [Double](repeating: 0, count: used.count + 1), count: used.count)
            // Columns of like size, so that the pivot test means the same for all.
            let scales = used.map { column in rows.reduce(0) { max($0, abs($1.columns[column]) / $1.value) } }
            for row in rows where row.value > 0 {
                let columns = zip(used, scales).map { $1 > 0 ? row.columns[$0] / row.value / $1 : 0 }
                let entries = (columns + [1]).map { row.weight * $0 }
                for i in used.indices { for j in entries.indices { normal[i][j] += entries[i] * entries[j] } }
            }
            guard let solution = solve(normal) else {
                leaveOut(used[0])
                continue
            }
            if let worst = solution.indices.min(by: { solution[$0] < solution[$1] }), solution[worst] < 0 {
                leaveOut(used[worst])
                continue
            }
            var factors = [Double](repeating: 0, count: width)
            for (index, column) in used.enumerated() where scales[index] > 0 { factors[column] = solution[index] / scales[index] }
            return factors
        }
        return nil
    }

    /// Gaussian elimination with pivots; rows hold the right side last. Nil where the rows do not tell the columns apart.
    private static func solve(_ system: [[Double]]) -> [Double]? {
        var rows = system
        for column in rows.indices {
            guard let pivot = rows.indices[column...].max(by: { abs(rows[$0][column]) < abs(rows[$1][column]) }),
                abs(rows[pivot][column]) > 1e-9
            else { return nil }
            rows.swapAt(column, pivot)
            for row in rows.indices where row != column {
                let factor = rows[row][column] / rows[column][column]
                for k in column..<rows[row].count { rows[row][k] -= factor * rows[column][k] }
            }
        }
        return rows.indices.map { rows[$0][rows.count] / rows[$0][$0] }
    }
}

extension [Double] {
    /// The middle one, or the mean of both; nil of none.
    package var median: Double? {
        guard !isEmpty else { return nil }
        let sorted = sorted()
        return count % 2 == 1 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2
    }
}
