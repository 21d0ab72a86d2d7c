import KVGGUF

/// Reads a transformer's parts from a file, by the names that all architectures share. What differs is set before `transformer()`; which of
/// the optional parts there are (biases, one matrix for query, key and value, experts, an output matrix) is seen from the file.
///
/// Tensors, with [columns, rows]:
///
///     token_embd.weight [width, vocabulary]          output_norm.weight .bias [width]    output.weight .bias, else token_embd
///     rope_freqs.weight [pairs]                      rope_factors_short.weight, rope_factors_long.weight
///     blk.N. attn_norm.weight .bias                  attn_norm_2 (Falcon 40B: attention's own)
///            attn_q attn_k attn_v .weight .bias      attn_qkv.weight .bias: their rows in this order
///            attn_q_norm attn_k_norm .weight         [head], [head, heads] or [heads × head]
///            attn_output.weight .bias                post_attention_norm.weight
///            ffn_norm.weight .bias                   post_ffw_norm.weight
///            ffn_gate ffn_up ffn_down .weight .bias  ffn_up of twice the rows: gate, then up
///            ffn_gate_inp.weight [width, experts]    ffn_gate_exps ffn_up_exps ffn_down_exps .weight [columns, rows, experts]
///                                                    ffn_gate_up_exps: gate's rows, then up's, of each expert
///            ffn_gate_inp_shexp.weight [width]       ffn_gate_shexp ffn_up_shexp ffn_down_shexp .weight
struct TransformerReader {
    enum NormKind {
        /// RMSNorm; `attention.layer_norm_rms_epsilon`.
        case rootMeanSquare
        /// LayerNorm; `attention.layer_norm_epsilon`.
        case layer
    }

    /// Where norms stand.
    enum NormPlaces {
        case before
        case after
        case both
    }

    enum HeadNorms {
        case none
        /// Of each head.
        case heads
        /// Of each head, in those files that have them.
        case headsWherePresent
        /// Of the whole row.
        case rows
    }

    enum FeedForwardKind {
        case gated(Gate)
        case plain(Nonlinearity)
    }

    let keys: HyperparameterReader
    let weights: Weights
    let epsilon: Float
    let normKind: NormKind
    var geometry: Geometry
    var normPlaces = NormPlaces.before
    var headNorms = HeadNorms.none
    var arrangement = Transformer.Arrangement.sequential
    /// Both blocks of a layer have one norm.
    var sharesNorm = false
    var feedForward = FeedForwardKind.gated(.silu)
    /// False: files have none, and one that has is refused.
    var biases = true
    /// A file without an output matrix means the embedding; false: it is incomplete (as llama.cpp has it).
    var isTiedWithoutOutput = true
    /// By layer; see `Transformer.Layer`.
    var rotary: (Int) -> Int? = { _ in 0 }
    var embeddingScale: Float = 1
    var residualScale: Float = 1
    var logits = LogitShape()
    /// The weights of a token's experts sum to 1.
    var renormalises = true

    /// - Parameters:
    ///   - pairing: of the file's query and key rows.
    ///   - interleaved: they are Hugging Face's with the halves of each head interleaved; nil: where pairs are adjacent.
    init(
        _ file: GGUFFile, _ weights: Weights, norm: NormKind = .rootMeanSquare, pairing: Rotary.Pairing, interleaved: Bool? = nil
    ) throws(ModelError) {
        let prefix: String
        do { prefix = try file.metadata.string("general.architecture") } catch { throw ModelError(.badMetadata, "\(error)") }
        keys = HyperparameterReader(file, prefix: prefix)
        self.weights = weights
        normKind = norm
        switch norm {
        case .rootMeanSquare: epsilon = try keys.float("attention.layer_norm_rms_epsilon")
        case .layer: epsilon = try keys.float("attention.layer_norm_epsilon")
        }
        geometry = try keys.geometry(weights, pairing: pairing, interleaved: interleaved ?? (pairing == .adjacent))
    }

