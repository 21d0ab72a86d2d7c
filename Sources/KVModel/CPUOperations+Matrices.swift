import CKVKernels

/// Matrix products: split by groups of rows, all tokens of the piece. Each worker writes its rows of the result.
extension CPUOperations {
    package func multiply(_ input: Activation, by projections: [Projection]) throws(Stopped) {
        var writes: Hazards.Resources = []
        var total = 0
        for projection in projections {
            writes.insert(.init(projection.output))
            total += projection.matrix.groups
        }
        try enter(reads: shared(input), .whole, writes: writes, .rows)
        // One share of all the rows there are: many workers would not part a narrow matrix's evenly.
        let share = share(total)
        var first = 0
        for projection in projections {
            let matrix = projection.matrix
            let groups = share.clamped(to: first..<first + matrix.groups)
            let own = groups.lowerBound - first..<groups.upperBound - first
            first += matrix.groups
            ownRows[projection.output.rawValue] = rows(matrix, own)
            let output = arena[projection.output]
            product(input, matrix, own, out: row(projection.output, piece.lowerBound), stride: output.width, adding: false)
        }
    }

    package func multiply(_ input: Activation, by matrix: Matrix, into output: Activation) throws(Stopped) {
        try enter(reads: shared(input), .whole, writes: .init(output), .rows)
        let groups = share(matrix.groups)
        ownRows[output.rawValue] = rows(matrix, groups)
        product(
            input, matrix, groups, out: row(output, piece.lowerBound), stride: arena[output].width, adding: false)
    }

    package func multiply(
        _ input: Activation, by matrix: Matrix, weighted: Weighting, addingTo output: Activation
    ) throws(Stopped) {
        let groups = share(matrix.groups)
        let columns = rows(matrix, groups)
        if case .constant(1) = weighted {
            try enter(reads: shared(input), .whole, writes: .init(output), .rows)
            product(input, matrix, groups, out: row(output, piece.lowerBound), stride: arena[output].width, adding: true)
            return
        }
        try enter(
            reads: [shared(input), .init(.sharedWeight)], .whole, writes: [.init(.update), .init(output)], .rows)
        product(input, matrix, groups, out: row(.update, piece.lowerBound), stride: arena[.update].width, adding: false)
        for token in piece {
            let weight: Float =
                switch weighted {
                case .constant(let weight): weight
                case .sigmoid(let scale): scale / (1 + ckv_exp(-row(.sharedWeight, token)[0]))
                }
            let first = columns.lowerBound
            table.pointee.add_scaled(row(.update, token) + first, weight, columns.count, row(output, token) + first)
        }
    }

    package func multiplyGated(_ input: Activation, gate: Matrix, up: Matrix, _ form: Gate) throws(Stopped) {
        try enter(reads: shared(input), .whole, writes: [.init(.gate), .init(.up)], .rows)
        fillGate(rowsOf: gate) { groups in
            product(input, gate, groups, out: row(.gate, piece.lowerBound), stride: arena[.gate].width, adding: false)
            product(input, up, groups, out: row(.up, piece.lowerBound), stride: arena[.up].width, adding: false)
        } activate: { token, columns in
            let gate = row(.gate, token) + columns.lowerBound
            let up = row(.up, token) + columns.lowerBound
            switch form {
            case .silu: table.pointee.silu_product(gate, up, columns.count, gate)
            case .geluTanh: table.pointee.gelu_tanh_product(gate, up, columns.count, gate)
            }
        }
    }

    package func multiplyActivated(_ input: Activation, up: Matrix, _ form: Nonlinearity) throws(Stopped) {
        try enter(reads: shared(input), .whole, writes: .init(.gate), .rows)
        fillGate(rowsOf: up) { groups in
            product(input, up, groups, out: row(.gate, piece.lowerBound), stride: arena[.gate].width, adding: false)
        } activate: { token, columns in
            let gate = row(.gate, token) + columns.lowerBound
            switch form {
            case .gelu: table.pointee.gelu(gate, columns.count, gate)
            case .geluTanh: table.pointee.gelu_tanh(gate, columns.count, gate)
            }
        }
    }

    /// This worker's rows of `gate`, in both forms: `multiply` is given groups of rows, `activate` then each token's columns that these are.
    private func fillGate(
        rowsOf matrix: Matrix, multiply: (Range<Int>) -> Void, activate: (_ token: Int, _ columns: Range<Int>) -> Void
    ) {
        // Whole activation blocks, so that a worker quantises what it has computed.
        let groupsPerBlock = Int(CKV_BLOCK / CKV_GROUP)
        let blocks = share((matrix.groups + groupsPerBlock - 1) / groupsPerBlock)
        // Some rows at a time, which are still in the cache when they are activated.
        let step = piece.count == 1 ? blocks.count : 4
        for first in stride(from: blocks.lowerBound, to: blocks.upperBound, by: max(1, step)) {
            let last = min(first + step, blocks.upperBound)
            let groups = first * groupsPerBlock..<min(last * groupsPerBlock, matrix.groups)
            multiply(groups)
            let columns = rows(matrix, groups)
            for token in piece {
                activate(token, columns)
                quantise(.gate, token, columns: columns)
            }
        }
    }

