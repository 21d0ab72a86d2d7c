package import KVModel

/// What the operations ask of the device.
extension CUDAOperations {
    package func embed(_ table: Table, scaledBy scale: Float) throws(Stopped) {
        try attempt { () throws(CUDAError) in
            try kernels.embed(
                on: stream, hidden: buffers[.hidden], table: weights.address(table), ids: buffers.ids,
                tokens: job.positions.count, columns: table.columns, scale: scale)
        }
    }

    // MARK: Norms

    package func normalise(_ input: Activation, by norm: Norm, into output: Activation) throws(Stopped) {
        if input == output { return try normalise(input, by: norm, rows: piece.count, width: buffers.width(input)) }
        let (out, x) = (row(output), row(input))
        let width = buffers.width(input)
        try attempt { () throws(CUDAError) in
            switch norm {
            case .rootMeanSquare(let weight, let epsilon):
                try kernels.rmsNormHidden(
                    on: stream, out: out, in: x, weight: weights.address(weight), eps: epsilon, rows: piece.count, width: width)
            case .layer(let weight, let bias, let epsilon):
                try kernels.layerNormHidden(
                    on: stream, out: out, in: x, weight: weights.address(weight), bias: weights.address(bias), eps: epsilon,
                    rows: piece.count, width: width)
            case .identity: try kernels.toElement(on: stream, out: out, in: x, n: piece.count * width)
            }
        }
    }

    package func normalise(_ input: Activation, by norm: Norm, addingTo output: Activation) throws(Stopped) {
        let (out, x) = (row(output), row(input))
        let width = buffers.width(input)
        try attempt { () throws(CUDAError) in
            switch norm {
            case .rootMeanSquare(let weight, let epsilon):
                try kernels.rmsNormAdd(
                    on: stream, out: out, in: x, weight: weights.address(weight), eps: epsilon, rows: piece.count, width: width)
            case .layer(let weight, let bias, let epsilon):
                try kernels.layerNormAdd(
                    on: stream, out: out, in: x, weight: weights.address(weight), bias: weights.address(bias), eps: epsilon,
                    rows: piece.count, width: width)
            case .identity: try kernels.addFloat(on: stream, out: out, in: x, n: piece.count * width)
            }
        }
    }

    package func normaliseHeads(of activation: Activation, by norm: Norm) throws(Stopped) {
        let width = geometry.headDimension
        try normalise(activation, by: norm, rows: piece.count * (buffers.width(activation) / width), width: width)
    }

    /// In place, of elements. A norm's weights are one row's, or those of as many rows as it has.
    private func normalise(_ activation: Activation, by norm: Norm, rows: Int, width: Int) throws(Stopped) {
        let x = row(activation)
        try attempt { () throws(CUDAError) in
            switch norm {
            case .rootMeanSquare(let weight, let epsilon):
                try kernels.rmsNormElement(
                    on: stream, x: x, weight: weights.address(weight), weightRows: weight.count / width, eps: epsilon, rows: rows,
                    width: width)
            case .layer(let weight, let bias, let epsilon):
                try kernels.layerNormElement(
                    on: stream, x: x, weight: weights.address(weight), bias: weights.address(bias),
                    weightRows: weight.count / width, eps: epsilon, rows: rows, width: width)
            case .identity: break
            }
        }
    }

    // MARK: Products

    package func multiply(_ input: Activation, by projections: [Projection]) throws(Stopped) {
        for projection in projections { try multiply(input, by: projection.matrix, into: projection.output) }
    }

    package func multiply(_ input: Activation, by matrix: Matrix, into output: Activation) throws(Stopped) {
        let (x, out) = (row(input), row(output))
        try attempt { () throws(CUDAError) in
            try product(x, piece.count, matrix, into: out, isFloat: output.isFloat, scale: 1, adds: false)
        }
    }

    package func multiply(
        _ input: Activation, by matrix: Matrix, weighted: Weighting, addingTo output: Activation
    ) throws(Stopped) {
        let (x, out, update) = (row(input), row(output), row(.update))
        try attempt { () throws(CUDAError) in
            switch weighted {
            case .constant(let weight):
                try product(x, piece.count, matrix, into: out, isFloat: true, scale: weight, adds: true)
            case .sigmoid(let weight):
                try product(x, piece.count, matrix, into: update, isFloat: true, scale: 1, adds: false)
                try kernels.addWeighted(
                    on: stream, out: out, x: update, weight: row(.sharedWeight), scale: weight, tokens: piece.count,
                    width: matrix.rows)
            }
        }
    }

