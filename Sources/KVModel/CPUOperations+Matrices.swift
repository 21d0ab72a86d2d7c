import CKVKernels

/// Matrix products: split by groups of rows, all tokens of the piece.
extension CPUOperations {
    package func multiply(_ input: Activation, by matrix: Matrix, into output: Activation) throws(Stopped) {
        try multiply(input, by: matrix, to: output, adding: false)
    }

    package func multiply(_ input: Activation, by matrix: Matrix, addingTo output: Activation) throws(Stopped) {
        try multiply(input, by: matrix, to: output, adding: true)
    }

    private func multiply(
        _ input: Activation, by matrix: Matrix, to output: Activation, adding: Bool
    ) throws(Stopped) {
        try enter(.other, reads: .init(input), writes: .init(output))
        product(input, matrix, out: row(output, piece.lowerBound), stride: arena[output].width, adding: adding)
    }

    package func project(_ input: Activation, by matrix: Matrix) throws(Stopped) {
        try enter(.other, reads: .init(input), writes: .init(.logits))
        for token in piece {
            switch job.logits {
            case .none: return
            case .last: projectToken(input, matrix, token, out: arena[.logits].floats)
            case .all(let out): projectToken(input, matrix, token, out: out + token * matrix.rows)
            }
        }
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
            return
        }
        let digits = arena.digits[worker]
        digits.split(x, table)
        product.tokens = 2
        product.values = UnsafePointer(digits.values)
        product.scales = UnsafePointer(digits.scales)
        product.sums = UnsafePointer(digits.sums)
        product.offsets = UnsafePointer(digits.offsets)
        let rows = groups.lowerBound * Int(CKV_GROUP)..<min(matrix.rows, groups.upperBound * Int(CKV_GROUP))
        let both = arena[.logits].floats
        product.out = both
        product.out_stride = matrix.rows
        matrix.product(&product)
        table.pointee.add(both + rows.lowerBound, both + matrix.rows + rows.lowerBound, rows.count, out + rows.lowerBound)
    }

    private func arguments(_ matrix: Matrix, _ groups: Range<Int>) -> ckv_product {
        var product = ckv_product()
        product.weights = UnsafeRawPointer(matrix.packed)
        product.rows = matrix.rows
        product.columns = matrix.columns
        product.group_begin = groups.lowerBound
        product.group_end = groups.upperBound
        return product
    }

    private func product(
        _ input: Activation, _ matrix: Matrix, out: UnsafeMutablePointer<Float>, stride: Int, adding: Bool
    ) {
        let buffer = arena[input]
        let groups = share(matrix.groups)
        if groups.isEmpty || piece.isEmpty { return }
        var product = arguments(matrix, groups)
        product.tokens = piece.count
        if matrix.quantised {
            product.values = UnsafePointer(buffer.values)
            product.scales = UnsafePointer(buffer.scales)
            product.sums = UnsafePointer(buffer.sums)
            product.offsets = UnsafePointer(buffer.offsets)
        } else {
            product.x = UnsafePointer(row(input, piece.lowerBound))
        }
        product.out = out
        product.out_stride = stride
        product.accumulate = adding
        matrix.product(&product)
    }
}
