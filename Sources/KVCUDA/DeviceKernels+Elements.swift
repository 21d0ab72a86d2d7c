/// DeviceKernels of single elements and of rows.
extension DeviceKernels {
    private var threads: Int { KernelShape.threads }

    /// hidden[tokens, columns] = scale · the tokens' rows of `table`, in float.
    package func embed(
        on stream: DeviceStream, hidden: UInt64, table: UInt64, ids: UInt64, tokens: Int, columns: Int, scale: Float
    ) throws(CUDAError) {
        try stream.launch(
            function(.embed), grid: grid(tokens * columns), block: threads, .pointer(hidden), .pointer(table), .pointer(ids),
            .int32(tokens), .int32(columns), .float(scale))
    }

    // MARK: Norms

    /// out = norm(in), from hidden state to elements.
    package func rmsNormHidden(
        on stream: DeviceStream, out: UInt64, in input: UInt64, weight: UInt64, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.rmsNormHidden), grid: rowGrid(rows), block: threads, .pointer(out), .pointer(input), .pointer(weight),
            .float(eps), .int32(rows), .int32(width))
    }

    /// x = norm(x); row r has the weights of row r % weightRows.
    package func rmsNormElement(
        on stream: DeviceStream, x: UInt64, weight: UInt64, weightRows: Int, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.rmsNormElement), grid: warpGrid(rows), block: threads, .pointer(x), .pointer(weight), .int32(weightRows),
            .float(eps), .int32(rows), .int32(width))
    }

    /// out += norm(in), both float.
    package func rmsNormAdd(
        on stream: DeviceStream, out: UInt64, in input: UInt64, weight: UInt64, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.rmsNormAdd), grid: rowGrid(rows), block: threads, .pointer(out), .pointer(input), .pointer(weight),
            .float(eps), .int32(rows), .int32(width))
    }

    package func layerNormHidden(
        on stream: DeviceStream, out: UInt64, in input: UInt64, weight: UInt64, bias: UInt64, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.layerNormHidden), grid: rowGrid(rows), block: threads, .pointer(out), .pointer(input), .pointer(weight),
            .pointer(bias), .float(eps), .int32(rows), .int32(width))
    }

    package func layerNormElement(
        on stream: DeviceStream, x: UInt64, weight: UInt64, bias: UInt64, weightRows: Int, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.layerNormElement), grid: warpGrid(rows), block: threads, .pointer(x), .pointer(weight), .pointer(bias),
            .int32(weightRows), .float(eps), .int32(rows), .int32(width))
    }

    package func layerNormAdd(
        on stream: DeviceStream, out: UInt64, in input: UInt64, weight: UInt64, bias: UInt64, eps: Float, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.layerNormAdd), grid: rowGrid(rows), block: threads, .pointer(out), .pointer(input), .pointer(weight),
            .pointer(bias), .float(eps), .int32(rows), .int32(width))
    }

    /// out = in, from float to elements.
    package func toElement(on stream: DeviceStream, out: UInt64, in input: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.toElement), grid: grid(n), block: threads, .pointer(out), .pointer(input), .int64(n))
    }

    /// out += in.
    package func addFloat(on stream: DeviceStream, out: UInt64, in input: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.addFloat), grid: grid(n), block: threads, .pointer(out), .pointer(input), .int64(n))
    }

    // MARK: Activations

    /// gate = silu(gate) · up.
    package func siluProduct(on stream: DeviceStream, gate: UInt64, up: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.siluProduct), grid: grid(n), block: threads, .pointer(gate), .pointer(up), .int64(n))
    }

    /// gate = gelu(gate) · up, GELU in its tanh form.
    package func geluTanhProduct(on stream: DeviceStream, gate: UInt64, up: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.geluTanhProduct), grid: grid(n), block: threads, .pointer(gate), .pointer(up), .int64(n))
    }

    package func gelu(on stream: DeviceStream, x: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.gelu), grid: grid(n), block: threads, .pointer(x), .int64(n))
    }

    package func geluTanh(on stream: DeviceStream, x: UInt64, n: Int) throws(CUDAError) {
        try stream.launch(function(.geluTanh), grid: grid(n), block: threads, .pointer(x), .int64(n))
    }

    /// x = cap · tanh(x / cap), float.
    package func softCap(on stream: DeviceStream, x: UInt64, cap: Float, n: Int) throws(CUDAError) {
        try stream.launch(function(.softCap), grid: grid(n), block: threads, .pointer(x), .float(cap), .int64(n))
    }

    // MARK: Sums

    /// x[tokens, width] += bias, in elements.
    package func addBiasElement(on stream: DeviceStream, x: UInt64, bias: UInt64, tokens: Int, width: Int) throws(CUDAError) {
        try stream.launch(
            function(.addBiasElement), grid: grid(tokens * width), block: threads, .pointer(x), .pointer(bias), .int32(tokens),
            .int32(width))
    }

    /// x[tokens, width] += scale · bias, in float.
    package func addBiasFloat(
        on stream: DeviceStream, x: UInt64, bias: UInt64, scale: Float, tokens: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.addBiasFloat), grid: grid(tokens * width), block: threads, .pointer(x), .pointer(bias), .float(scale),
            .int32(tokens), .int32(width))
    }

    /// out[t] += scale · sigmoid(weight[t]) · x[t], float.
    package func addWeighted(
        on stream: DeviceStream, out: UInt64, x: UInt64, weight: UInt64, scale: Float, tokens: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.addWeighted), grid: grid(tokens * width), block: threads, .pointer(out), .pointer(x), .pointer(weight),
            .float(scale), .int32(tokens), .int32(width))
    }

    // MARK: Experts

    /// Each token's `used` highest of `count` scores, of equals the first, and their softmax: over the chosen, or over all.
    package func chooseExperts(
        on stream: DeviceStream, chosen: UInt64, weights: UInt64, scores: UInt64, tokens: Int, count: Int, used: Int,
        renormalises: Bool
    ) throws(CUDAError) {
        try stream.launch(
            function(.chooseExperts), grid: warpGrid(tokens), block: threads, .pointer(chosen), .pointer(weights), .pointer(scores),
            .int32(tokens), .int32(count), .int32(used), .int32(renormalises ? 1 : 0))
    }

    /// out[r] = in[source[r]].
    package func gatherRows(
        on stream: DeviceStream, out: UInt64, in input: UInt64, source: UInt64, rows: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.gatherRows), grid: grid(rows * width), block: threads, .pointer(out), .pointer(input), .pointer(source),
            .int32(rows), .int32(width))
    }

    /// out[t] += scale · Σ weights[t, u] · rows[rowOf[t, u]], in the order of u.
    package func addExperts(
        on stream: DeviceStream, out: UInt64, rows: UInt64, rowOf: UInt64, weights: UInt64, tokens: Int, used: Int, width: Int,
        scale: Float
    ) throws(CUDAError) {
        try stream.launch(
            function(.addExperts), grid: grid(tokens * width), block: threads, .pointer(out), .pointer(rows), .pointer(rowOf),
            .pointer(weights), .int32(tokens), .int32(used), .int32(width), .float(scale))
    }
}
