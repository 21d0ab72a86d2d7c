import CKVKernels

/// Operations on each token's row: norms, rotation, the cache's new rows, quantisation.
extension CPUOperations {
    /// Tokens of the piece that are this worker's, as tokens of the chunk.
    private var own: Range<Int> {
        let share = share(piece.count)
        return piece.lowerBound + share.lowerBound..<piece.lowerBound + share.upperBound
    }

    package func embed(_ table: Table, scaledBy scale: Float) throws(Stopped) {
        // All of the chunk at once: there is no piece yet.
        try enter(.whole, writes: .init(.hidden))
        guard let tokens = job.tokens else { return }
        for token in share(job.positions.count) {
            // Ids are checked against the vocabulary before a run.
            let id = Int(tokens[job.positions[token] - job.positions.lowerBound])
            table.dequantise(weights.row(id, of: table), row(.hidden, token), table.columns)
            if scale != 1 { self.scale(row(.hidden, token), 0..<table.columns, by: scale) }
        }
    }

    package func normalise(_ input: Activation, by norm: Norm, into output: Activation) throws(Stopped) {
        // A single token would keep one worker busy and all waiting for it: every worker computes it for itself.
        let alone = piece.count == 1 && output == .normed
        if alone {
            try enter(.whole, reads: .init(input), writes: [])
            replicated.insert(.init(output))
        } else {
            try enter(.tokens, reads: .init(input), writes: .init(output))
        }
        for token in alone ? piece : own {
            normalise(row(input, token), arena[output].width, by: norm, into: row(output, token))
            quantise(output, token)
        }
    }

    package func normalise(_ input: Activation, by norm: Norm, addingTo output: Activation) throws(Stopped) {
        let inputs = Hazards.Resources(input)
        try enter(.tokens, reads: inputs, writes: inputs.union(.init(output)))
        let width = arena[output].width
        for token in own {
            let row = row(input, token)
            normalise(row, width, by: norm, into: row)
            let target = self.row(output, token)
            table.pointee.add(target, row, width, target)
        }
    }

    package func normaliseHeads(of activation: Activation, by norm: Norm) throws(Stopped) {
        try enter(.tokens, reads: .init(activation), writes: .init(activation))
        let width = geometry.headDimension
        for token in own {
            let row = row(activation, token)
            for column in stride(from: 0, to: arena[activation].width, by: width) {
                normalise(row + column, width, by: norm, part: column, into: row + column)
            }
        }
    }

    /// - Parameter part: where the row's own weights begin, if the norm has more than one row's.
    private func normalise(
        _ x: UnsafePointer<Float>, _ width: Int, by norm: Norm, part: Int = 0, into out: UnsafeMutablePointer<Float>
    ) {
        switch norm {
        case .rootMeanSquare(let weight, let epsilon):
            let first = weight.count == width ? 0 : part
            table.pointee.rms_norm(x, weights.values(weight) + first, epsilon, width, out)
        case .layer(let weight, let bias, let epsilon):
            let first = weight.count == width ? 0 : part
            table.pointee.layer_norm(x, weights.values(weight) + first, weights.values(bias) + first, epsilon, width, out)
        case .identity: out.update(from: x, count: width)
        }
    }

    package func rotate(_ activation: Activation, by index: Int) throws(Stopped) {
        let rotary = geometry.rotaries[index]
        let width = geometry.headDimension
        guard rotary.pairing == .adjacent else {
            try enter(.tokens, writes: .init(activation))
            for token in own {
                let row = row(activation, token)
                for head in 0..<arena[activation].width / width {
                    table.pointee.rotate_halves(row + head * width, angles(index, token), rotary.pairs)
                }
            }
            return
        }
        // Adjacent elements are of one group of rows: they stay with the worker that computed them.
        try enter(.rows, writes: .init(activation))
        let rows = ownRows[activation.rawValue]
        for token in piece {
            let row = row(activation, token)
            let angles = angles(index, token)
            var first = rows.lowerBound
            while first < rows.upperBound {
                let element = first % width
                let last = min(first - element + width, rows.upperBound)
                let rotated = min(last - first, 2 * rotary.pairs - element)
                if rotated > 0 { table.pointee.rotate_pairs(row + first, angles + element, rotated / 2) }
                first = last
            }
        }
    }

    /// Cosine and sine of each pair at a token's position.
    private func angles(_ rotary: Int, _ token: Int) -> UnsafePointer<Float> {
        UnsafePointer(angles.tables[rotary] + job.positions[token] * geometry.rotaries[rotary].pairs * 2)
    }

    package func append(layer: Int) throws(Stopped) {
        let byRows = geometry.rotary.pairing == .adjacent
        try enter(byRows ? .rows : .tokens, reads: [.init(.key), .init(.value)], writes: .cache)
        let all = 0..<geometry.keyValueWidth
        for token in byRows ? piece : own {
            let position = job.positions[token]
            let rows = position..<position + 1
            // To every cache, by whoever has it at hand: ranks need no barrier for it, and pages come from where a cache's are to be.
            for cache in caches.caches {
                store(.key, token, byRows ? ownRows[Activation.key.rawValue] : all, cache.keys(layer, rows))
                store(.value, token, byRows ? ownRows[Activation.value.rawValue] : all, cache.values(layer, rows))
            }
        }
    }

    /// Some elements of a token's row, to its row of the cache.
    private func store(
        _ activation: Activation, _ token: Int, _ elements: Range<Int>, _ target: UnsafeMutableRawBufferPointer
    ) {
        guard let base = target.baseAddress, !elements.isEmpty else { return }
        let source = row(activation, token) + elements.lowerBound
        let place = base + elements.lowerBound * cache.type.bytes
        switch cache.type {
        case .f32: place.copyMemory(from: source, byteCount: elements.count * 4)
        case .f16: table.pointee.to_half(source, elements.count, place.assumingMemoryBound(to: UInt16.self))
        }
    }

    /// The int8 form of a token's row, for the quantised matrices that read it.
    func quantise(_ activation: Activation, _ token: Int) {
        quantise(activation, token, columns: 0..<arena[activation].width)
    }

    /// The same for some of its columns (whole blocks).
    func quantise(_ activation: Activation, _ token: Int, columns: Range<Int>) {
        let buffer = buffer(activation)
        guard let values = buffer.values, let scales = buffer.scales, let sums = buffer.sums, let offsets = buffer.offsets
        else { return }
        let start = (token - piece.lowerBound) * buffer.width + columns.lowerBound
        let block = start / Int(CKV_BLOCK)
        table.pointee.quantise(
            buffer.floats + start, columns.count, values + start, scales + block, sums + block, offsets + block)
    }
}
