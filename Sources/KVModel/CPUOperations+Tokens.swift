import CKVKernels

/// Operations whose work is split by tokens.
extension CPUOperations {
    /// Tokens of the piece that are this worker's, as tokens of the chunk.
    private var own: Range<Int> {
        let share = share(piece.count)
        return piece.lowerBound + share.lowerBound..<piece.lowerBound + share.upperBound
    }

    package func embed(_ table: Table) throws(Stopped) {
        // All of the chunk at once: there is no piece yet.
        try enter(.other, reads: [], writes: .init(.hidden))
        guard let tokens = job.tokens else { return }
        for token in share(job.chunk.count) {
            // Ids are checked against the vocabulary before a run.
            table.dequantise(table.bytes + Int(tokens[token]) * table.rowBytes, row(.hidden, token), table.columns)
        }
    }

    package func normalise(
        _ input: Activation, by weight: Vector, epsilon: Float, into output: Activation
    ) throws(Stopped) {
        try enter(.tokens, reads: .init(input), writes: .init(output))
        for token in own {
            let target = row(output, token)
            table.pointee.rms_norm(row(input, token), weight.values, epsilon, weight.count, target)
            quantise(output, token)
        }
    }

    package func gateBySilu() throws(Stopped) {
        try enter(.tokens, reads: .init(.up), writes: .init(.gate))
        for token in own {
            let gate = row(.gate, token)
            table.pointee.silu_product(gate, row(.up, token), arena[.gate].width, gate)
            quantise(.gate, token)
        }
    }

    package func rotate(_ activation: Activation) throws(Stopped) {
        try enter(.tokens, reads: [], writes: .init(activation))
        let rotary = geometry.rotary
        guard let turn = rotary.pairing == .adjacent ? table.pointee.rotate_pairs : table.pointee.rotate_halves else {
            return
        }
        let width = geometry.headDimension
        for token in own {
            let row = row(activation, token)
            let angle = angles.values + (job.chunk.lowerBound + token) * rotary.pairs * 2
            for head in 0..<arena[activation].width / width { turn(row + head * width, angle, rotary.pairs) }
        }
    }

    package func append(layer: Int) throws(Stopped) {
        try enter(.tokens, reads: [.init(.key), .init(.value)], writes: .cache)
        let width = geometry.keyValueWidth
        for token in own {
            let position = job.chunk.lowerBound + token
            store(row(.key, token), width, cache.keys(layer, position..<position + 1))
            store(row(.value, token), width, cache.values(layer, position..<position + 1))
        }
    }

    private func store(_ row: UnsafePointer<Float>, _ width: Int, _ target: UnsafeMutableRawBufferPointer) {
        guard let base = target.baseAddress else { return }
        switch cache.type {
        case .f32: base.copyMemory(from: row, byteCount: width * 4)
        case .f16: table.pointee.to_half(row, width, base.assumingMemoryBound(to: UInt16.self))
        }
    }

    /// The int8 form of a token's row, for the quantised matrices that read it.
    func quantise(_ activation: Activation, _ token: Int) {
        quantise(activation, token, columns: 0..<arena[activation].width)
    }

    /// The same for some of its columns (whole blocks).
    func quantise(_ activation: Activation, _ token: Int, columns: Range<Int>) {
        let buffer = arena[activation]
        guard let values = buffer.values, let scales = buffer.scales, let sums = buffer.sums, let offsets = buffer.offsets
        else { return }
        let start = (token - piece.lowerBound) * buffer.width + columns.lowerBound
        let block = start / Int(CKV_BLOCK)
        table.pointee.quantise(
            buffer.floats + start, columns.count, values + start, scales + block, sums + block, offsets + block)
    }
}
