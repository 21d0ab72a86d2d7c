package import KVModel

/// A piece's tokens by expert: an expert's rows are one run, its tokens ascending, so that each of its matrices is multiplied once.
struct DeviceRoutes {
    /// Each expert's rows.
    private(set) var rows: [Range<Int>] = []

    /// Sorts the tokens' choices, [tokens, used], by expert.
    /// - Parameters:
    ///   - sources: each row's token.
    ///   - places: each choice's row.
    mutating func sort(
        _ choices: UnsafePointer<Int32>, tokens: Int, used: Int, experts: Int, sources: UnsafeMutablePointer<Int32>,
        places: UnsafeMutablePointer<Int32>
    ) {
        var counts = [Int](repeating: 0, count: experts)
        for choice in 0..<tokens * used { counts[Int(choices[choice])] += 1 }
        var end = 0
        rows = counts.map { count in
            defer { end += count }
            return end..<end + count
        }
        var next = rows.map(\.lowerBound)
        for choice in 0..<tokens * used {
            let expert = Int(choices[choice])
            sources[next[expert]] = Int32(choice / used)
            places[choice] = Int32(next[expert])
            next[expert] += 1
        }
    }
}

/// Mixtures of experts. The host learns which experts were chosen, and asks for products of those alone.
extension CUDAOperations {
    package func multiply(_ input: Activation, by experts: Experts) throws(Stopped) {
        let tokens = piece.count
        let rows = tokens * experts.used
        let bytes = rows * MemoryLayout<Int32>.stride
        let choices = buffers.routes.base.assumingMemoryBound(to: Int32.self)
        let (sources, places) = (choices + rows, choices + 2 * rows)
        try attempt { () throws(CUDAError) in
            try kernels.chooseExperts(
                on: stream, chosen: buffers.choices, weights: buffers.weights, scores: row(.router), tokens: tokens,
                count: experts.count, used: experts.used, renormalises: experts.renormalises)
            try stream.download(buffers.choices, to: choices, bytes: bytes)
        }
        try wait()
        routes.sort(choices, tokens: tokens, used: experts.used, experts: experts.count, sources: sources, places: places)
        try attempt { () throws(CUDAError) in
            try stream.upload(sources, to: buffers.sources, bytes: bytes)
            try stream.upload(places, to: buffers.rows, bytes: bytes)
            try kernels.gatherRows(
                on: stream, out: buffers[.expertInput], in: row(input), source: buffers.sources, rows: rows,
                width: buffers.width(input))
            for (expert, rows) in routes.rows.enumerated() where !rows.isEmpty {
                for (matrix, output) in [(experts.gate[expert], Activation.expertGate), (experts.up[expert], .expertUp)] {
                    try product(
                        buffers[.expertInput, rows.lowerBound], rows.count, matrix, into: buffers[output, rows.lowerBound],
                        isFloat: false, scale: 1, adds: false)
                }
            }
            try kernels.siluProduct(
                on: stream, gate: buffers[.expertGate], up: buffers[.expertUp], n: rows * buffers.width(.expertGate))
        }
    }

    package func addExperts(_ experts: Experts, scaledBy scale: Float, to output: Activation) throws(Stopped) {
        try attempt { () throws(CUDAError) in
            for (expert, rows) in routes.rows.enumerated() where !rows.isEmpty {
                try product(
                    buffers[.expertGate, rows.lowerBound], rows.count, experts.down[expert],
                    into: buffers[.expertOutput, rows.lowerBound], isFloat: true, scale: 1, adds: false)
            }
            try kernels.addExperts(
                on: stream, out: row(output), rows: buffers[.expertOutput], rowOf: buffers.rows, weights: buffers.weights,
                tokens: piece.count, used: experts.used, width: buffers.width(.expertOutput), scale: scale * experts.scale)
        }
    }
}