    /// Gives the layers that `slides` tells a window, if the file has one.
    /// - Returns: which layers slide; the file's own pattern where it has one.
    @discardableResult
    mutating func slide(where slides: (Int) -> Bool) throws(ModelError) -> [Bool] {
        let window = try keys.count("attention.sliding_window")
        var pattern = (0..<geometry.layers).map { window > 0 && slides($0) }
        let key = "attention.sliding_window_pattern"
        switch keys.file.metadata["\(keys.prefix).\(key)"] {
        case nil: break
        case .array:
            let values = try keys.array(key).values().map { if case .bool(let bool) = $0 { bool } else { $0.short != "0" } }
            guard values.count == geometry.layers else {
                throw ModelError(
                    .badMetadata,
                    "\(keys.file.path): \(keys.prefix).\(key) has \(values.count) elements for \(geometry.layers) layers")
            }
            pattern = values.map { window > 0 && $0 }
        default:
            // Every so many layers one sees all.
            let period = try keys.count(key)
            if period > 0 { pattern = (0..<geometry.layers).map { window > 0 && ($0 + 1) % period != 0 } }
        }
        if pattern.contains(true) { geometry.windows = pattern.map { $0 ? window : 0 } }
        return pattern
    }

    /// A second rotary embedding, without scaling, for the layers that slide.
    /// - Parameter base: where the file has none for these.
    mutating func addPlainRotary(base: Double) throws(ModelError) {
        let rotary = geometry.rotary
        geometry.rotaries.append(
            Rotary(
                dimension: rotary.dimension, base: Double(try keys.float("rope.freq_base_swa", default: base)), scaling: .none,
                pairing: rotary.pairing, factors: []))
    }

    /// - Throws: `ModelError` naming a tensor that is missing or of another shape, or a key that nobody has read and that matters.
    mutating func transformer() throws(ModelError) -> Transformer {
        try readExperts()
        let width = geometry.embedding
        let embedding = try weights.table("token_embd.weight", columns: width, rows: geometry.vocabulary)
        var layers: [Transformer.Layer] = []
        for index in 0..<geometry.layers { layers.append(try layer(index)) }
        let outputNorm = try norm("output_norm", width)
        // Tied embeddings: the file has no output matrix of its own.
        let isOwn = weights.has("output.weight")
        guard isOwn || isTiedWithoutOutput || keys.file.folder != nil else {
            throw ModelError(
                .missingTensor,
                "\(keys.file.path): tensor output.weight is missing; \(keys.prefix) does not tie it to the embedding")
        }
        let name = isOwn ? "output" : "token_embd"
        let output = try weights.matrix(
            "\(name).weight", columns: width, rows: geometry.vocabulary,
            bias: biases && weights.has("output.bias") ? "output.bias" : nil)
        try keys.refuseUnread()
        return Transformer(
            geometry: geometry, arrangement: arrangement, embedding: embedding, embeddingScale: embeddingScale, layers: layers,
            residualScale: residualScale, outputNorm: outputNorm, output: output, logits: logits)
    }

    // MARK: Parts

    private func layer(_ index: Int) throws(ModelError) -> Transformer.Layer {
        let block = "blk.\(index)"
        let width = geometry.embedding
        let (query, keyValue) = try projections(block)
        var attentionNorm = Norm.identity
        var feedForwardNorm = Norm.identity
        if normPlaces != .after {
            attentionNorm = try norm("\(block).attn_norm", width)
            feedForwardNorm = sharesNorm ? attentionNorm : try norm("\(block).ffn_norm", width)
            // Falcon 40B's attention.
            let own = "\(block).attn_norm_2"
            if sharesNorm, weights.has("\(own).weight") { attentionNorm = try norm(own, width) }
        }
        func after(_ name: String) throws(ModelError) -> Norm? {
            normPlaces == .before ? nil : try norm("\(block).\(name)", width)
        }
        return Transformer.Layer(
            attentionNorm: attentionNorm, query: [query], keyValue: keyValue, queryKeyValue: [query] + keyValue,
            queryNorm: try headNorm("\(block).attn_q_norm", geometry.queryWidth),
            keyNorm: try headNorm("\(block).attn_k_norm", geometry.keyValueWidth), rotary: rotary(index),
            output: try matrix("\(block).attn_output", geometry.queryWidth, width),
            attentionOutputNorm: try after("post_attention_norm"), feedForwardNorm: feedForwardNorm,
            feedForward: try feedForward(block), feedForwardOutputNorm: try after("post_ffw_norm"))
    }