    /// out (+)= scale · (matrix · x), with the matrix's bias; rows of x and out lie one after another.
    func product(
        _ x: UInt64, _ tokens: Int, _ matrix: Matrix, into out: UInt64, isFloat: Bool, scale: Float, adds: Bool
    ) throws(CUDAError) {
        try products.multiply(
            on: stream, weights: weights.address(matrix), rows: matrix.rows, columns: matrix.columns, x: x, tokens: tokens,
            elements: weights.elements, out: out, outIsFloat: isFloat, outStride: matrix.rows, alpha: scale, beta: adds ? 1 : 0)
        guard let bias = matrix.bias else { return }
        if isFloat {
            try kernels.addBiasFloat(
                on: stream, x: out, bias: weights.address(bias), scale: scale, tokens: tokens, width: matrix.rows)
        } else {
            try kernels.addBiasElement(on: stream, x: out, bias: weights.address(bias), tokens: tokens, width: matrix.rows)
        }
    }

    package func multiplyGated(_ input: Activation, gate: Matrix, up: Matrix, _ form: Gate) throws(Stopped) {
        try multiply(input, by: gate, into: .gate)
        try multiply(input, by: up, into: .up)
        let n = piece.count * gate.rows
        try attempt { () throws(CUDAError) in
            switch form {
            case .silu: try kernels.siluProduct(on: stream, gate: row(.gate), up: row(.up), n: n)
            case .geluTanh: try kernels.geluTanhProduct(on: stream, gate: row(.gate), up: row(.up), n: n)
            }
        }
    }

    package func multiplyActivated(_ input: Activation, up: Matrix, _ form: Nonlinearity) throws(Stopped) {
        try multiply(input, by: up, into: .gate)
        let n = piece.count * up.rows
        try attempt { () throws(CUDAError) in
            switch form {
            case .gelu: try kernels.gelu(on: stream, x: row(.gate), n: n)
            case .geluTanh: try kernels.geluTanh(on: stream, x: row(.gate), n: n)
            }
        }
    }

    // MARK: Attention

    package func rotate(_ activation: Activation, by rotary: Int) throws(Stopped) {
        let x = row(activation)
        let plan = geometry.rotaries[rotary]
        try attempt { () throws(CUDAError) in
            try kernels.rotate(
                on: stream, x: x, angles: weights.angles(rotary), first: first, tokens: piece.count,
                heads: buffers.width(activation) / geometry.headDimension, pairs: plan.pairs, halves: plan.pairing == .halves)
        }
    }

    package func append(layer: Int) throws(Stopped) {
        try attempt { () throws(CUDAError) in
            try kernels.append(
                on: stream, keys: cache.keys(layer), values: cache.values(layer), key: row(.key), value: row(.value), first: first,
                tokens: piece.count, width: geometry.keyValueWidth)
        }
    }

    package func attend(layer: Int) throws(Stopped) {
        let window = geometry.window(layer)
        if !job.isDecode, let recorder { recorder.record(job.work(piece, window: window), layer: layer) }
        let (query, out) = (row(.query), row(.attended))
        try attempt { () throws(CUDAError) in
            guard piece.count == 1 else {
                return try kernels.attention(
                    on: stream, out: out, query: query, keys: cache.keys(layer), values: cache.values(layer), first: first,
                    tokens: piece.count, heads: geometry.heads, kvHeads: geometry.keyValueHeads, scale: geometry.attentionScale,
                    softcap: geometry.attentionSoftcap, window: window)
            }
            try kernels.attentionDecode(
                on: stream, partials: buffers.partials, query: query, keys: cache.keys(layer), values: cache.values(layer),
                first: first, heads: geometry.heads, kvHeads: geometry.keyValueHeads, splits: splits,
                scale: geometry.attentionScale, softcap: geometry.attentionSoftcap, window: window)
            try kernels.attentionMerge(
                on: stream, out: out, partials: buffers.partials, heads: geometry.heads, splits: splits)
        }
    }

    // MARK: Logits

    package func project(_ input: Activation, by matrix: Matrix, shape: LogitShape) throws(Stopped) {
        switch job.logits {
        case .none: break
        case .last: try attempt { () throws(CUDAError) in try project(row(input), 1, matrix, shape) }
        case .all(let all):
            for token in stride(from: piece.lowerBound, to: piece.upperBound, by: DeviceBuffers.logitsTokens) {
                let count = min(DeviceBuffers.logitsTokens, piece.upperBound - token)
                try attempt { () throws(CUDAError) in
                    try project(row(input, token), count, matrix, shape)
                    for index in 0..<count {
                        try stream.download(
                            buffers[.logits, index], to: all + job.positions[token + index] * matrix.rows,
                            bytes: matrix.rows * MemoryLayout<Float>.stride)
                    }
                }
            }
        }
    }

    private func project(_ x: UInt64, _ tokens: Int, _ matrix: Matrix, _ shape: LogitShape) throws(CUDAError) {
        let out = buffers[.logits]
        try product(x, tokens, matrix, into: out, isFloat: true, scale: shape.scale, adds: false)
        if shape.softcap > 0 { try kernels.softCap(on: stream, x: out, cap: shape.softcap, n: tokens * matrix.rows) }
    }
}
