package import KVGGUF

/// Falcon 7B, 11B and 40B: LayerNorm, attention and feed-forward side by side on the same input, GELU, one matrix for query, key and value;
/// multi-query (7B) or grouped-query attention. Attention has a norm of its own in 40B.
package struct Falcon: Architecture {
    package static let names = ["falcon"]

    struct Layer {
        /// The feed-forward block's, and attention's where that has none.
        let norm: Norm
        let attentionNorm: Norm?
        let query, keyValue, queryKeyValue: [Projection]
        let output, up, down: Matrix
    }

    package let geometry: Geometry
    let embedding: Table
    let layers: [Layer]
    let outputNorm: Norm
    let output: Matrix

    package func forward(on operations: any Operations, attention: any Attention) throws(Stopped) {
        try operations.embed(embedding)
        for (index, layer) in layers.enumerated() {
            let pruned = index == layers.count - 1 && operations.prunesLastLayer
            operations.mark(.begin, layer: index)
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                try operations.normalise(.hidden, by: layer.attentionNorm ?? layer.norm, into: .normed)
                try operations.multiply(.normed, by: pruned ? layer.keyValue : layer.queryKeyValue)
                try operations.rotate(.key)
                if !pruned { try operations.rotate(.query) }
                try operations.append(layer: index)
            }
            operations.mark(.projected, layer: index)
            try attention.exchange(layer: index, on: operations)
            if pruned { operations.keepLogitsTokens() }
            for piece in 0..<operations.pieces {
                operations.begin(piece: piece)
                if pruned { try query(layer, on: operations) }
                try block(index, attention, on: operations)
            }
            operations.mark(.end, layer: index)
        }
        operations.keepLogitsTokens()
        for piece in 0..<operations.pieces {
            operations.begin(piece: piece)
            try operations.normalise(.hidden, by: outputNorm, into: .normed)
            try operations.project(.normed, by: output)
        }
    }

    /// hidden → normed → query, rotated.
    private func query(_ layer: Layer, on operations: any Operations) throws(Stopped) {
        try operations.normalise(.hidden, by: layer.attentionNorm ?? layer.norm, into: .normed)
        try operations.multiply(.normed, by: layer.query)
        try operations.rotate(.query)
    }

    /// hidden += attention + feed-forward, both of the hidden before. Neither is added until both are computed: the workers then wait for
    /// each other twice, not four times as where one follows the other.
    private func block(_ index: Int, _ attention: any Attention, on operations: any Operations) throws(Stopped) {
        let layer = layers[index]
        // Again, which costs less than keeping the chunk's.
        try operations.normalise(.hidden, by: layer.norm, into: .normed)
        try operations.multiplyActivated(.normed, up: layer.up)
        try attention.attend(layer: index, on: operations)
        try operations.multiply(.attended, by: layer.output, addingTo: .hidden)
        try operations.multiply(.gate, by: layer.down, addingTo: .hidden)
    }

    package init(_ file: GGUFFile, weights: Weights) throws(ModelError) {
        let reader = try HyperparameterReader(file, prefix: "falcon")
        try reader.refuse(
            "tensor_data_layout", otherThan: "jploski", because: "only rows in the order query, key, value are supported (jploski)")
        let geometry = try reader.geometry(pairing: .halves)
        self.geometry = geometry
        let epsilon = try reader.float("attention.layer_norm_epsilon")
        let width = geometry.embedding
        func norm(_ name: String) throws(ModelError) -> Norm {
            .layer(
                weight: try weights.vector("\(name).weight", count: width), bias: try weights.vector("\(name).bias", count: width),
                epsilon: epsilon)
        }
        embedding = try weights.table("token_embd.weight", columns: width, rows: geometry.vocabulary)
        var layers: [Layer] = []
        for index in 0..<geometry.layers {
            layers.append(try Self.layer("blk.\(index)", geometry, weights, norm))
        }
        self.layers = layers
        outputNorm = try norm("output_norm")
        // Tied embeddings: the file has no output matrix of its own.
        let outputName = weights.has("output.weight") ? "output.weight" : "token_embd.weight"
        output = try weights.matrix(outputName, columns: width, rows: geometry.vocabulary)
    }

    private static func layer(
        _ block: String, _ geometry: Geometry, _ weights: Weights, _ norm: (String) throws(ModelError) -> Norm
    ) throws(ModelError) -> Layer {
        for part in ["attn_qkv", "attn_output", "ffn_up", "ffn_down"] {
            try weights.refuse("\(block).\(part).bias", because: "biases are not supported for falcon")
        }
        try weights.refuse(
            "\(block).ffn_norm.weight", because: "only attention and feed-forward side by side are supported for falcon")
        let width = geometry.embedding
        let key = geometry.queryWidth
        let value = key + geometry.keyValueWidth
        let end = value + geometry.keyValueWidth
        func part(_ rows: Range<Int>, _ output: Activation) throws(ModelError) -> Projection {
            Projection(try weights.matrix("\(block).attn_qkv.weight", columns: width, of: end, rows: rows), output)
        }
        let query = [try part(0..<key, .query)]
        let keyValue = [try part(key..<value, .key), try part(value..<end, .value)]
        return Layer(
            norm: try norm("\(block).attn_norm"),
            attentionNorm: weights.has("\(block).attn_norm_2.weight") ? try norm("\(block).attn_norm_2") : nil,
            query: query, keyValue: keyValue, queryKeyValue: query + keyValue,
            output: try weights.matrix("\(block).attn_output.weight", columns: key, rows: width),
            up: try weights.matrix("\(block).ffn_up.weight", columns: width, rows: geometry.feedForward),
            down: try weights.matrix("\(block).ffn_down.weight", columns: geometry.feedForward, rows: width))
    }
}