    /// A matrix with its bias, if the file has one.
    private func matrix(
        _ name: String, _ columns: Int, _ rows: Int, part: Range<Int>? = nil
    ) throws(ModelError) -> Matrix {
        try weights.matrix(
            "\(name).weight", columns: columns, of: rows, rows: part ?? 0..<rows,
            bias: biases && weights.has("\(name).bias") ? "\(name).bias" : nil)
    }

    private func norm(_ name: String, _ count: Int) throws(ModelError) -> Norm {
        let weight = try weights.vector("\(name).weight", count: count)
        switch normKind {
        case .rootMeanSquare: return .rootMeanSquare(weight: weight, epsilon: epsilon)
        case .layer:
            let bias = biasesOfNorms ? try weights.vector("\(name).bias", count: count) : weights.zeros(count: count)
            return .layer(weight: weight, bias: bias, epsilon: epsilon)
        }
    }

    /// All norms of a model have biases, or none has.
    private var biasesOfNorms: Bool { weights.has("output_norm.bias") }

    private func headNorm(_ name: String, _ width: Int) throws(ModelError) -> Transformer.HeadNorm? {
        switch headNorms {
        case .none: return nil
        case .rows: return .row(try norm(name, width))
        case .headsWherePresent where !weights.has("\(name).weight"): return nil
        case .heads, .headsWherePresent:
            // One head's weights for all, or each head its own.
            let own = weights.count("\(name).weight") == width
            let count = own ? width : geometry.headDimension
            let weight = try weights.vector("\(name).weight", count: count)
            switch normKind {
            case .rootMeanSquare: return .heads(.rootMeanSquare(weight: weight, epsilon: epsilon))
            case .layer: return .heads(.layer(weight: weight, bias: weights.zeros(count: count), epsilon: epsilon))
            }
        }
    }

    private func projections(_ block: String) throws(ModelError) -> (query: Projection, keyValue: [Projection]) {
        let (width, query, keyValue) = (geometry.embedding, geometry.queryWidth, geometry.keyValueWidth)
        let name = "\(block).attn_qkv"
        guard weights.has("blk.0.attn_qkv.weight") else {
            return (
                Projection(try matrix("\(block).attn_q", width, query), .query),
                [
                    Projection(try matrix("\(block).attn_k", width, keyValue), .key),
                    Projection(try matrix("\(block).attn_v", width, keyValue), .value),
                ]
            )
        }
        let end = query + 2 * keyValue
        func part(_ rows: Range<Int>, _ output: Activation) throws(ModelError) -> Projection {
            Projection(try matrix(name, width, end, part: rows), output)
        }
        return (
            try part(0..<query, .query),
            [try part(query..<query + keyValue, .key), try part(query + keyValue..<end, .value)]
        )
    }

    private func feedForward(_ block: String) throws(ModelError) -> Transformer.FeedForward {
        if geometry.experts != nil, weights.has("\(block).ffn_gate_inp.weight") { return try experts(block) }
        let (width, inner) = (geometry.embedding, geometry.feedForward)
        let down = try matrix("\(block).ffn_down", inner, width)
        let name = "\(block).ffn_up"
        switch feedForward {
        case .plain(let form): return .plain(form, up: try matrix(name, width, inner), down: down)
        case .gated(let form):
            if weights.has("\(block).ffn_gate.weight") {
                return .gated(
                    form, gate: try matrix("\(block).ffn_gate", width, inner), up: try matrix(name, width, inner), down: down)
            }
            return .gated(
                form, gate: try matrix(name, width, 2 * inner, part: 0..<inner),
                up: try matrix(name, width, 2 * inner, part: inner..<2 * inner), down: down)
        }
    }
}