    /// What others read or write of an activation: nothing, where every worker has its own.
    func shared(_ activation: Activation) -> Hazards.Resources {
        Hazards.Resources(activation).subtracting(replicated)
    }

    func rows(_ matrix: Matrix, _ groups: Range<Int>) -> Range<Int> {
        let size = Int(CKV_GROUP)
        return min(matrix.rows, groups.lowerBound * size)..<min(matrix.rows, groups.upperBound * size)
    }

    package func project(_ input: Activation, by matrix: Matrix, shape: LogitShape) throws(Stopped) {
        try enter(reads: shared(input), .whole, writes: .init(.logits), .rows)
        let rows = rows(matrix, share(matrix.groups))
        for token in piece {
            let out: UnsafeMutablePointer<Float>
            switch job.logits {
            case .none: return
            case .last: out = arena[.logits].floats
            case .all(let logits): out = logits + job.positions[token] * matrix.rows
            }
            projectToken(input, matrix, token, out: out)
            if shape.scale != 1 { scale(out, rows, by: shape.scale) }
            if shape.softcap != 0 {
                table.pointee.soft_cap(out + rows.lowerBound, shape.softcap, rows.count, out + rows.lowerBound)
            }
        }
    }

    func scale(_ row: UnsafeMutablePointer<Float>, _ columns: Range<Int>, by factor: Float) {
        for column in columns { row[column] *= factor }
    }

    /// One token's logits. With a quantised matrix its activations are two int8 digits, the second being what the first leaves: the
    /// errors of one would be those of the logits themselves, and decode waits for memory here anyway.
    private func projectToken(_ input: Activation, _ matrix: Matrix, _ token: Int, out: UnsafeMutablePointer<Float>) {
        let groups = share(matrix.groups)
        if groups.isEmpty { return }
        var product = arguments(matrix, groups)
        let x = row(input, token)
        guard matrix.quantised else {
            product.tokens = 1
            product.x = UnsafePointer(x)
            product.out = out
            matrix.product(&product)
            add(matrix.bias, rows(matrix, groups), to: out)
            return
        }
        let digits = arena.digits[worker]
        digits.split(x, table)
        product.tokens = 2
        product.values = UnsafePointer(digits.values)
        product.scales = UnsafePointer(digits.scales)
        product.sums = UnsafePointer(digits.sums)
        product.offsets = UnsafePointer(digits.offsets)
        let rows = rows(matrix, groups)
        let both = arena[.logits].floats
        product.out = both
        product.out_stride = matrix.rows
        matrix.product(&product)
        table.pointee.add(both + rows.lowerBound, both + matrix.rows + rows.lowerBound, rows.count, out + rows.lowerBound)
        add(matrix.bias, rows, to: out)
    }

    /// The given elements of a product's row += those of the bias.
    private func add(_ bias: Vector?, _ rows: Range<Int>, to row: UnsafeMutablePointer<Float>) {
        guard let bias else { return }
        let target = row + rows.lowerBound
        table.pointee.add(target, weights.values(bias) + rows.lowerBound, rows.count, target)
    }

    private func arguments(_ matrix: Matrix, _ groups: Range<Int>) -> ckv_product {
        var product = ckv_product()
        product.weights = weights.packed(matrix)
        product.rows = matrix.rows
        product.columns = matrix.columns
        product.group_begin = groups.lowerBound
        product.group_end = groups.upperBound
        return product
    }

    /// The given groups of rows, all tokens of the piece.
    private func product(
        _ input: Activation, _ matrix: Matrix, _ groups: Range<Int>, out: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
    ) {
        product(input, 0..<piece.count, matrix, groups, out: out, stride: stride, adding: adding)
    }

    /// The given groups of rows, of some rows of a piece's buffer, into as many rows of another from `first` on.
    func product(
        _ input: Activation, _ inputRows: Range<Int>, _ matrix: Matrix, _ groups: Range<Int>, into output: Activation, _ first: Int
    ) {
        product(
            input, inputRows, matrix, groups, out: row(output, piece.lowerBound + first), stride: arena[output].width, adding: false
        )
    }

    private func product(
        _ input: Activation, _ inputRows: Range<Int>, _ matrix: Matrix, _ groups: Range<Int>, out: UnsafeMutablePointer<Float>,
        stride: Int, adding: Bool
    ) {
        if groups.isEmpty || inputRows.isEmpty { return }
        let first = inputRows.lowerBound
        var product = arguments(matrix, groups)
        product.tokens = inputRows.count
        if matrix.quantised {
            let buffer = buffer(input)
            let block = first * (buffer.width / Int(CKV_BLOCK))
            product.values = UnsafePointer(buffer.values.map { $0 + first * buffer.width })
            product.scales = UnsafePointer(buffer.scales.map { $0 + block })
            product.sums = UnsafePointer(buffer.sums.map { $0 + block })
            product.offsets = UnsafePointer(buffer.offsets.map { $0 + block })
        } else {
            product.x = UnsafePointer(row(input, piece.lowerBound + first))
        }
        product.out = out
        product.out_stride = stride
        product.accumulate = adding
        matrix.product(&product)
        for token in 0..<inputRows.count { add(matrix.bias, rows(matrix, groups), to: out + token * stride) }
    }
}
