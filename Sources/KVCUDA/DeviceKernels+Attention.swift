/// Positions and attention. `first` is the address of an int, the absolute position of token 0: launches that were recorded in a graph can so
/// be repeated at other positions.
extension DeviceKernels {
    /// Rotary embedding of x[tokens, heads, headDimension] in place, by angles[positions, pairs, 2]: elements 2i and 2i + 1, or with
    /// `halves` i and i + pairs.
    package func rotate(
        on stream: DeviceStream, x: UInt64, angles: UInt64, first: UInt64, tokens: Int, heads: Int, pairs: Int, halves: Bool
    ) throws(CUDAError) {
        // A thread takes a pair, four, or eight.
        try stream.launch(
            function(.rotate), grid: grid(tokens * heads * pairs * 2), block: KernelShape.threads, .pointer(x), .pointer(angles),
            .pointer(first), .int32(tokens), .int32(heads), .int32(pairs), .int32(halves ? 1 : 0))
    }

    /// Rows first ..< first + tokens of a layer's keys and values = key and value.
    package func append(
        on stream: DeviceStream, keys: UInt64, values: UInt64, key: UInt64, value: UInt64, first: UInt64, tokens: Int, width: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.append), grid: grid(tokens * width), block: KernelShape.threads, .pointer(keys), .pointer(values),
            .pointer(key), .pointer(value), .pointer(first), .int32(tokens), .int32(width))
    }

    /// Causal attention of query[tokens, heads, headDimension] over keys and values [positions, kvHeads, headDimension], the tokens' own
    /// among them. A token's result depends on what it sees alone, not on the tokens that are computed with it.
    ///
    /// - Parameters:
    ///   - scale: of the scores; positive.
    ///   - softcap: scores s become softcap · tanh(s / softcap); 0: they stay.
    ///   - window: the most keys that a token sees, its own the last of them; 0: all.
    package func attention(
        on stream: DeviceStream, out: UInt64, query: UInt64, keys: UInt64, values: UInt64, first: UInt64, tokens: Int, heads: Int,
        kvHeads: Int, scale: Float, softcap: Float, window: Int
    ) throws(CUDAError) {
        let queries = KernelShape.queries(headDimension: headDimension)
        try stream.launch(
            function(.attention), grid: (heads, (tokens + queries - 1) / queries, 1), block: KernelShape.attentionThreads,
            sharedBytes: KernelShape.attentionBytes(headDimension: headDimension), .pointer(out), .pointer(query), .pointer(keys),
            .pointer(values), .pointer(first), .int32(tokens), .int32(heads), .int32(kvHeads), .float(scale), .float(softcap),
            .int32(window))
    }

    /// How many parts to cut one token's keys in, so that all multiprocessors have some: `positions` is the most that there will be.
    package func decodeSplits(heads: Int, kvHeads: Int, positions: Int) -> Int {
        let group = max(1, heads / max(1, kvHeads))
        let blocks = max(1, kvHeads) * ((group + KernelShape.decodeHeads - 1) / KernelShape.decodeHeads)
        return max(1, min((2 * multiprocessors + blocks - 1) / blocks, (positions + 63) / 64, 64))
    }

    /// One token's attention, in parts: partials[heads, splits, headDimension + 2], float. The grid is the same at every position.
    package func attentionDecode(
        on stream: DeviceStream, partials: UInt64, query: UInt64, keys: UInt64, values: UInt64, first: UInt64, heads: Int,
        kvHeads: Int, splits: Int, scale: Float, softcap: Float, window: Int
    ) throws(CUDAError) {
        let groups = (heads / max(1, kvHeads) + KernelShape.decodeHeads - 1) / KernelShape.decodeHeads
        try stream.launch(
            function(.attentionDecode), grid: (kvHeads, splits, groups), block: KernelShape.attentionThreads, .pointer(partials),
            .pointer(query), .pointer(keys), .pointer(values), .pointer(first), .int32(heads), .int32(kvHeads), .int32(splits),
            .float(scale), .float(softcap), .int32(window))
    }

    /// out[heads, headDimension] = the parts together.
    package func attentionMerge(
        on stream: DeviceStream, out: UInt64, partials: UInt64, heads: Int, splits: Int
    ) throws(CUDAError) {
        try stream.launch(
            function(.attentionMerge), grid: (heads, 1, 1), block: KernelShape.threads, .pointer(out), .pointer(partials),
            .int32(heads), .int32(splits))
    }
}
